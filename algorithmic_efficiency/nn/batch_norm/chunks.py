"""Normalises chunks of a batch apart in one call, in PyTorch.

PyTorch's kernels know statistics per channel, not per chunk and channel. Folding the
chunks into the channels would copy the batch four times in a step. Instead:

  planes   [B, C, H, W] in memory is [1, B * C, H * W] without a copy: the kernel gives
           statistics per example and channel, which merge to those of the chunks, and
           normalises with given statistics.
  rows     where channels come last, the chunks are [k, rows, C] without a copy, and
           sums over the rows are fast.
"""

from typing import Any

import torch
from torch import Tensor

from algorithmic_efficiency.nn.batch_norm.sums import select


def normalise_chunks(
    x: Tensor,
    valid: Tensor | None,
    chunks: int,
    affine: tuple[Tensor, Tensor],
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns y and, without gradient, mean [k, C], unbiased variance [k, C], n [k].

    Args:
      x: [N, C, ...], the chunks being equal parts of the first axis.
      valid: bool, broadcastable to x; None: every position.
      chunks: k.
      affine: scale and bias [C], float32 or wider.
      eps: added to the variance.
    """
    plain = valid is None and x.is_cpu and x.dtype == affine[0].dtype
    if plain and not torch.compiler.is_compiling():
        y, mean, var = _Chunks.apply(x, *affine, chunks, eps)  # type: ignore[no-untyped-call]
        n = mean.new_full([chunks], x.numel() // (chunks * x.shape[1]))
    else:
        y, mean, var, n = _composed(x, valid, chunks, affine, eps)
    return y, mean, var * (n / (n - 1).clamp(min=1))[:, None], n


def _composed(
    x: Tensor,
    valid: Tensor | None,
    chunks: int,
    affine: tuple[Tensor, Tensor],
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same for every case, in operations with gradients of any order."""
    z = x.to(affine[0].dtype).unflatten(0, (chunks, -1))  # [k, s, C, ...]
    if valid is not None:
        valid = valid.unflatten(0, (chunks, -1))
    axes = [axis for axis in range(1, z.ndim) if axis != 2]
    column = [1, 1, -1] + [1] * (z.ndim - 3)
    n = select(valid, torch.ones_like(z[:, :, :1])).sum((*axes, 2), keepdim=True)
    mean = select(valid, z).sum(axes, keepdim=True) / n.clamp(min=1)
    constant = mean.detach()
    centred = select(valid, z - constant)
    squares = centred.square().sum(axes, keepdim=True)
    var = squares / n.clamp(min=1) - (mean - constant).square()
    factor = affine[0].view(column) * torch.rsqrt(var + eps)
    y = centred * factor + (affine[1].view(column) - (mean - constant) * factor)
    y = select(valid, y).flatten(0, 1).to(x.dtype)
    mean, var = (value.detach().flatten(1) for value in (mean, var))
    return y, mean, var, n.detach().flatten()


class _Chunks(torch.autograd.Function):
    """Chunks without padding on a CPU; returns y, mean and population variance."""

    @staticmethod
    def forward(
        x: Tensor, scale: Tensor, bias: Tensor, chunks: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns y like x, and the statistics [k, C]."""
        if _planes(x) is None:
            z = _split(x, chunks)
            mean = z.mean(1, keepdim=True)
            y = z - mean
            var = torch.linalg.vector_norm(y, 2, 1, keepdim=True).square() / z.shape[1]
            torch.addcmul(bias, y, scale * torch.rsqrt(var + eps), out=y)
            return _joined(y, x), mean.squeeze(1), var.squeeze(1)
        pair = torch.batch_norm_update_stats(_planes(x), None, None, 0.0)
        means, variances = (v.double().view(chunks, -1, len(scale)) for v in pair)
        mean = means.mean(1)
        var = (variances + (means - mean[:, None]).square()).mean(1)
        mean, var = mean.to(scale.dtype), var.to(scale.dtype)
        affine = scale.repeat(len(x)), bias.repeat(len(x))
        given = _each(mean, x), _each(var, x)
        y = torch.native_batch_norm(_planes(x), *affine, *given, False, 0.0, eps)[0]
        return y.view(x.shape), mean, var

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keeps what the gradient needs."""
        x, scale, bias, ctx.chunks, ctx.eps = inputs
        ctx.save_for_backward(x, scale, bias, *output[1:])
        ctx.mark_non_differentiable(*output[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Returns dx = scale * r * (g - mean(g) - xhat * mean(g * xhat)), and more."""
        x, scale, bias, mean, var = ctx.saved_tensors
        g = gradients[0]
        if torch.is_grad_enabled():  # the gradient is itself to be differentiated
            return *_second(ctx, x, scale, bias, g), None, None
        g = g.contiguous(memory_format=_format(x))
        r = torch.rsqrt(var + ctx.eps)
        z, gz = _split(x, ctx.chunks), _split(g, ctx.chunks)
        if _planes(x) is None:
            product = gz * z
            sums = gz.sum(1)
            dots = (product.sum(1) - mean * sums) * r
        else:
            product, sums, dots = None, *_sums_of_planes(g, x, mean, var, ctx.eps)
        n = x.numel() // mean.numel()
        by_g = scale * r
        by_z = -by_g * r * dots / n
        constant = -by_g * sums / n - by_z * mean
        column = [ctx.chunks, 1, -1] + [1] * (z.ndim - 3)
        by_g, by_z, constant = (v.view(column) for v in (by_g, by_z, constant))
        dx = torch.addcmul(constant, z, by_z, out=product).addcmul_(gz, by_g)
        return _joined(dx, x), dots.sum(0), sums.sum(0), None, None


def _second(ctx: Any, x: Tensor, scale: Tensor, bias: Tensor, g: Tensor) -> Any:
    """Returns the gradients of x, scale and bias with a graph of their own."""
    y = _composed(x, None, ctx.chunks, (scale, bias), ctx.eps)[0]
    wanted = ctx.needs_input_grad[:3]
    inputs = [v for v, want in zip((x, scale, bias), wanted, strict=True) if want]
    found = iter(torch.autograd.grad(y, inputs, g, create_graph=True))
    return [next(found) if want else None for want in wanted]


def _planes(x: Tensor) -> Tensor | None:
    """Returns x as [1, B * C, positions] if that is how it lies in memory."""
    if x.ndim == 2 or not x.is_contiguous():
        return None
    return x.view(1, x.shape[0] * x.shape[1], -1)


def _each(value: Tensor, x: Tensor) -> Tensor:
    """Returns a value per chunk and channel [k, C] for each example's [B * C]."""
    examples = len(x) // len(value)
    return value[:, None].expand(-1, examples, -1).reshape(-1)


def _sums_of_planes(
    g: Tensor, x: Tensor, mean: Tensor, var: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Returns the sums of g and of g * xhat over each chunk, [k, C]."""
    ones = mean.new_ones(x.shape[0] * x.shape[1])
    _, dots, sums = torch.ops.aten.native_batch_norm_backward(
        _planes(g),
        _planes(x),
        ones,
        _each(mean, x),
        _each(var, x),
        None,
        None,
        False,
        eps,
        [False, True, True],
    )
    shape = (len(mean), -1, mean.shape[1])
    return sums.view(shape).sum(1), dots.view(shape).sum(1)


def _format(x: Tensor) -> torch.memory_format:
    if _planes(x) is not None or x.ndim != 4:
        return torch.contiguous_format
    return torch.channels_last


def _split(x: Tensor, chunks: int) -> Tensor:
    """Returns x as [k, s, C, positions] or, where channels come last, [k, rows, C]."""
    if _planes(x) is not None:
        return x.view(chunks, -1, x.shape[1], x[0, 0].numel())
    return x.movedim(1, -1).reshape(chunks, -1, x.shape[1])


def _joined(z: Tensor, x: Tensor) -> Tensor:
    """Undoes `_split`."""
    if z.ndim == 4:
        return z.view(x.shape)
    last = x.shape[:1] + x.shape[2:] + x.shape[1:2]
    return z.view(last).movedim(-1, 1)
