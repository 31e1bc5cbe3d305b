"""Stages and shortcuts of residual networks in JAX (He et al., 2016)."""

from collections.abc import Callable

import jax
from flax import linen as nn

from algorithmic_efficiency.nn.batch_norm.jax import BatchNorm
from algorithmic_efficiency.nn.jax import Conv

# What every batch norm is told: the examples' weights and use_running_average.
Norm = tuple[jax.Array | None, bool]
# Makes a block of (width, stride, name=...), which is called with (x, norm).
Block = Callable[..., nn.Module]


def batch_norm(name: str, x: jax.Array, norm: Norm) -> jax.Array:
    """Applies the batch norm called `name` of the module that calls this."""
    weights, use_running_average = norm
    return BatchNorm(name=name)(x, weights, use_running_average=use_running_average)


def stages(
    x: jax.Array, norm: Norm, block: Block, stage_sizes: tuple[int, ...], width: int
) -> jax.Array:
    """Applies 'layer1', 'layer2', ... of the module that calls this.

    Stage i has `stage_sizes[i]` blocks of width `width * 2**i`; every stage but the
    first halves height and width.
    """
    for i, blocks in enumerate(stage_sizes):
        stride = 1 if i == 0 else 2
        stage = Stage(block, width * 2**i, blocks, stride, name=f"layer{i + 1}")
        x = stage(x, norm)
    return x


class Stage(nn.Module):
    """Blocks at one resolution; only the first has a stride."""

    block: Block
    width: int
    blocks: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, norm: Norm) -> jax.Array:
        """Returns [B, H / stride, W / stride, C], with the blocks' outer channels."""
        for i in range(self.blocks):
            x = self.block(self.width, 1 if i else self.stride, name=str(i))(x, norm)
        return x


class Downsample(nn.Module):
    """The shortcut where the shape changes: a 1x1 convolution and batch norm."""

    features: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, norm: Norm) -> jax.Array:
        """Returns the input at the block's output shape."""
        return batch_norm(
            "bn", Conv(self.features, 1, self.stride, name="conv")(x), norm
        )
