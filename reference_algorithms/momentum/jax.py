"""Heavy-ball momentum (Polyak, 1964), linear warm-up and linear decay.

Weight decay is part of the gradient.
"""

import optax

from algorithmic_efficiency.adapters.jax import from_optimizer
from reference_algorithms._common import batch_sizes, schedules

get_batch_size, init_optimizer_state, update_params, data_selection = from_optimizer(
    lambda hp, steps: optax.chain(
        optax.add_decayed_weights(hp.weight_decay),
        optax.sgd(
            hp.learning_rate,
            momentum=1.0 - hp.one_minus_beta1,
        ),
    ),
    batch_size=batch_sizes.get_batch_size,
    schedule=schedules.warmup_linear,
)
