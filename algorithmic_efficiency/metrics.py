"""Metrics, each once for all frameworks: update, merge, final.

A metric's state is anything that `+` merges: float64 sums in an array, or a list of
rows that are kept to the end. Merging in any order, over batches or processes, gives
the same number. What is padded or has weight 0 counts nowhere.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from algorithmic_efficiency.definition import Definition
from algorithmic_efficiency.losses import masked_loss
from algorithmic_efficiency.names import find_in
from algorithmic_efficiency.numpy_ops import NumpyOps

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the harness knows of one evaluated batch, all NumPy.

    Attributes:
      outputs: what the model returned, for example logits [B, classes], or what the
        `how` of the pass made of it.
      batch: as the reader made it, with `targets` and `weights`.
      loss: the workload's; see `losses.find`.
      tokenizer: that of the data set, or None.
    """

    outputs: Any
    batch: Mapping[str, Any]
    loss: str = ""
    tokenizer: Any = None
    _made: dict[Any, Any] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def targets(self) -> Any:
        """The batch's targets."""
        return self.batch["targets"]

    @property
    def weights(self) -> np.ndarray:
        """The batch's weights, [B] or finer."""
        return np.asarray(self.batch["weights"])

    def once(self, function: Callable[["Seen"], T]) -> T:
        """Returns function(self), computed once for all metrics that need it."""
        if function not in self._made:
            self._made[function] = function(self)
        made: T = self._made[function]
        return made


@dataclasses.dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
      update: a batch -> the state to add.
      final: the state of all batches -> the number; NaN where there is nothing.
      maximize: True where larger is better.
    """

    update: Callable[[Seen], Any]
    final: Callable[[Any], float]
    maximize: bool

    def reaches(self, value: float, target: float) -> bool:
        """Says whether `value` is at least as good; never where it is NaN.

        Equality counts, here as in scoring: docs/decisions/013-studies-and-targets.md.
        """
        return value >= target if self.maximize else value <= target


def mean(state: Any) -> float:
    """Returns total / weight of a state [total, weight]."""
    total, weight = state
    return float(total / weight) if weight else math.nan


def total(state: Any) -> float:
    """Returns the total of a state [total, weight]."""
    return float(state[0])


def sums(*values: Any) -> np.ndarray:
    """Returns a state of sums, float64."""
    return np.array(values, np.float64)


def _right_answers(seen: Seen) -> np.ndarray:
    """Counts targets, class indices [...], that have the largest logit [..., V]."""
    correct = np.argmax(seen.outputs, -1) == seen.targets
    # argmax of a row of NaN is 0, which must not count as a right answer.
    correct &= np.isfinite(seen.outputs).all(-1)
    weights = seen.weights.astype(np.float64)
    return sums((correct * weights).sum(), weights.sum())


def _loss(seen: Seen) -> np.ndarray:
    ops = NumpyOps()
    loss = masked_loss(seen.loss, ops, seen.targets, seen.outputs, seen.weights)
    return sums(loss["summed"], loss["n_valid_examples"])


def _perplexity(state: Any) -> float:
    """Returns exp of the mean loss over all entries, nats."""
    value = mean(state)
    return math.exp(value) if value < math.log(np.finfo(np.float64).max) else value


METRICS = {
    "accuracy": Metric(_right_answers, mean, maximize=True),
    "loss": Metric(_loss, mean, maximize=False),
    "ppl": Metric(_loss, _perplexity, maximize=False),
}


@functools.cache
def find(name: str) -> Metric:
    """Returns the metric of this name, a row of `METRICS` or a dotted name.

    Raises:
      ValueError: there is none.
    """
    return find_in(METRICS, name, Metric, "metric")


def short(name: str) -> str:
    """Returns the name in results, the last part of a dotted one."""
    return name.rpartition(".")[2]


def target(definition: Definition) -> Metric:
    """Returns the metric of a workload's targets."""
    for one in definition.evaluations:
        for name in one.metrics:
            if short(name) == definition.target_metric_name:
                return find(name)
    raise ValueError(f"{definition.name} does not compute its target metric.")
