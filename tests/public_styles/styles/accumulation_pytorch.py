"""Gradient accumulation: data_selection draws several batches for one update."""

import torch
from common import data_selection as _data_selection
from common import get_batch_size as get_batch_size

from algorithmic_efficiency import spec

HPARAMS = {"learning_rate": 1e-3, "accumulate": 2}


def get_eval_batch_size(workload_name):
    del workload_name
    return 2


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    weights = [p for p in model_params.parameters() if p.dim() > 1]
    others = [p for p in model_params.parameters() if p.dim() <= 1]
    groups = [
        {"params": weights, "weight_decay": 0.1},
        {"params": others, "weight_decay": 0.0},
    ]
    return {"optimizer": torch.optim.AdamW(groups, lr=hyperparameters.learning_rate)}


def data_selection(workload, queue, state, params, model_state, hp, step, rng):
    args = (workload, queue, state, params, model_state, hp, step, rng)
    return [_data_selection(*args) for _ in range(hp.accumulate)]


def update_params(
    workload,
    current_param_container,
    model_state,
    batch,
    optimizer_state,
    rng,
    **kwargs,
):
    optimizer_state["optimizer"].zero_grad()
    total = 0
    for part in batch:
        logits, model_state = workload.model_fn(
            current_param_container,
            part,
            model_state,
            spec.ForwardPassMode.TRAIN,
            rng,
            update_batch_norm=part is batch[0],
        )
        losses = workload.loss_fn(part["targets"], logits, part.get("weights"))
        losses["summed"].backward()
        total += losses["n_valid_examples"]
    for p in current_param_container.parameters():
        p.grad /= total
    optimizer_state["optimizer"].step()
    return optimizer_state, current_param_container, model_state
