"""AdamW (Loshchilov and Hutter, 2019), linear warm-up and cosine decay."""

from typing import Any

import torch

from algorithmic_efficiency.adapters.pytorch import from_optimizer
from reference_algorithms._common import batch_sizes, schedules


def optimizer(
    model: torch.nn.Module, hyperparameters: Any, steps: int
) -> torch.optim.Optimizer:
    """Returns PyTorch's AdamW, one kernel for all operations of a parameter."""
    return torch.optim.AdamW(
        model.parameters(),
        lr=hyperparameters.learning_rate,
        betas=(1.0 - hyperparameters.one_minus_beta1, hyperparameters.beta2),
        weight_decay=hyperparameters.weight_decay,
        fused=True,
    )


get_batch_size, init_optimizer_state, update_params, data_selection = from_optimizer(
    optimizer,
    batch_size=batch_sizes.get_batch_size,
    schedule=schedules.warmup_cosine,
)
