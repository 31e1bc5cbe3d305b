"""AdamW with Nesterov momentum (Dozat, 2016), linear warm-up and cosine decay."""

from typing import Any

import optax

from algorithmic_efficiency.adapters.jax import from_optimizer
from reference_algorithms._common import batch_sizes, schedules


def optimizer(hyperparameters: Any, steps: int) -> optax.GradientTransformation:
    """Returns optax's NadamW."""
    return optax.nadamw(
        hyperparameters.learning_rate,
        b1=1.0 - hyperparameters.one_minus_beta1,
        b2=hyperparameters.beta2,
        weight_decay=hyperparameters.weight_decay,
    )


get_batch_size, init_optimizer_state, update_params, data_selection = from_optimizer(
    optimizer,
    batch_size=batch_sizes.get_batch_size,
    schedule=schedules.warmup_cosine,
)
