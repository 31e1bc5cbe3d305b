"""Connectionist temporal classification (Graves et al., 2006), for all frameworks."""

from typing import Any

from algorithmic_efficiency.ops import Ops


def ctc(ops: Ops, targets: Any, outputs: Any, label_smoothing: Any) -> Any:
    """Returns the CTC loss of each example (Graves et al., 2006), [B].

    It is 0 for a transcript that does not fit its audio; see `fits`. It is never
    negative, as rounding would make it where a transcript is all but certain.

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
    loss = ops.ctc(logits, paddings, labels, label_paddings)
    return ops.select(fit & ~(loss < 0), loss)  # NaN is not < 0: it stays


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
