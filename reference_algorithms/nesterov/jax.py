"""Nesterov momentum (Nesterov, 1983), linear warm-up and decay."""

from typing import Any

import optax

from algorithmic_efficiency.adapters.jax import from_optimizer
from reference_algorithms._common import batch_sizes, schedules


def optimizer(hyperparameters: Any, steps: int) -> optax.GradientTransformation:
    """Returns optax's SGD; weight decay is part of the gradient."""
    return optax.chain(
        optax.add_decayed_weights(hyperparameters.weight_decay),
        optax.sgd(
            hyperparameters.learning_rate,
            momentum=1.0 - hyperparameters.one_minus_beta1,
            nesterov=True,
        ),
    )


get_batch_size, init_optimizer_state, update_params, data_selection = from_optimizer(
    optimizer,
    batch_size=batch_sizes.get_batch_size,
    schedule=schedules.warmup_linear,
)
