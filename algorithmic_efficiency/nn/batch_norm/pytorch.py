"""The batch norm layer of our PyTorch models; the formulas are in `__init__.py`."""

import sys
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from algorithmic_efficiency.nn.batch_norm import check_mask, check_variance
from algorithmic_efficiency.nn.batch_norm.rows import put_rows, take_rows
from algorithmic_efficiency.nn.batch_norm.sums import (
    Seen,
    SumOverProcesses,
    column,
    own,
    select,
)
from algorithmic_efficiency.nn.batch_norm.switch import (
    batch_norm_mode as batch_norm_mode,
)

_CONVERT = nn.SyncBatchNorm.convert_sync_batchnorm.__func__.__code__  # type: ignore[attr-defined]


class BatchNorm(nn.Module):
    """Batch norm that counts only valid positions and updates only when told.

    `training` selects the normaliser, `update_statistics` whether the statistics of a
    training forward enter the buffers; `batch_norm_mode` sets both for one block.

    To isinstance it is a torch batch norm, so that tools such as
    torch.optim.swa_utils.update_bn find it; only SyncBatchNorm.convert_sync_batchnorm
    does not, as the layer sums over processes itself and takes masks.

    Attributes:
      num_features: C, the size of the channel axis.
      momentum: weight of the new batch; None is cumulative.
      eps: added to the variance.
      variance: 'unbiased' or 'population', what enters `running_var`.
      channel_axis: 1, or -1 for the last axis.
      zero_centered_scale: the scale is 1 + weight, and weight starts at 0.
      sync: statistics over all processes; False: over the batch of this process.
      affine: False: neither scale nor bias. bias: False: no bias.
      track_running_stats: False: no buffers; every pass uses batch statistics.
      accumulating: where `moments.accumulate` collects instead of moving the buffers.
    """

    weight: Tensor | None
    bias: Tensor | None
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
        affine: bool = True,
        bias: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        check_variance(variance)
        if channel_axis not in (1, -1):
            raise ValueError(f"Found channel_axis={channel_axis}; expected 1 or -1.")
        self.num_features, self.momentum, self.eps = num_features, momentum, eps
        self.variance, self.channel_axis, self.sync = variance, channel_axis, sync
        self.zero_centered_scale = zero_centered_scale
        self.affine, self.track_running_stats = affine, track_running_stats
        self.update_statistics = True
        self.accumulating: Any = None
        start = torch.zeros if zero_centered_scale else torch.ones
        self.weight = nn.Parameter(start(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine and bias else None
        state = {"running_mean": torch.zeros(num_features)}
        state["running_var"] = torch.ones(num_features)
        state["num_batches_tracked"] = torch.tensor(0)
        for name, buffer in state.items():
            self.register_buffer(name, buffer if track_running_stats else None)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The class that isinstance falls back to; type() gives the real one."""
        converting = sys._getframe(1).f_code is _CONVERT
        return type(self) if converting else _TorchBatchNorm

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Says how to copy a layer that is shy about its class."""
        return _blank, (type(self),), self.__getstate__()

    def _get_name(self) -> str:
        return type(self).__name__

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Returns x normalised, in its shape and dtype, and 0 where it is not valid.

        Args:
          x: [B, ...] with channels on `channel_axis`.
          mask: nonzero = valid; its shape is a prefix of x's axes without channels,
            such as [B] or [B, T]. None: every position is valid.
        """
        z, valid = self.on_axis_1(x, mask)
        y = self._normalise(z, valid, len(x))
        # A view would make activations in place copy what they view.
        return y if y.shape == x.shape else y.reshape(x.shape)

    def _normalise(self, z: Tensor, valid: Tensor | None, examples: int) -> Tensor:
        """Returns y of z [N, C, ...], N being a multiple of the number of examples."""
        del examples
        if self._by_batch and self._processes > 1:
            return self._by_counted_batch(z, valid)
        if valid is None:
            return self._by_kernel(z)
        if z.ndim == 2 and z.is_cpu and not torch.compiler.is_compiling():
            return self._by_rows(z, valid.squeeze(1))
        if self._by_batch:
            return self._by_counted_batch(z, valid)
        return select(valid, self._by_kernel(select(valid, z)))

    @property
    def _by_batch(self) -> bool:
        return self.training or not self.track_running_stats

    @property
    def _processes(self) -> int:
        """How many processes the statistics are summed over."""
        return dist.get_world_size() if self.sync and dist.is_initialized() else 1

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
        if not self._by_batch:
            # Copies: backward needs these values even if an update overwrites them.
            mean = self.running_mean.to(scale.dtype, copy=True)
            var = self.running_var.to(scale.dtype, copy=True)
            return F.batch_norm(x, mean, var, scale, bias, eps=self.eps)
        sole = x.numel() == x.shape[1]
        if sole and self.accumulating is not None:  # which the kernel refuses
            return self._by_counted_batch(x, None)
        if not self._updates:
            return F.batch_norm(x, None, None, scale, bias, True, eps=self.eps)
        # With momentum 1 the kernel hands out the statistics of the batch.
        mean, var = torch.zeros_like(scale), torch.zeros_like(scale)
        y = F.batch_norm(x, mean, var, scale, bias, True, 1.0, self.eps)
        self.update(mean, var, x.numel() // x.shape[1])
        return y

    def _by_rows(self, x: Tensor, valid: Tensor) -> Tensor:
        """Normalises the valid rows of x [N, C] as if there were no others."""
        rows = take_rows(x, valid)
        if self._by_batch and len(rows) < 2:  # which the kernel refuses
            return self._by_counted_batch(x, valid[:, None])
        return put_rows(self._by_kernel(rows), valid)

    def _by_counted_batch(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """Normalises with sums over the valid positions of all processes.

        Args:
          x: [B, C, ...].
          valid: bool, broadcastable to x; None: every position.
        """
        seen = self._see(x, valid)
        return self._with(seen, seen.mean, seen.var, x, valid)

    def _see(self, x: Tensor, valid: Tensor | None) -> Seen:
        """Returns the statistics of a batch, having updated the buffers with them.

        The variance is sum((x - c)^2) / n - (mean - c)^2, which is true for every
        constant c. With c = mean it is the accurate two-pass formula, and its
        gradients of any order are right without a gradient through c.
        """
        total: Any = SumOverProcesses.apply if self._processes > 1 else own
        z = x.to(torch.promote_types(x.dtype, torch.float32))
        axes = [axis for axis in range(x.ndim) if axis != 1]
        positions = select(valid, torch.ones_like(z[:, :1]))
        sums = total(torch.cat([select(valid, z).sum(axes), positions.sum()[None]]))
        count = sums[-1].detach()
        mean = column(sums[:-1] / count.clamp(min=1), x)
        constant = mean.detach()
        centred = select(valid, z - constant)
        squares = column(total(centred.square().sum(axes)), x)
        var = squares / count.clamp(min=1) - (mean - constant).square()
        if self._updates:
            unbiased = squares / (count - 1).clamp(min=1)
            self.update(constant.flatten(), unbiased.detach().flatten(), count)
        return Seen(mean, var, constant, centred, count)

    def _with(
        self, seen: Seen, mean: Tensor, var: Tensor, x: Tensor, valid: Tensor | None
    ) -> Tensor:
        """Returns x normalised with mean and var, both broadcastable to it."""
        scale, bias = (column(value, x) for value in self._affine(x))
        factor = scale * torch.rsqrt(var + self.eps)
        y = seen.centred * factor + (bias - (mean - seen.constant) * factor)
        return select(valid, y).to(x.dtype)

    def _affine(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns scale and bias [C], in float32 or wider."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        zeros = x.new_zeros(self.num_features, dtype=dtype)
        bias = zeros if self.bias is None else self.bias.to(dtype)
        if self.weight is None:
            return zeros + 1, bias
        scale = 1 + self.weight if self.zero_centered_scale else self.weight
        return scale.to(dtype), bias

    @property
    def _updates(self) -> bool:
        return self.update_statistics and self.track_running_stats

    @torch.no_grad()
    def update(self, mean: Tensor, var: Tensor, count: Tensor | int) -> None:
        """Moves the buffers in place: new = (1 - momentum) * old + momentum * batch.

        Args:
          mean, var: [C], the batch mean and unbiased variance; finite if count is 0.
          count: how many positions they are from; if none, nothing moves.
        """
        if self.accumulating is not None:
            self.accumulating.add(mean, var, count)
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

    @torch.no_grad()
    def reset_running_stats(self) -> None:
        """Sets the running statistics to those of a new layer."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def extra_repr(self) -> str:
        """Returns the settings that differ from those of torch's layer."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"variance={self.variance!r}, channel_axis={self.channel_axis}"
        )

    def _apply(self, fn: Any, recurse: bool = True) -> "BatchNorm":
        """Moves and casts the layer, yet keeps its statistics at least float32."""
        exact = {
            name: buffer
            for name, buffer in self._buffers.items()
            if buffer is not None and buffer.is_floating_point()
        }
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in exact.items():
            moved = self.get_buffer(name)
            if moved.dtype in (torch.bfloat16, torch.float16):
                self._buffers[name] = buffer.to(moved.device)
        return self


def _blank(kind: type[nn.Module]) -> nn.Module:
    """Returns a layer of this class, before its state is set."""
    return kind.__new__(kind)


class _TorchBatchNorm(_BatchNorm):
    """What isinstance takes our layer for; nobody makes one."""
