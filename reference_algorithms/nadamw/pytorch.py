"""AdamW with Nesterov momentum (Dozat, 2016), linear warm-up and cosine decay."""

import math
from typing import Any

import torch

from algorithmic_efficiency.adapters.pytorch import from_optimizer
from reference_algorithms._common import batch_sizes, schedules


def optimizer(
    model: torch.nn.Module, hyperparameters: Any, steps: int
) -> torch.optim.Optimizer:
    """Returns PyTorch's NAdam with decoupled weight decay.

    PyTorch's momentum in step t is beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay));
    infinity makes it beta1 throughout, which is optax.nadamw.
    """
    return torch.optim.NAdam(
        model.parameters(),
        lr=hyperparameters.learning_rate,
        betas=(1.0 - hyperparameters.one_minus_beta1, hyperparameters.beta2),
        weight_decay=hyperparameters.weight_decay,
        decoupled_weight_decay=True,
        momentum_decay=math.inf,
        foreach=True,
    )


get_batch_size, init_optimizer_state, update_params, data_selection = from_optimizer(
    optimizer,
    batch_size=batch_sizes.get_batch_size,
    schedule=schedules.warmup_cosine,
)
