import torch


def clip(model):
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
