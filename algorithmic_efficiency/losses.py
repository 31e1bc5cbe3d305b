"""Every masked loss, once for all frameworks.

A loss is written over `ops`, the few tensor functions that a backend supplies
(`backends/*_ops.py`, and `numpy_ops` for evaluation in float64). `masked_loss` returns

    {"summed": sum of per_example,                          []
     "n_valid_examples": sum of the weights,                 []
     "per_example": the weighted losses}                     like the weights

and is not averaged over devices. Weights are [B], or finer where a family has them:
[B, T] of tokens, [B, tasks] of labels that exist. What has weight 0 changes neither the
loss nor a gradient, whatever it holds, NaN included.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from algorithmic_efficiency.ctc import ctc, tokens
from algorithmic_efficiency.names import find_in
from algorithmic_efficiency.ops import Ops, each, fitted, hide
from algorithmic_efficiency.rates import is_known, number
from algorithmic_efficiency.spec import LossType


def softmax_cross_entropy(
    ops: Ops, targets: Any, logits: Any, label_smoothing: Any
) -> Any:
    """Returns the cross-entropy of each target, [...].

    Args:
      ops: the backend's tensor functions.
      targets: class indices [...], or probabilities [..., classes].
      logits: [..., classes].
      label_smoothing: a in y * (1 - a) + a / classes (Szegedy et al., 2016), as
        `rates.number` returns it.

    Raises:
      ValueError: the shapes do not fit each other.
    """
    log_probabilities = ops.log_softmax(logits)
    if tuple(targets.shape) == tuple(logits.shape):
        targets = ops.float_like(targets, logits)
        nll = -(targets * log_probabilities).sum(-1)
    elif tuple(targets.shape) == tuple(logits.shape[:-1]):
        nll = -ops.pick(log_probabilities, targets)
    else:
        raise ValueError(
            f"Found targets of shape {tuple(targets.shape)} for logits of shape "
            f"{tuple(logits.shape)}; expected class indices {tuple(logits.shape[:-1])} "
            "or probabilities of the shape of the logits."
        )
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
    """Returns the binary cross-entropy of each logit, of the shape of the logits."""
    targets = like_outputs(ops, targets, logits)
    targets = (1.0 - label_smoothing) * targets + 0.5 * label_smoothing
    loss = -targets * ops.log_sigmoid(logits)
    return loss - (1.0 - targets) * ops.log_sigmoid(-logits)


def squared_error(ops: Ops, targets: Any, outputs: Any, label_smoothing: Any) -> Any:
    """Returns (output - target)^2 of each output; label smoothing is ignored."""
    del label_smoothing
    difference = outputs - like_outputs(ops, targets, outputs)
    return difference * difference


def absolute_error(ops: Ops, targets: Any, outputs: Any, label_smoothing: Any) -> Any:
    """Returns |output - target| of each output; label smoothing is ignored."""
    del label_smoothing
    return abs(outputs - like_outputs(ops, targets, outputs))


def like_outputs(ops: Ops, targets: Any, outputs: Any) -> Any:
    """Returns the targets in the dtype and shape of the outputs, [B, ...].

    Axes of size 1 may differ: targets [B] are those of outputs [B, 1].

    Raises:
      ValueError: the shapes differ otherwise, and would be broadcast to nonsense.
    """
    ours, theirs = tuple(targets.shape), tuple(outputs.shape)
    if [n for n in ours[1:] if n != 1] != [n for n in theirs[1:] if n != 1]:
        raise ValueError(
            f"Found targets of shape {ours} for outputs of shape {theirs}; each output "
            "has one target."
        )
    return ops.float_like(targets, outputs).reshape(theirs)


@dataclasses.dataclass(frozen=True)
class Loss:
    """One loss.

    Attributes:
      entries: (ops, targets, outputs, label_smoothing) -> the loss of each entry,
        [B, ...].
      type: what submissions are told of it.
      reduce: what becomes of the axes that the weights do not have: 'none' gives them
        to the weights, 'sum' and 'mean' take the loss over them.
      count: (targets, outputs) -> what each example counts in `n_valid_examples`, [B];
        None: 1.
    """

    entries: Callable[[Ops, Any, Any, Any], Any]
    type: LossType
    reduce: str = "none"
    count: Callable[[Any, Any], Any] | None = None


LOSSES = {
    "softmax_cross_entropy": Loss(
        softmax_cross_entropy, LossType.SOFTMAX_CROSS_ENTROPY
    ),
    "sigmoid_cross_entropy": Loss(
        sigmoid_cross_entropy, LossType.SIGMOID_CROSS_ENTROPY, reduce="sum"
    ),
    "mean_squared_error": Loss(
        squared_error, LossType.MEAN_SQUARED_ERROR, reduce="mean"
    ),
    "mean_absolute_error": Loss(
        absolute_error, LossType.MEAN_ABSOLUTE_ERROR, reduce="mean"
    ),
    "ctc": Loss(ctc, LossType.CTC_LOSS, count=tokens),
}


def find(name: str) -> Loss:
    """Returns the loss of this name, a row of `LOSSES` or a dotted name.

    Raises:
      ValueError: there is none.
    """
    return find_in(LOSSES, name, Loss, "loss")


def masked_loss(
    loss: str,
    ops: Ops,
    targets: Any,
    outputs: Any,
    mask: Any = None,
    label_smoothing: Any = 0.0,
) -> dict[str, Any]:
    """Returns the loss as the module's docstring says, in float32 or wider.

    Args:
      loss: a name that `find` knows.
      ops: the backend's tensor functions.
      targets: what that loss takes.
      outputs: logits, or (logits, paddings) where they are sequences.
      mask: weights [B] or finer; None: all are 1, [B] or, where the loss does not
        reduce, of its entries.
      label_smoothing: a number, or an array of shape (), traced or not; None is 0.

    Raises:
      ValueError: label_smoothing is no number, or shapes do not fit each other.
    """
    row = find(loss)
    outputs = each(ops.wide, outputs)  # a sum of ones in bfloat16 ends at 256
    smoothing = 0.0 if label_smoothing is None else label_smoothing
    smoothing = number("label_smoothing", smoothing)
    if not isinstance(smoothing, float):
        smoothing = ops.wide(smoothing)
    if mask is not None:
        # First, or the gradient of a masked NaN would be 0 * NaN.
        outputs = hide(ops, mask, outputs)
        if not isinstance(targets, tuple):
            targets = hide(ops, mask, targets)
    per_example = row.entries(ops, targets, outputs, smoothing)
    per_example, weights = _weighted(ops, row, per_example, mask)
    counts = weights if row.count is None else row.count(targets, outputs) * weights
    n_valid = counts.sum()
    if row.count is not None:
        n_valid = n_valid + (n_valid == 0)  # as published: never divide by 0 tokens
    return {
        "summed": per_example.sum(),
        "n_valid_examples": n_valid,
        "per_example": per_example,
    }


def _weighted(ops: Ops, row: Loss, entries: Any, mask: Any) -> tuple[Any, Any]:
    """Returns the weighted losses and the weights, both of one shape.

    Raises:
      ValueError: the weights have axes that the loss has not.
    """
    shape = tuple(entries.shape)
    kept = shape if row.reduce == "none" else shape[:1]
    if mask is not None:
        mask = fitted(mask, shape)
        kept = tuple(mask.shape)
    if row.reduce == "none":
        weights = ops.ones_like(entries)
        if mask is not None:
            rows = mask.reshape(*kept, *(1,) * (len(shape) - len(kept)))
            weights = weights * ops.float_like(rows, entries)
        return entries * weights, weights
    size = math.prod(shape[len(kept) :])
    entries = entries.reshape(*kept, size).sum(-1)
    if row.reduce == "mean":
        entries = entries / size
    weights = ops.ones_like(entries)
    if mask is not None:
        weights = ops.float_like(mask, entries)
    return entries * weights, weights


def activation(loss_type: LossType, ops: Ops, logits: Any) -> Any:
    """Returns the probabilities whose loss this is; else the logits."""
    if loss_type is LossType.SOFTMAX_CROSS_ENTROPY:
        return ops.exp(ops.log_softmax(logits))
    if loss_type is LossType.SIGMOID_CROSS_ENTROPY:
        return ops.exp(ops.log_sigmoid(logits))
    return logits
