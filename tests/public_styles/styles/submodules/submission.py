"""A submission in a folder of its own, with its optimizer in a folder below."""

import torch
from algoperf import spec
from optim.muon import Muon
from optim.schedules import warmup

from .sizes import get_batch_size as get_batch_size

HPARAMS = {"learning_rate": 2e-3, "momentum": 0.9}


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    matrices = [p for p in model_params.parameters() if p.dim() >= 2]
    others = [p for p in model_params.parameters() if p.dim() < 2]
    rate = hyperparameters.learning_rate
    muon = Muon(matrices, rate, hyperparameters.momentum)
    state = {"muon": muon, "adam": torch.optim.Adam(others, lr=rate)}
    for name in ("muon", "adam"):
        schedule = torch.optim.lr_scheduler.LambdaLR(state[name], warmup(steps=2))
        state[f"{name}_schedule"] = schedule
    return state


def data_selection(workload, input_queue, *args):
    return next(input_queue)


def update_params(
    workload,
    current_param_container,
    model_state,
    batch,
    optimizer_state,
    rng,
    **kwargs,
):
    from optim import clipping  # only needed in a step

    for name in ("muon", "adam"):
        optimizer_state[name].zero_grad()
    logits, model_state = workload.model_fn(
        current_param_container,
        batch,
        model_state,
        spec.ForwardPassMode.TRAIN,
        rng,
        update_batch_norm=True,
    )
    losses = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
    (losses["summed"] / losses["n_valid_examples"]).backward()
    clipping.clip(current_param_container)
    for name in ("muon", "adam"):
        optimizer_state[name].step()
        optimizer_state[f"{name}_schedule"].step()
    return optimizer_state, current_param_container, model_state
