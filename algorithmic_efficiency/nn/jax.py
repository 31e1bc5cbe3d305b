"""JAX layers and functions that several models share.

Parameters start at zero: their values are drawn once for both frameworks, from
`Definition.initial`, so drawing them here as well would only cost time.
"""

from collections.abc import Callable

import jax
from flax import linen as nn
from jax import lax

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "silu": nn.silu,
    "gelu": nn.gelu,  # the tanh approximation
}


class Conv(nn.Module):
    """A square 2-D convolution without bias of images [B, H, W, C].

    The input is padded by (size - 1) / 2 on every side, whatever the stride.
    """

    features: int
    size: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [B, ceil(H / stride), ceil(W / stride), features]."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.zeros, shape)
        return conv2d(x, kernel, self.stride)


class Dense(nn.Dense):
    """A dense layer that starts at zero."""

    kernel_init: Callable[..., jax.Array] = nn.initializers.zeros


def conv2d(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolves [B, H, W, C] with [K, K, C, F], K odd, padded by (K - 1) / 2."""
    pad = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(pad, pad), (pad, pad)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def max_pool(x: jax.Array) -> jax.Array:
    """Max-pools [B, H, W, C] over 3x3 windows at stride 2, padded by 1."""
    return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
