"""Nesterov momentum (Nesterov, 1983), linear warm-up and decay."""

from typing import Any

import torch

from algorithmic_efficiency.adapters.pytorch import from_optimizer
from reference_algorithms._common import batch_sizes, schedules


def optimizer(
    model: torch.nn.Module, hyperparameters: Any, steps: int
) -> torch.optim.Optimizer:
    """Returns PyTorch's SGD; weight decay is part of the gradient."""
    return torch.optim.SGD(
        model.parameters(),
        lr=hyperparameters.learning_rate,
        momentum=1.0 - hyperparameters.one_minus_beta1,
        weight_decay=hyperparameters.weight_decay,
        nesterov=True,
        fused=True,
    )


get_batch_size, init_optimizer_state, update_params, data_selection = from_optimizer(
    optimizer,
    batch_size=batch_sizes.get_batch_size,
    schedule=schedules.warmup_linear,
)
