"""All options of `from_optimizer`: hyperparameters, a schedule, batch sizes by name.

Hyperparameters of these names are read by the adapter itself: `label_smoothing`,
`grad_clip` (the largest global norm of a gradient) and `dropout_rate`.
"""

import optax

from algorithmic_efficiency.adapters.jax import from_optimizer
from reference_algorithms._common.schedules import warmup_cosine


def optimizer(hyperparameters, steps):
    """Returns the transformation; `steps` is the workload's step_hint."""
    return optax.adam(hyperparameters.learning_rate)


def batch_size(workload_name):
    """Returns examples per step; after ValueError the base workload is asked for."""
    sizes = {"imagenet_resnet": 128, "librispeech_conformer": 32}
    if workload_name not in sizes:
        raise ValueError(f"no batch size for {workload_name}")
    return sizes[workload_name]


get_batch_size, init_optimizer_state, update_params, data_selection = from_optimizer(
    optimizer, batch_size=batch_size, schedule=warmup_cosine
)
