"""AdamW with Nesterov momentum (Dozat, 2016), linear warm-up and cosine decay.

PyTorch's momentum in step t is beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay)). With
an infinite decay it is beta1 throughout, and the update is that of optax.nadamw.
"""

import math

import torch

from algorithmic_efficiency.adapters.pytorch import from_optimizer
from reference_algorithms._common import batch_sizes, schedules

get_batch_size, init_optimizer_state, update_params, data_selection = from_optimizer(
    lambda model, hp, steps: torch.optim.NAdam(
        model.parameters(),
        lr=hp.learning_rate,
        betas=(1.0 - hp.one_minus_beta1, hp.beta2),
        weight_decay=hp.weight_decay,
        decoupled_weight_decay=True,
        momentum_decay=math.inf,
        foreach=True,
    ),
    batch_size=batch_sizes.get_batch_size,
    schedule=schedules.warmup_cosine,
)
