"""AdamW (Loshchilov and Hutter, 2019), linear warm-up and cosine decay."""

import torch

from algorithmic_efficiency.adapters.pytorch import from_optimizer
from reference_algorithms._common import batch_sizes, schedules

get_batch_size, init_optimizer_state, update_params, data_selection = from_optimizer(
    lambda model, hp, steps: torch.optim.AdamW(
        model.parameters(),
        lr=hp.learning_rate,
        betas=(1.0 - hp.one_minus_beta1, hp.beta2),
        weight_decay=hp.weight_decay,
        fused=True,
    ),
    batch_size=batch_sizes.get_batch_size,
    schedule=schedules.warmup_cosine,
)
