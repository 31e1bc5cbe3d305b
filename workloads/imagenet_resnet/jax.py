"""ResNet-50 v1.5 in JAX (He et al. 2016; the stride is on the 3x3 convolution)."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
from flax import linen as nn

from algorithmic_efficiency.nn.jax import ACTIVATIONS, Conv, Dense, max_pool
from workloads._resnet.jax import Downsample, Norm, batch_norm, stages


class Model(nn.Module):
    """Images [B, H, W, 3] to logits [B, num_classes].

    Stage i has `stage_sizes[i]` blocks of `width * 2**i` inner and four times as many
    outer channels. `activation` is relu, silu or gelu (tanh approximation).
    """

    num_classes: int = 1000
    stage_sizes: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    activation: str = "relu"

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
        act = ACTIVATIONS[self.activation]
        x = Conv(self.width, 7, 2, name="conv1")(batch["inputs"])
        x = max_pool(act(batch_norm("bn1", x, norm)))
        block = partial(Bottleneck, activation=self.activation)
        x = stages(x, norm, block, self.stage_sizes, self.width)
        return Dense(self.num_classes, name="fc")(x.mean((1, 2)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut."""

    inner: int
    stride: int
    activation: str

    @nn.compact
    def __call__(self, x: jax.Array, norm: Norm) -> jax.Array:
        """Returns act(shortcut + branch)."""
        act, outer = ACTIVATIONS[self.activation], 4 * self.inner
        y = act(batch_norm("bn1", Conv(self.inner, 1, name="conv1")(x), norm))
        y = Conv(self.inner, 3, self.stride, name="conv2")(y)
        y = act(batch_norm("bn2", y, norm))
        y = batch_norm("bn3", Conv(outer, 1, name="conv3")(y), norm)
        if self.stride != 1 or x.shape[-1] != outer:
            x = Downsample(outer, self.stride, name="downsample")(x, norm)
        return act(x + y)
