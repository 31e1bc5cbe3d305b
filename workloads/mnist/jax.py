"""One hidden layer of sigmoids over the pixels of an image, in JAX."""

from collections.abc import Mapping
from typing import Any

import jax
from flax import linen as nn

from algorithmic_efficiency.nn.jax import Dense


class Model(nn.Module):
    """Images [B, H, W, 1] of `pixels` pixels to logits [B, num_classes]."""

    pixels: int = 784
    width: int = 128
    num_classes: int = 10

    @nn.compact
    def __call__(
        self,
        batch: Mapping[str, Any],
        *,
        train: bool = True,
        use_running_average: bool = False,
    ) -> jax.Array:
        """Returns logits."""
        del train, use_running_average  # nothing depends on them
        x = batch["inputs"].reshape(-1, self.pixels)
        return Dense(self.num_classes, name="fc2")(
            nn.sigmoid(Dense(self.width, name="fc1")(x))
        )
