"""Every masked loss, once for all frameworks.

A loss is written over `ops`, the few tensor functions that a backend supplies
(`backends/*.py`, and `NumpyOps` here for evaluation in float64). It returns

    {"summed": sum of per_example,                          []
     "n_valid_examples": sum of the mask, or batch size,     []
     "per_example": loss of each example, 0 where masked}    [B]

and is not averaged over devices.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from algorithmic_efficiency.spec import LossType


class Ops(Protocol):
    """The tensor functions that losses need."""

    def exp(self, x: Any) -> Any:
        """Returns e ** x."""

    def log_softmax(self, x: Any) -> Any:
        """Returns log(softmax(x)) over the last axis."""

    def log_sigmoid(self, x: Any) -> Any:
        """Returns log(1 / (1 + exp(-x)))."""

    def pick(self, x: Any, index: Any) -> Any:
        """Returns x[..., index], index being integers of shape x.shape[:-1]."""

    def float_like(self, x: Any, like: Any) -> Any:
        """Returns x in the dtype of `like`."""

    def select(self, mask: Any, x: Any) -> Any:
        """Returns x where mask is not 0, and 0 elsewhere, whatever x holds there."""

    def count(self, x: Any, like: Any) -> Any:
        """Returns the number of examples in x as a scalar in the dtype of `like`."""


def softmax_cross_entropy(
    ops: Ops, targets: Any, logits: Any, label_smoothing: float
) -> Any:
    """Returns the cross-entropy of each example, [B].

    Args:
      ops: the backend's tensor functions.
      targets: class indices [B], or probabilities [B, classes].
      logits: [B, classes].
      label_smoothing: a in y * (1 - a) + a / classes (Szegedy et al., 2016).
    """
    log_probabilities = ops.log_softmax(logits)
    if len(targets.shape) == len(logits.shape):
        targets = ops.float_like(targets, logits)
        nll = -(targets * log_probabilities).sum(-1)
    else:
        nll = -ops.pick(log_probabilities, targets)
    if not label_smoothing:
        return nll
    uniform = -log_probabilities.mean(-1)
    return (1.0 - label_smoothing) * nll + label_smoothing * uniform


def sigmoid_cross_entropy(
    ops: Ops, targets: Any, logits: Any, label_smoothing: float
) -> Any:
    """Returns the summed binary cross-entropy of each example, [B]."""
    targets = ops.float_like(targets, logits)
    targets = (1.0 - label_smoothing) * targets + 0.5 * label_smoothing
    loss = -targets * ops.log_sigmoid(logits)
    loss = loss - (1.0 - targets) * ops.log_sigmoid(-logits)
    return loss.reshape(loss.shape[0], -1).sum(-1)


LOSSES: dict[LossType, Callable[[Ops, Any, Any, float], Any]] = {
    LossType.SOFTMAX_CROSS_ENTROPY: softmax_cross_entropy,
    LossType.SIGMOID_CROSS_ENTROPY: sigmoid_cross_entropy,
}


def masked_loss(
    loss_type: LossType,
    ops: Ops,
    targets: Any,
    logits: Any,
    mask: Any = None,
    label_smoothing: float = 0.0,
) -> dict[str, Any]:
    """Returns the loss as the module's docstring says."""
    if mask is not None:
        # First, or the gradient of a masked NaN would be 0 * NaN.
        rows = mask.reshape(*mask.shape, *(1,) * (len(logits.shape) - len(mask.shape)))
        logits = ops.select(rows, logits)
    per_example = LOSSES[loss_type](ops, targets, logits, label_smoothing)
    if mask is None:
        n_valid = ops.count(per_example, per_example)
    else:
        per_example = per_example * ops.float_like(mask, per_example)
        n_valid = ops.float_like(mask, per_example).sum()
    return {
        "summed": per_example.sum(),
        "n_valid_examples": n_valid,
        "per_example": per_example,
    }


class NumpyOps:
    """The tensor functions in NumPy, float64."""

    def exp(self, x: np.ndarray) -> np.ndarray:
        """Returns e ** x."""
        return np.asarray(np.exp(x))

    def log_softmax(self, x: np.ndarray) -> np.ndarray:
        """Returns log(softmax(x)) over the last axis, float64."""
        x = np.asarray(x, np.float64)
        with np.errstate(invalid="ignore"):  # inf - inf of a model that diverged
            x = x - x.max(-1, keepdims=True)
        return np.asarray(x - np.log(np.exp(x).sum(-1, keepdims=True)))

    def log_sigmoid(self, x: np.ndarray) -> np.ndarray:
        """Returns log(1 / (1 + exp(-x))), float64."""
        return np.asarray(-np.logaddexp(0.0, -np.asarray(x, np.float64)))

    def pick(self, x: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Returns x[..., index], index being integers of shape x.shape[:-1]."""
        return np.take_along_axis(x, index[..., None].astype(np.int64), -1)[..., 0]

    def float_like(self, x: np.ndarray, like: np.ndarray) -> np.ndarray:
        """Returns x as float64."""
        return np.asarray(x, np.float64)

    def select(self, mask: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Returns x where mask is not 0, and 0 elsewhere."""
        return np.where(mask != 0, x, 0.0)

    def count(self, x: np.ndarray, like: np.ndarray) -> np.ndarray:
        """Returns the number of examples in x."""
        return np.asarray(x.shape[0], np.float64)
