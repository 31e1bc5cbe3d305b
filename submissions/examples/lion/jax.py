"""Lion (Chen et al., 2023): any optax transformation is a submission."""

import optax

from algorithmic_efficiency.adapters.jax import from_optimizer

get_batch_size, init_optimizer_state, update_params, data_selection = from_optimizer(
    lambda hyperparameters, steps: optax.lion(3e-4, weight_decay=0.1), batch_size=128
)
