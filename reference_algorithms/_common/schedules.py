"""Learning rate schedules: a factor for step 0, 1, ... of `steps`.

Both warm up linearly from 0 over `warmup_factor * steps` steps and end at 0; past the
last step the factor stays 0. They are those of the published AlgoPerf baselines and
target-setting runs.
"""

import math
from typing import Any


def warmup_cosine(step: int, steps: int, hyperparameters: Any) -> float:
    """Falls along half a cosine after the warm-up (Loshchilov and Hutter, 2017)."""
    warmup, progress = _phases(step, steps, hyperparameters.warmup_factor)
    return warmup * 0.5 * (1.0 + math.cos(math.pi * progress))


def warmup_linear(step: int, steps: int, hyperparameters: Any) -> float:
    """Falls along a straight line after the warm-up."""
    warmup, progress = _phases(step, steps, hyperparameters.warmup_factor)
    return warmup * (1.0 - progress)


def _phases(step: int, steps: int, warmup_factor: float) -> tuple[float, float]:
    """Returns how much of the warm-up and of the decay has passed, each in [0, 1]."""
    warmup_steps = int(warmup_factor * steps)
    if step < warmup_steps:
        return step / warmup_steps, 0.0
    decay_steps = max(steps - warmup_steps, 1)
    return 1.0, min((step - warmup_steps) / decay_steps, 1.0)
