"""The batch norm layer of our PyTorch models; the formulas are in `__init__.py`."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from algorithmic_efficiency.nn.batch_norm import check_mask, check_variance
from algorithmic_efficiency.nn.batch_norm.rows import put_rows, take_rows
from algorithmic_efficiency.nn.batch_norm.switch import (
    batch_norm_mode as batch_norm_mode,
)


def _own(local: Tensor) -> Tensor:
    return local


class BatchNorm(nn.Module):
    """Batch norm that counts only valid positions and updates only when told.

    `training` selects the normaliser, `update_statistics` whether the statistics of a
    training forward enter the buffers; `batch_norm_mode` sets both for one block.

    Attributes:
      num_features: C, the size of the channel axis.
      momentum: weight of the new batch; None is cumulative.
      eps: added to the variance.
      variance: 'unbiased' or 'population', what enters `running_var`.
      channel_axis: 1, or -1 for the last axis.
      zero_centered_scale: the scale is 1 + weight, and weight starts at 0.
      sync: statistics over all processes; False: over the batch of this process.
      accumulating: `moments.accumulate` moves the buffers later, not each forward now.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        num_features: int,
        *,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        variance: str = "unbiased",
        channel_axis: int = 1,
        zero_centered_scale: bool = False,
        sync: bool = True,
    ) -> None:
        super().__init__()
        check_variance(variance)
        if channel_axis not in (1, -1):
            raise ValueError(f"Found channel_axis={channel_axis}; expected 1 or -1.")
        self.num_features, self.momentum, self.eps = num_features, momentum, eps
        self.variance, self.channel_axis, self.sync = variance, channel_axis, sync
        self.zero_centered_scale = zero_centered_scale
        self.update_statistics = True
        self.accumulating = False
        start = torch.zeros if zero_centered_scale else torch.ones
        self.weight = nn.Parameter(start(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Returns x normalised, in its shape and dtype, and 0 where it is not valid.

        Args:
          x: [B, ...] with channels on `channel_axis`.
          mask: nonzero = valid; its shape is a prefix of x's axes without channels,
            such as [B] or [B, T]. None: every position is valid.
        """
        z, valid = self.on_axis_1(x, mask)
        synchronised = self.sync and dist.is_initialized() and dist.get_world_size() > 1
        if self.training and synchronised:
            y = self._by_counted_batch(z, valid, _SumOverProcesses.apply)
        elif valid is None:
            y = self._by_kernel(z)
        elif z.ndim == 2 and z.is_cpu and not torch.compiler.is_compiling():
            y = self._by_rows(z, valid.squeeze(1))
        elif self.training:
            y = self._by_counted_batch(z, valid)
        else:
            y = _select(valid, self._by_kernel(_select(valid, z)))
        # A view would make activations in place copy what they view.
        return y if y.shape == x.shape else y.reshape(x.shape)

    def on_axis_1(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Returns x with channels on axis 1 and the mask as bool, broadcastable."""
        last = self.channel_axis == -1
        z = x.reshape(-1, x.shape[-1]) if last else x
        if mask is None:
            return z, None
        positions = x.shape[:-1] if last else x.shape[:1] + x.shape[2:]
        check_mask(tuple(mask.shape), tuple(positions))
        valid = mask != 0
        valid = valid.view(valid.shape + (1,) * (x.ndim - 1 - valid.ndim))
        if last:
            return z, valid.expand(positions).reshape(-1, 1)
        return z, valid.unsqueeze(1)

    def _by_kernel(self, x: Tensor) -> Tensor:
        """Normalises with PyTorch's kernel and every position of x."""
        scale, bias = self._affine(x)
        if not self.training:
            # Copies: backward needs these values even if an update overwrites them.
            mean = self.running_mean.to(scale.dtype, copy=True)
            var = self.running_var.to(scale.dtype, copy=True)
            return F.batch_norm(x, mean, var, scale, bias, eps=self.eps)
        if not self.update_statistics:
            return F.batch_norm(x, None, None, scale, bias, True, eps=self.eps)
        # With momentum 1 the kernel hands out the statistics of the batch.
        mean, var = torch.zeros_like(scale), torch.zeros_like(scale)
        y = F.batch_norm(x, mean, var, scale, bias, True, 1.0, self.eps)
        self.update(mean, var, x.numel() // x.shape[1])
        return y

    def _by_rows(self, x: Tensor, valid: Tensor) -> Tensor:
        """Normalises the valid rows of x [N, C] as if there were no others."""
        rows = take_rows(x, valid)
        if self.training and len(rows) < 2:  # which the kernel refuses
            return self._by_counted_batch(x, valid[:, None])
        return put_rows(self._by_kernel(rows), valid)

    def _by_counted_batch(
        self, x: Tensor, valid: Tensor | None, total: Any = _own
    ) -> Tensor:
        """Normalises with sums over the valid positions of all processes.

        The variance is sum((x - c)^2) / n - (mean - c)^2, which is true for every
        constant c. With c = mean it is the accurate two-pass formula, and its
        gradients of any order are right without a gradient through c.

        Args:
          x: [B, C, ...].
          valid: bool, broadcastable to x; None: every position.
          total: adds up a tensor over the processes.
        """
        scale, bias = (_column(value, x) for value in self._affine(x))
        z = x.to(scale.dtype)
        axes = [axis for axis in range(x.ndim) if axis != 1]
        positions = _select(valid, torch.ones_like(z[:, :1]))
        sums = total(torch.cat([_select(valid, z).sum(axes), positions.sum()[None]]))
        count = sums[-1].detach()
        mean = _column(sums[:-1] / count.clamp(min=1), x)
        constant = mean.detach()
        centred = _select(valid, z - constant)
        squares = _column(total(centred.square().sum(axes)), x)
        var = squares / count.clamp(min=1) - (mean - constant).square()
        if self.update_statistics:
            unbiased = squares / (count - 1).clamp(min=1)
            self.update(constant.flatten(), unbiased.detach().flatten(), count)
        factor = scale * torch.rsqrt(var + self.eps)
        y = centred * factor + (bias - (mean - constant) * factor)
        return _select(valid, y).to(x.dtype)

    def _affine(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns scale and bias [C], in float32 or wider."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        scale = 1 + self.weight if self.zero_centered_scale else self.weight
        return scale.to(dtype), self.bias.to(dtype)

    @torch.no_grad()
    def update(self, mean: Tensor, var: Tensor, count: Tensor | int) -> None:
        """Moves the buffers in place: new = (1 - momentum) * old + momentum * batch.

        Args:
          mean, var: [C], the batch mean and unbiased variance; finite if count is 0.
          count: how many positions they are from; if none, nothing moves.
        """
        if self.accumulating:
            return
        n = count + (count == 0)
        if self.variance == "population":
            var = var * ((n - 1) / n)
        self.num_batches_tracked += count > 0
        if self.momentum == 0:
            return
        updates = self.num_batches_tracked
        momentum = 1 / updates.clamp(min=1) if self.momentum is None else self.momentum
        weight = momentum * (count > 0)
        if isinstance(weight, Tensor):
            weight = weight.to(self.running_mean.dtype)
        for old, batch in ((self.running_mean, mean), (self.running_var, var)):
            old.lerp_(batch.to(old.dtype), weight)

    def _apply(self, fn: Any, recurse: bool = True) -> "BatchNorm":
        """Moves and casts the layer, yet keeps its statistics at least float32."""
        exact = {"running_mean": self.running_mean, "running_var": self.running_var}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in exact.items():
            moved = self.get_buffer(name)
            if moved.dtype in (torch.bfloat16, torch.float16):
                self._buffers[name] = buffer.to(moved.device)
        return self


class _SumOverProcesses(torch.autograd.Function):
    """All-reduce; each process's loss depends on the sum, so gradients are summed."""

    @staticmethod
    def forward(local: Tensor) -> Tensor:
        total = local.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Saves nothing: the gradient does not depend on the values."""

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _SumOverProcesses.apply(gradients[0])  # type: ignore[no-untyped-call]


def _select(valid: Tensor | None, x: Tensor) -> Tensor:
    """Returns x with 0 where it is not valid; there, nothing flows back either."""
    return x if valid is None else torch.where(valid, x, 0)


def _column(value: Tensor, x: Tensor) -> Tensor:
    """Returns a value per channel [C], broadcastable to x [B, C, ...]."""
    return value.view([1, -1] + [1] * (x.ndim - 2))
