"""ResNet-18 for images of 32 x 32 in JAX (He et al., 2016)."""

from collections.abc import Mapping
from typing import Any

import jax
from flax import linen as nn

from algorithmic_efficiency.nn.jax import Conv, Dense
from workloads._resnet.jax import Downsample, Norm, batch_norm, stages


class Model(nn.Module):
    """Images [B, H, W, 3] to logits [B, num_classes].

    The first convolution is 3x3 without a stride and no pooling follows it. Stage i has
    `stage_sizes[i]` blocks of `width * 2**i` channels.
    """

    num_classes: int = 10
    stage_sizes: tuple[int, ...] = (2, 2, 2, 2)
    width: int = 64

    @nn.compact
    def __call__(
        self,
        batch: Mapping[str, Any],
        *,
        train: bool = True,
        use_running_average: bool = False,
    ) -> jax.Array:
        """Returns logits; examples of weight 0 do not enter the batch statistics."""
        del train  # there is no dropout
        norm = (batch.get("weights"), use_running_average)
        x = Conv(self.width, 3, name="conv1")(batch["inputs"])
        x = nn.relu(batch_norm("bn1", x, norm))
        x = stages(x, norm, BasicBlock, self.stage_sizes, self.width)
        return Dense(self.num_classes, name="fc")(x.mean((1, 2)))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    width: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, norm: Norm) -> jax.Array:
        """Returns relu(shortcut + branch)."""
        y = Conv(self.width, 3, self.stride, name="conv1")(x)
        y = nn.relu(batch_norm("bn1", y, norm))
        y = batch_norm("bn2", Conv(self.width, 3, name="conv2")(y), norm)
        if self.stride != 1 or x.shape[-1] != self.width:
            x = Downsample(self.width, self.stride, name="downsample")(x, norm)
        return nn.relu(x + y)
