"""Accumulated batch norm in PyTorch: the micro-batches of a step count as one batch.

Between steps the moments (number, mean, sum of squared deviations) of the micro-batches
merge without loss; see docs/batch_norm.md for the formulas and the costs.
"""

from typing import Any

import torch
from torch import Tensor, nn

from algorithmic_efficiency.nn.batch_norm.moments import Moments
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm

_STEP = ("step_count", "step_shift", "step_mean", "step_m2")


class AccumulateBatchNorm(BatchNorm):
    """Batch norm that updates once for all micro-batches of an optimizer step.

    Each micro-batch is normalised by itself. What they collect is part of the state, so
    it is saved and moved with the layer; it holds no graph, and only updating forwards
    of the training mode enter it.

    Attributes:
      automatic: False: `update_stats` ends a step, and only it moves the running
        statistics. True: a step ends where the layer's scale or bias has changed, and
        the running statistics are at any time those of a step that ends now.
    """

    def __init__(
        self, num_features: int, *, automatic: bool = False, **settings: Any
    ) -> None:
        super().__init__(num_features, **settings)
        self.automatic = automatic
        for name in (*_STEP, *(_OWN if automatic else ())):
            size = () if name == "step_count" else (num_features,)
            start = torch.full(size, float(name == "base_var"))
            self.register_buffer(name, start if self.track_running_stats else None)

    @property
    def _collects(self) -> bool:
        return self._updates

    @torch.no_grad()
    def update(self, mean: Tensor, var: Tensor, count: Tensor | int) -> None:
        """Collects a micro-batch; see `BatchNorm.update` for the arguments."""
        if self.accumulating is not None:
            return super().update(mean, var, count)
        if self.automatic and self._is_new_step():
            self.update_stats()
            self._begin()
        step, first = self._step(), self.step_count == 0
        step.add(mean.to(torch.float64), var, count)
        shift = torch.where(first, step.mean.float(), self.step_shift.float())
        self.step_shift.copy_(shift)
        self.step_mean.copy_(step.mean - shift.double())
        self.step_m2.copy_(step.m2)
        self.step_count.copy_(step.count)
        if self.automatic:
            self.num_batches_tracked += first & (step.count > 0)
            self._show(step)
        return None

    @torch.no_grad()
    def update_stats(self) -> None:
        """Ends a step: one update with all that was collected; none if it is nothing."""
        step = self._step()
        for name in _STEP:
            self.get_buffer(name).zero_()
        if not self.automatic:  # else the running statistics have moved
            var = step.m2 / (step.count - 1).clamp(min=1)
            super().update(step.mean, var, step.count)

    def _step(self) -> Moments:
        """Returns what the step has collected."""
        mean = self.step_shift.double() + self.step_mean.double()
        return Moments(self.step_count.double(), mean, self.step_m2.double())

    def _parameters(self) -> list[tuple[Tensor, Tensor]]:
        named = ((self.step_scale, self.weight), (self.step_bias, self.bias))
        return [(seen, now) for seen, now in named if now is not None]

    def _is_new_step(self) -> bool:
        """Returns whether nothing is collected, or the parameters have changed."""
        same = [
            torch.equal(seen, now.to(seen.dtype)) for seen, now in self._parameters()
        ]
        return not all(same) or not same or bool(self.step_count == 0)

    def _begin(self) -> None:
        self.base_mean.copy_(self.running_mean)
        self.base_var.copy_(self.running_var)
        for seen, now in self._parameters():
            seen.copy_(now)

    def _show(self, step: Moments) -> None:
        """Makes the running statistics those of a step that ends now."""
        divisor = step.count - (self.variance == "unbiased")
        batch = step.mean, step.m2 / divisor.clamp(min=1)
        weight = self._weight(self.num_batches_tracked) * (step.count > 0)
        bases = self.base_mean, self.base_var
        running = self.running_mean, self.running_var
        if self.momentum == 0:
            return
        for buffer, base, new in zip(running, bases, batch, strict=True):
            buffer.copy_(torch.lerp(base.double(), new, weight.double()))


_OWN = ("step_scale", "step_bias", "base_mean", "base_var")


def update_stats(model: nn.Module) -> None:
    """Ends the step of every accumulated batch norm of a model."""
    for layer in model.modules():
        if isinstance(layer, AccumulateBatchNorm) and layer.track_running_stats:
            layer.update_stats()
