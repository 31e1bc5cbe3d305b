"""JAX layers and functions that several models share.

Parameters start at zero: their values are drawn once for both frameworks, from
`Definition.initial`, so drawing them here as well would only cost time.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from algorithmic_efficiency.nn import jax_cpu
from algorithmic_efficiency.rates import is_known

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "silu": nn.silu,
    "gelu": nn.gelu,  # the tanh approximation
    "tanh": jnp.tanh,
}
LAYER_NORM_EPSILON = 1e-6


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


class LayerNorm(nn.Module):
    """Layer norm whose scale is 1 + parameter; both parameters start at zero.

    y = (x - mean) / sqrt(variance + 1e-6) * (1 + scale) + bias over the last axis, the
    variance being the population's; computed in float32 or wider.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [..., C], in the dtype of x."""
        shape = x.shape[-1:]
        scale = self.param("scale", nn.initializers.zeros, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        z = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        z = z - z.mean(-1, keepdims=True)
        variance = jnp.square(z).mean(-1, keepdims=True)
        z = z * lax.rsqrt(variance + LAYER_NORM_EPSILON)
        y: jax.Array = z * (1.0 + scale) + bias
        return y.astype(x.dtype)


class Dropout(nn.Module):
    """Dropout at a rate that may be traced, so that one program serves all rates.

    It draws from the rng 'dropout' as flax.linen.Dropout does; where 1 - rate rounds
    differently in float32, one entry in 2**23 differs. It is the identity at rate 0 and
    gives zeros at rate 1, gradients included.
    """

    @nn.compact
    def __call__(self, x: jax.Array, rate: Any) -> jax.Array:
        """Returns x with some entries 0 and the others divided by 1 - rate.

        Args:
          x: of any shape and float dtype.
          rate: a float, or an array of shape (); a float of 0 or 1 costs nothing.
        """
        if is_known(rate, 0.0):
            return x
        if is_known(rate, 1.0):
            return jnp.zeros_like(x)
        keep = 1.0 - jnp.asarray(rate, jnp.float32)  # the same bits, known or traced
        mask = jax.random.bernoulli(self.make_rng("dropout"), keep, x.shape)
        # Where nothing is kept, a division by 0 would make the gradients NaN.
        divisor = jnp.where(keep > 0, keep, 1).astype(x.dtype)
        return jnp.where(mask, x / divisor, 0)


def conv2d(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolves [B, H, W, C] with [K, K, C, F], K odd, padded by (K - 1) / 2."""
    if _on_cpu() and kernel.shape[0] == 1:
        return jax_cpu.conv_1x1(x, kernel, stride)
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
    if _on_cpu():
        return jax_cpu.max_pool(x)
    border = ((0, 0), (1, 1), (1, 1), (0, 0))
    y: jax.Array = lax.reduce_window(
        x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), border
    )
    return y


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"
