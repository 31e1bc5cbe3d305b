"""AdamW (Loshchilov and Hutter, 2019), linear warm-up and cosine decay."""

import optax

from algorithmic_efficiency.adapters.jax import from_optimizer
from reference_algorithms._common import batch_sizes, schedules

get_batch_size, init_optimizer_state, update_params, data_selection = from_optimizer(
    lambda hp, steps: optax.adamw(
        hp.learning_rate,
        b1=1.0 - hp.one_minus_beta1,
        b2=hp.beta2,
        weight_decay=hp.weight_decay,
    ),
    batch_size=batch_sizes.get_batch_size,
    schedule=schedules.warmup_cosine,
)
