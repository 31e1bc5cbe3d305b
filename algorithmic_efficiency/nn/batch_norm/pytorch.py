"""The batch norm layer of our PyTorch models; the formulas are in `__init__.py`."""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from algorithmic_efficiency.nn.batch_norm import check_variance
from algorithmic_efficiency.nn.batch_norm.switch import (
    batch_norm_mode as batch_norm_mode,
)


class BatchNorm(nn.Module):
    """Batch norm that counts only valid positions and updates only when told.

    `training` selects the normaliser and `update_statistics` whether the statistics of
    a training forward enter the buffers; `batch_norm_mode` sets both for one block.

    Attributes:
      num_features: C, the size of the channel axis.
      momentum: weight of the new batch; None is cumulative.
      eps: added to the variance.
      variance: 'unbiased' or 'population', what enters `running_var`.
      channel_axis: 1, or -1 for the last axis.
      zero_centered_scale: the scale is 1 + weight, and weight starts at 0.
      sync: statistics of all processes; False takes those of this process.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(  # noqa: PLR0913 - the settings of a batch norm layer
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
        rows = x.reshape(-1, x.shape[-1]) if self.channel_axis == -1 else x
        valid = None if mask is None else _positions(mask, x, self.channel_axis)
        scale = 1 + self.weight if self.zero_centered_scale else self.weight
        dtype = torch.promote_types(x.dtype, torch.float32)
        scale, bias = scale.to(dtype), self.bias.to(dtype)
        if not self.training:
            y = self._normalise_running(rows, valid, scale, bias)
        elif valid is None and not self._is_synchronised():
            y = self._normalise_natively(rows, scale, bias)
        else:
            y = self._normalise_masked(rows, valid, scale, bias)
        return y.reshape(x.shape) if self.channel_axis == -1 else y

    def _is_synchronised(self) -> bool:
        return self.sync and dist.is_initialized() and dist.get_world_size() > 1

    def _normalise_running(
        self, x: Tensor, valid: Tensor | None, scale: Tensor, bias: Tensor
    ) -> Tensor:
        # Copies: backward needs these values even if an update overwrites them.
        mean = self.running_mean.to(scale.dtype, copy=True)
        var = self.running_var.to(scale.dtype, copy=True)
        if valid is not None:
            x = x.masked_fill(~valid, 0)
        y = F.batch_norm(x, mean, var, scale, bias, eps=self.eps)
        return y if valid is None else y.masked_fill(~valid, 0)

    def _normalise_natively(self, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        """The kernel with batch statistics; at momentum 1 it writes them out as is."""
        if not self.update_statistics:
            return F.batch_norm(x, None, None, scale, bias, True, eps=self.eps)
        mean, var = torch.zeros_like(scale), torch.zeros_like(scale)
        y = F.batch_norm(x, mean, var, scale, bias, True, 1.0, self.eps)
        count = x.numel() // x.shape[1]
        if self.variance == "population":
            var *= (count - 1) / count
        self._update(mean, var)
        return y

    def _normalise_masked(
        self, x: Tensor, valid: Tensor | None, scale: Tensor, bias: Tensor
    ) -> Tensor:
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        ones = torch.ones_like(x[:, :1], dtype=scale.dtype)
        z = x.to(scale.dtype)
        if valid is not None:
            ones = ones.masked_fill(~valid, 0)
            z = z.masked_fill(~valid, 0)
        count = self._total(ones.sum())
        n = count.clamp(min=1)
        mean = self._total(z.sum(axes)) / n
        centred = (z - mean.view(shape)) * ones
        var = self._total(centred.square().sum(axes)) / n
        factor = scale * torch.rsqrt(var + self.eps)
        y = (centred * factor.view(shape) + bias.view(shape)) * ones
        if self.update_statistics:
            if self.variance == "unbiased":
                var = var * (n / (n - 1).clamp(min=1))
            self._update(mean.detach(), var.detach(), count > 0)
        return y.to(x.dtype)

    def _total(self, local: Tensor) -> Tensor:
        if not self._is_synchronised():
            return local
        import torch.distributed.nn as collectives

        return collectives.all_reduce(local)

    @torch.no_grad()
    def _update(self, mean: Tensor, var: Tensor, seen: Tensor | None = None) -> None:
        """Moves the buffers in place: new = (1 - momentum) * old + momentum * batch.

        Args:
          mean, var: [C], the batch statistics.
          seen: whether anything was counted; if not, nothing moves.
        """
        self.num_batches_tracked += 1 if seen is None else seen
        momentum: Tensor | float = (
            1 / self.num_batches_tracked if self.momentum is None else self.momentum
        )
        for old, batch in ((self.running_mean, mean), (self.running_var, var)):
            new = (1 - momentum) * old + momentum * batch
            old.copy_(new if seen is None else torch.where(seen, new, old))


def _positions(mask: Tensor, x: Tensor, channel_axis: int) -> Tensor:
    """Returns the mask as bool, broadcastable to what the layer normalises."""
    valid = mask.to(x.device) != 0
    if channel_axis == 1:
        return valid.view(
            valid.shape[:1] + (1,) + valid.shape[1:] + (1,) * (x.ndim - valid.ndim - 1)
        )
    positions = x.shape[:-1]
    trailing = (1,) * (len(positions) - valid.ndim)
    return valid.view(valid.shape + trailing).expand(positions).reshape(-1, 1)
