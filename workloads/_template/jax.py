"""The network in JAX; pytorch.py has the same layers under the same names."""

from collections.abc import Mapping
from typing import Any

import jax
from flax import linen as nn


class Model(nn.Module):
    """Rows [B, 4] to numbers [B, 1]; its arguments are `model` in workload.py."""

    width: int

    @nn.compact
    def __call__(
        self,
        batch: Mapping[str, Any],
        *,
        train: bool,
        use_running_average: bool,
    ) -> jax.Array:
        """Returns a number for each row, those of weight 0 included."""
        x = nn.tanh(nn.Dense(self.width, name="fc1")(batch["inputs"]))
        return nn.Dense(1, name="fc2")(x)
