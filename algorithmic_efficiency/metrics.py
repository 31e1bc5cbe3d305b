"""Every metric, once for all frameworks: sums in float64 NumPy.

A metric adds up (total, weight) over the batches of a split and is total / weight.
Padded examples have weight 0 and count nowhere.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from algorithmic_efficiency.losses import NumpyOps, masked_loss
from algorithmic_efficiency.spec import LossType


@dataclasses.dataclass(frozen=True)
class Batch:
    """What the harness knows of one evaluated batch, all NumPy.

    Attributes:
      outputs: what the model returned, for example logits [B, classes].
      targets: the batch's targets.
      weights: [B], 0 where an example is padding.
    """

    outputs: Any
    targets: Any
    weights: np.ndarray


@dataclasses.dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
      update: batch and loss type -> (total, weight), float64 sums over the batch.
      maximize: True where larger is better.
    """

    update: Callable[[Batch, LossType], tuple[float, float]]
    maximize: bool

    def better(self, value: float, other: float) -> bool:
        """Says whether `value` is strictly better; never where one is NaN."""
        return value > other if self.maximize else value < other


def _accuracy(batch: Batch, loss_type: LossType) -> tuple[float, float]:
    del loss_type
    correct = np.argmax(batch.outputs, -1) == batch.targets
    # argmax of a row of NaN is 0, which must not count as a right answer.
    correct &= np.isfinite(batch.outputs).all(-1)
    weights = batch.weights.astype(np.float64)
    return float((correct * weights).sum()), float(weights.sum())


def _loss(batch: Batch, loss_type: LossType) -> tuple[float, float]:
    ops = NumpyOps()
    loss = masked_loss(loss_type, ops, batch.targets, batch.outputs, batch.weights)
    return float(loss["summed"]), float(loss["n_valid_examples"])


METRICS = {
    "accuracy": Metric(_accuracy, maximize=True),
    "loss": Metric(_loss, maximize=False),
}
