"""Batch norm with ONNX's training semantics, in JAX: an operator and its gradient.

The formulas, their sources and the meaning of `momentum`, here ONNX's own, are those of
`onnx.pytorch`; channels are on axis 1 in JAX as well, since that is ONNX's layout.
"""

import jax
import jax.numpy as jnp
from jax import lax

from algorithmic_efficiency.nn.batch_norm.onnx import (
    check_saved,
    check_training_input,
)


def batch_norm_training(  # noqa: PLR0917 - the operator's inputs and attributes
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    mean: jax.Array,
    var: jax.Array,
    momentum: float = 0.9,
    eps: float = 1e-5,
    *,
    saved: str = "inv_std",
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """Returns y, running_mean, running_var, saved_mean and saved_inv_std.

    Everything is computed in float32, or in float64 where x or the statistics are.
    Gradients reach x, scale and bias through y; there is none through the statistics.

    Args:
      x: [N, C, ...], float16, bfloat16, float32 or float64; y has its shape and dtype.
      scale, bias: [C].
      mean, var: [C], the running statistics so far; the new ones have their dtype.
      momentum: the weight of the OLD value, as in ONNX.
      eps: added to the variance.
      saved: 'inv_std' or 'variance', static under jit: what the last output is; see
        `onnx.pytorch.batch_norm_training`.

    Raises:
      ValueError: a shape does not fit, x holds no value, or `saved` is unknown.
    """
    check_saved(saved)
    check_training_input(x.shape, scale=scale, bias=bias, mean=mean, var=var)
    wide = jnp.promote_types(jnp.promote_types(x.dtype, mean.dtype), jnp.float32)
    z, axes = x.astype(wide), tuple(axis for axis in range(x.ndim) if axis != 1)
    batch_mean = z.mean(axes)
    centred = z - _column(batch_mean, x)
    batch_var = jnp.square(centred).mean(axes)
    inv_std = lax.rsqrt(batch_var + eps)
    factor = inv_std * scale.astype(wide)
    y = centred * _column(factor, x) + _column(bias.astype(wide), x)
    second = batch_var if saved == "variance" else inv_std
    return (
        y.astype(x.dtype),
        _moved(mean, batch_mean, momentum),
        _moved(var, batch_var, momentum),
        lax.stop_gradient(batch_mean),
        lax.stop_gradient(second),
    )


def batch_norm_gradient(  # noqa: PLR0917 - as above
    dy: jax.Array,
    x: jax.Array,
    scale: jax.Array,
    saved_mean: jax.Array,
    saved_inv_std: jax.Array,
    eps: float = 1e-5,
    *,
    saved: str = "inv_std",
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the gradients (dx, dscale, dbias) of a loss whose gradient by y is dy.

    Args:
      dy, x: [N, C, ...]; dx has the shape and dtype of x.
      scale: [C]; dscale and dbias have its dtype.
      saved_mean, saved_inv_std: [C], what `batch_norm_training` returned.
      eps: needed for saved='variance' only.
      saved: what `saved_inv_std` is, static under jit.

    Raises:
      ValueError: a shape does not fit, x holds no value, or `saved` is unknown.
    """
    check_saved(saved)
    check_training_input(
        x.shape, scale=scale, saved_mean=saved_mean, saved_inv_std=saved_inv_std
    )
    wide = jnp.promote_types(jnp.promote_types(x.dtype, saved_mean.dtype), jnp.float32)
    second = saved_inv_std.astype(wide)
    inv_std = lax.rsqrt(second + eps) if saved == "variance" else second
    g, axes = dy.astype(wide), tuple(axis for axis in range(x.ndim) if axis != 1)
    centred = x.astype(wide) - _column(saved_mean.astype(wide), x)
    normalised = centred * _column(inv_std, x)
    dbias, dscale = g.sum(axes), (g * normalised).sum(axes)
    n = x.size // x.shape[1]
    dx = g - _column(dbias / n, x) - normalised * _column(dscale / n, x)
    dx = dx * _column(inv_std * scale.astype(wide), x)
    return dx.astype(x.dtype), dscale.astype(scale.dtype), dbias.astype(scale.dtype)


def _moved(old: jax.Array, batch: jax.Array, momentum: float) -> jax.Array:
    """Returns the new running statistic [C], in the dtype of the old one."""
    new = momentum * old.astype(batch.dtype) + (1 - momentum) * batch
    return lax.stop_gradient(new.astype(old.dtype))


def _column(value: jax.Array, x: jax.Array) -> jax.Array:
    """Returns a value per channel [C], broadcastable to x [N, C, ...]."""
    return value.reshape([1, -1] + [1] * (x.ndim - 2))
