"""Moving-average normalisation in PyTorch; the formulas are in docs/batch_norm.md."""

from typing import Any

import torch
from torch import Tensor

from algorithmic_efficiency.nn.batch_norm.norms import check_ema
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm
from algorithmic_efficiency.nn.batch_norm.sums import column, select


class EmaBatchNorm(BatchNorm):
    """Batch norm whose running statistics carry no trace of their initial values.

    The buffers hold the debiased average: the weight of a batch is
    momentum / (1 - (1 - momentum)^t) at the t-th update, so 1 at the first.

    Attributes:
      normalise_with: 'ema': training normalises with the average after the update, in
        which the batch's own share has a gradient; 'batch': as plain batch norm.
      warmup_steps: updates over which 'ema' moves from the batch to the average.
      compatibility: 'equinox': the released Equinox layer number for number, what is
        wrong with it included; 'equinox-675': likewise its pull request 675; None.
    """

    def __init__(
        self,
        num_features: int,
        *,
        normalise_with: str = "ema",
        warmup_steps: int = 1,
        compatibility: str | None = None,
        **settings: Any,
    ) -> None:
        given = (normalise_with, warmup_steps, compatibility)
        variance = check_ema(*given, settings.pop("variance", "unbiased"))
        super().__init__(num_features, variance=variance, **settings)
        self.normalise_with, self.warmup_steps, self.compatibility = given
        self._examples = 2

    def _normalise(self, z: Tensor, valid: Tensor | None, examples: int) -> Tensor:
        self._examples = examples
        if not self._by_batch:
            return self._running(z, valid, examples)
        if self.normalise_with == "batch" or not self.track_running_stats:
            return super()._normalise(z, valid, examples)
        old = self.running_mean.clone(), self.running_var.clone()
        count = self.num_batches_tracked.clone()
        seen = self._see(z, valid)
        share, keep = self._shares(count, seen.mean.dtype)
        mean, var = (
            share * batch + column(keep * before.to(batch.dtype), z)
            for batch, before in zip((seen.mean, seen.var), old, strict=True)
        )
        return self._with(seen, mean, var, z, valid)

    def _shares(self, count: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Returns the weights of batch and stored average in the normaliser.

        With f the part of the warm-up that is done, a the momentum and z what debiasing
        makes up for after the update: batch (1 - f + f (z + a)), stored f (1 - a - z).
        """
        t = count.to(torch.float64)
        a = 1 / (t + 1) if self.momentum is None else t.new_tensor(self.momentum)
        made_up = torch.zeros_like(t) if self.momentum is None else (1 - a) ** (t + 1)
        if self.compatibility == "equinox":
            stored = torch.where(t > 0, 1 - a, 0.0)
        else:
            done = (t / self.warmup_steps).clamp(max=1)
            stored = done * (1 - a - made_up)
        return (1 - stored).to(dtype), stored.to(dtype)

    def _weight(self, updates: Tensor) -> Tensor | float:
        t = updates.to(torch.float64)
        if self.momentum is None:
            return 1 / t.clamp(min=1)
        if self.compatibility == "equinox" and self.normalise_with == "batch":
            return self.momentum
        if self.compatibility == "equinox":
            return torch.where(t > 1, self.momentum, 1.0)
        return self.momentum / (1 - (1 - self.momentum) ** t.clamp(min=1))

    def update(self, mean: Tensor, var: Tensor, count: Tensor | int) -> None:
        """Moves the buffers, see `BatchNorm.update`.

        The pull request's variance is divided by one example less where it should be
        one position less.
        """
        if self.compatibility == "equinox-675" and self.normalise_with == "batch":
            n, b = torch.as_tensor(count, dtype=torch.float64), self._examples
            var = var * ((n - 1).clamp(min=0) / n.clamp(min=1) * b / max(b - 1, 1))
        super().update(mean, var, count)

    def _running(self, z: Tensor, valid: Tensor | None, examples: int) -> Tensor:
        """Normalises with the average, which Equinox's settings change on reading."""
        if self.compatibility is None or self.momentum is None:
            return super()._normalise(z, valid, examples)
        t = self.num_batches_tracked.to(torch.float64)
        mean, var = self.running_mean.double(), self.running_var.double()
        if (self.compatibility, self.normalise_with) == ("equinox", "batch"):
            divisor = torch.where(t > 0, 1 - (1 - self.momentum) ** t, 1.0)
            mean, var = mean / divisor, var / divisor
        else:
            var = torch.where(t > 0, var, 0.0)
        scale, bias = self._affine(z)
        mean, var = mean.to(scale.dtype), var.to(scale.dtype)
        z = select(valid, z)
        factor = scale * torch.rsqrt(var + self.eps)
        y = (z - column(mean, z)) * column(factor, z) + column(bias, z)
        return select(valid, y).to(z.dtype)
