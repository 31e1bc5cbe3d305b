"""Batch norm with ONNX's training semantics, in PyTorch: an operator and its gradient.

Everywhere else in this project `momentum` is the weight of the new batch. Here alone,
in `onnx.pytorch` and `onnx.jax`, it is ONNX's own, the weight of the OLD value:

    running = momentum * old + (1 - momentum) * batch

The batch variance that enters it is the population's, sum((x - mean)^2) / n. Sources:
ONNX's operator BatchNormalization (opset 14 and 15, training_mode = 1), and ONNX
Runtime's BatchNormInternal and BatchNormalizationGrad, which add the saved statistics.
"""

import torch
from torch import Tensor

from algorithmic_efficiency.nn.batch_norm.onnx import (
    check_saved,
    check_training_input,
)


def batch_norm_training(  # noqa: PLR0917 - the operator's inputs and attributes
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    momentum: float = 0.9,
    eps: float = 1e-5,
    *,
    saved: str = "inv_std",
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Returns y, running_mean, running_var, saved_mean and saved_inv_std.

    Everything is computed in float32, or in float64 where x or the statistics are.
    Gradients reach x, scale and bias through y; there is none through the statistics.

    Args:
      x: [N, C, ...], float16, bfloat16, float32 or float64; y has its shape and dtype.
      scale, bias: [C].
      mean, var: [C], the running statistics so far; the new ones have their dtype.
      momentum: the weight of the OLD value, as in ONNX.
      eps: added to the variance.
      saved: what the last output is: 'inv_std', 1 / sqrt(variance + eps) of the batch,
        as ONNX Runtime means it, or 'variance', as the operator's text of opset 9 does.

    Raises:
      ValueError: a shape does not fit, x holds no value, or `saved` is unknown.
    """
    check_saved(saved)
    check_training_input(x.shape, scale=scale, bias=bias, mean=mean, var=var)
    wide = torch.promote_types(torch.promote_types(x.dtype, mean.dtype), torch.float32)
    z, axes = x.to(wide), [axis for axis in range(x.ndim) if axis != 1]
    batch_mean = z.mean(axes)
    centred = z - _column(batch_mean, x)
    batch_var = centred.square().mean(axes)
    inv_std = torch.rsqrt(batch_var + eps)
    factor = inv_std * scale.to(wide)
    y = centred * _column(factor, x) + _column(bias.to(wide), x)
    second = batch_var if saved == "variance" else inv_std
    return (
        y.to(x.dtype),
        _moved(mean, batch_mean, momentum),
        _moved(var, batch_var, momentum),
        batch_mean.detach(),
        second.detach(),
    )


def batch_norm_gradient(  # noqa: PLR0917 - as above
    dy: Tensor,
    x: Tensor,
    scale: Tensor,
    saved_mean: Tensor,
    saved_inv_std: Tensor,
    eps: float = 1e-5,
    *,
    saved: str = "inv_std",
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients (dx, dscale, dbias) of a loss whose gradient by y is dy.

    With xh = (x - saved_mean) * inv_std and n values per channel:

        dbias = sum(dy),   dscale = sum(dy * xh)
        dx = scale * inv_std * (dy - dbias / n - xh * dscale / n)

    Args:
      dy, x: [N, C, ...]; dx has the shape and dtype of x.
      scale: [C]; dscale and dbias have its dtype.
      saved_mean, saved_inv_std: [C], what `batch_norm_training` returned.
      eps: needed for saved='variance' only.
      saved: what `saved_inv_std` is; see `batch_norm_training`.

    Raises:
      ValueError: a shape does not fit, x holds no value, or `saved` is unknown.
    """
    check_saved(saved)
    check_training_input(
        x.shape, scale=scale, saved_mean=saved_mean, saved_inv_std=saved_inv_std
    )
    wide = torch.promote_types(
        torch.promote_types(x.dtype, saved_mean.dtype), torch.float32
    )
    second = saved_inv_std.to(wide)
    inv_std = torch.rsqrt(second + eps) if saved == "variance" else second
    g, axes = dy.to(wide), [axis for axis in range(x.ndim) if axis != 1]
    normalised = (x.to(wide) - _column(saved_mean.to(wide), x)) * _column(inv_std, x)
    dbias, dscale = g.sum(axes), (g * normalised).sum(axes)
    n = x.numel() // x.shape[1]
    dx = g - _column(dbias / n, x) - normalised * _column(dscale / n, x)
    dx = dx * _column(inv_std * scale.to(wide), x)
    return dx.to(x.dtype), dscale.to(scale.dtype), dbias.to(scale.dtype)


def _moved(old: Tensor, batch: Tensor, momentum: float) -> Tensor:
    """Returns the new running statistic [C], in the dtype of the old one."""
    new = momentum * old.to(batch.dtype) + (1 - momentum) * batch
    return new.detach().to(old.dtype)


def _column(value: Tensor, x: Tensor) -> Tensor:
    """Returns a value per channel [C], broadcastable to x [N, C, ...]."""
    return value.view([1, -1] + [1] * (x.ndim - 2))
