"""Every masked loss, once for all frameworks.

A loss is written over `ops`, the few tensor functions that a backend supplies
(`backends/*.py`, and `NumpyOps` here for evaluation in float64). It returns

    {"summed": sum of per_example,                          []
     "n_valid_examples": sum of the mask, or batch size,     []
     "per_example": loss of each example, 0 where masked}    [B]

and is not averaged over devices. The CTC loss counts tokens in place of examples.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from algorithmic_efficiency.rates import is_known, number
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

    def ones_like(self, x: Any) -> Any:
        """Returns ones in the shape and dtype of x."""

    def wide(self, x: Any) -> Any:
        """Returns x in float32, or in its own dtype where that is wider."""

    def argmax(self, x: Any) -> Any:
        """Returns the place of the largest entry along the last axis, an integer."""

    def ctc(self, logits: Any, paddings: Any, labels: Any, label_paddings: Any) -> Any:
        """Returns the CTC loss of each example with blank 0, [B].

        Args:
          logits: [B, T, V].
          paddings: [B, T], 1 from the first frame that does not count.
          labels: [B, L], whole numbers; no example has more than fit its frames.
          label_paddings: [B, L], 1 from the first label that does not count.
        """


def softmax_cross_entropy(
    ops: Ops, targets: Any, logits: Any, label_smoothing: Any
) -> Any:
    """Returns the cross-entropy of each example, [B].

    Args:
      ops: the backend's tensor functions.
      targets: class indices [B], or probabilities [B, classes].
      logits: [B, classes].
      label_smoothing: a in y * (1 - a) + a / classes (Szegedy et al., 2016), as
        `rates.number` returns it.
    """
    log_probabilities = ops.log_softmax(logits)
    if len(targets.shape) == len(logits.shape):
        targets = ops.float_like(targets, logits)
        nll = -(targets * log_probabilities).sum(-1)
    else:
        nll = -ops.pick(log_probabilities, targets)
    if is_known(label_smoothing, 0.0):
        return nll
    uniform = -log_probabilities.mean(-1)
    share = label_smoothing * uniform
    if not isinstance(label_smoothing, float):
        # It may turn out to be 0, and `uniform` infinite: their product is 0 here.
        share = ops.select((label_smoothing != 0) | (uniform - uniform == 0), share)
    return (1.0 - label_smoothing) * nll + share


def sigmoid_cross_entropy(
    ops: Ops, targets: Any, logits: Any, label_smoothing: Any
) -> Any:
    """Returns the summed binary cross-entropy of each example, [B]."""
    targets = ops.float_like(targets, logits)
    targets = (1.0 - label_smoothing) * targets + 0.5 * label_smoothing
    loss = -targets * ops.log_sigmoid(logits)
    loss = loss - (1.0 - targets) * ops.log_sigmoid(-logits)
    return loss.reshape(loss.shape[0], -1).sum(-1)


def ctc(ops: Ops, targets: Any, outputs: Any, label_smoothing: Any) -> Any:
    """Returns the CTC loss of each example (Graves et al., 2006), [B].

    It is 0 for a transcript that does not fit its audio; see `fits`.

    Args:
      ops: the backend's tensor functions.
      targets: (labels [B, L], paddings [B, L]).
      outputs: (logits [B, T, V], paddings [B, T]); label 0 is the blank.
      label_smoothing: ignored, as published.
    """
    del label_smoothing
    (labels, label_paddings), (logits, paddings) = targets, outputs
    fit = fits(targets, outputs)
    # No label is the one transcript that always fits: nothing infinite comes up, whose
    # gradient would be 0 * inf.
    label_paddings = 1.0 - ops.select(fit[:, None], 1.0 - label_paddings)
    return ops.select(fit, ops.ctc(logits, paddings, labels, label_paddings))


def fits(targets: Any, outputs: Any) -> Any:
    """Says of each example whether its frames can spell its labels, [B].

    Every label takes a frame, and so does the blank between two equal ones. One
    framework's CTC loss is infinite where they cannot, the other's about 1e5.
    """
    labels, label_paddings = targets
    valid = 1.0 - label_paddings
    repeats = ((labels[:, 1:] == labels[:, :-1]) * valid[:, 1:]).sum(-1)
    return valid.sum(-1) + repeats <= (1.0 - outputs[1]).sum(-1)


def tokens(targets: Any, outputs: Any) -> Any:
    """Returns the labels of each example, [B]; 0 where they do not fit its frames."""
    return (1.0 - targets[1]).sum(-1) * fits(targets, outputs)


LOSSES: dict[LossType, Callable[[Ops, Any, Any, Any], Any]] = {
    LossType.SOFTMAX_CROSS_ENTROPY: softmax_cross_entropy,
    LossType.SIGMOID_CROSS_ENTROPY: sigmoid_cross_entropy,
    LossType.CTC_LOSS: ctc,
}


def masked_loss(
    loss_type: LossType,
    ops: Ops,
    targets: Any,
    outputs: Any,
    mask: Any = None,
    label_smoothing: Any = 0.0,
) -> dict[str, Any]:
    """Returns the loss as the module's docstring says, in float32 or wider.

    Args:
      loss_type: a row of `LOSSES`.
      ops: the backend's tensor functions.
      targets: what that loss takes.
      outputs: logits, or (logits, paddings) where they are sequences.
      mask: [B], the weight of each example; None: all are 1.
      label_smoothing: a number, or an array of shape (), traced or not; None is 0.

    Raises:
      ValueError: label_smoothing is no number.
    """
    outputs = _each(ops.wide, outputs)  # a sum of ones in bfloat16 ends at 256
    smoothing = 0.0 if label_smoothing is None else label_smoothing
    smoothing = number("label_smoothing", smoothing)
    if not isinstance(smoothing, float):
        smoothing = ops.wide(smoothing)
    if mask is not None:
        # First, or the gradient of a masked NaN would be 0 * NaN.
        outputs = hide(ops, mask, outputs)
    per_example = LOSSES[loss_type](ops, targets, outputs, smoothing)
    weights = ops.ones_like(per_example)
    if mask is not None:
        weights = ops.float_like(mask, per_example)
    per_example = per_example * weights
    n_valid = weights.sum()
    if loss_type is LossType.CTC_LOSS:
        n_valid = (tokens(targets, outputs) * weights).sum()
        n_valid = n_valid + (n_valid == 0)  # as published: never divide by 0 tokens
    return {
        "summed": per_example.sum(),
        "n_valid_examples": n_valid,
        "per_example": per_example,
    }


def _each(function: Callable[[Any], Any], outputs: Any) -> Any:
    return (
        tuple(map(function, outputs))
        if isinstance(outputs, tuple)
        else function(outputs)
    )


def hide(ops: Ops, mask: Any, outputs: Any) -> Any:
    """Returns the outputs with masked examples 0; of sequences, they are padding."""
    if isinstance(outputs, tuple):
        logits, paddings = outputs
        return hide(ops, mask, logits), 1.0 - hide(ops, mask, 1.0 - paddings)
    rows = mask.reshape(*mask.shape, *(1,) * (len(outputs.shape) - len(mask.shape)))
    return ops.select(rows, outputs)


def activation(loss_type: LossType, ops: Ops, logits: Any) -> Any:
    """Returns the probabilities whose loss this is; of CTC, the logits."""
    if loss_type is LossType.SOFTMAX_CROSS_ENTROPY:
        return ops.exp(ops.log_softmax(logits))
    if loss_type is LossType.SIGMOID_CROSS_ENTROPY:
        return ops.exp(ops.log_sigmoid(logits))
    return logits


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

    def ones_like(self, x: np.ndarray) -> np.ndarray:
        """Returns ones in the shape of x."""
        return np.ones_like(x)

    def wide(self, x: np.ndarray) -> np.ndarray:
        """Returns x as float64."""
        return np.asarray(x, np.float64)

    def argmax(self, x: np.ndarray) -> np.ndarray:
        """Returns the place of the largest entry along the last axis."""
        return np.asarray(np.argmax(x, -1))

    def ctc(
        self,
        logits: np.ndarray,
        paddings: np.ndarray,
        labels: np.ndarray,
        label_paddings: np.ndarray,
    ) -> np.ndarray:
        """Returns the CTC loss of each example, float64 [B].

        `paths[b, s]` is the log probability of all alignments of the frames so far that
        end in place s of: blank, first label, blank, second label, ..., blank.
        """
        places = np.zeros((len(labels), 2 * labels.shape[1] + 1), np.int64)
        places[:, 1::2] = labels
        skips = np.full(places.shape, -np.inf)  # the way from a label to the next one
        skips[:, 3::2] = np.where(labels[:, 1:] == labels[:, :-1], -np.inf, 0.0)
        log_probabilities = self.log_softmax(logits)
        paths = np.full(places.shape, -np.inf)
        paths[:, 0] = 0.0
        for frame, padding in zip(
            log_probabilities.swapaxes(0, 1), paddings.T, strict=True
        ):
            moved = np.logaddexp(paths, _after(paths, 1))
            moved = np.logaddexp(moved, _after(paths, 2) + skips)
            moved = moved + np.take_along_axis(frame, places, 1)
            paths = np.where(padding[:, None] == 0, moved, paths)
        last = 2 * (label_paddings == 0).sum(1)[:, None]
        ends = np.take_along_axis(paths, np.hstack([last, np.maximum(last - 1, 0)]), 1)
        ends[last[:, 0] == 0, 1] = -np.inf  # no label: one end, not the same one twice
        return np.asarray(-np.logaddexp(ends[:, 0], ends[:, 1]))


def _after(paths: np.ndarray, steps: int) -> np.ndarray:
    """Returns the entries moved up by some places; log(0) moves in."""
    moved = np.full(paths.shape, -np.inf)
    moved[:, steps:] = paths[:, :-steps]
    return moved
