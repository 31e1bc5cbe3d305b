"""Every metric, once for all frameworks: sums in float64 NumPy.

A metric adds up (total, weight) over the batches of a split and is total / weight.
Padded examples have weight 0 and count nowhere.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from algorithmic_efficiency import transcripts
from algorithmic_efficiency.losses import NumpyOps, masked_loss
from algorithmic_efficiency.spec import LossType


@dataclasses.dataclass(frozen=True)
class Batch:
    """What the harness knows of one evaluated batch, all NumPy.

    Attributes:
      outputs: what the model returned, for example logits [B, classes], or the summary
        of it in `evaluation.SUMMARIES`.
      targets: the batch's targets.
      weights: [B], 0 where an example is padding.
      detokenise: that of the data set; speech needs it.
    """

    outputs: Any
    targets: Any
    weights: np.ndarray
    detokenise: Callable[[Sequence[list[int]]], list[str]] | None = None

    @functools.cached_property
    def texts(self) -> tuple[list[str], list[str]]:
        """What was said in each example of a speech batch, and what was understood."""
        if self.detokenise is None:
            raise ValueError(
                "Found a data set without `detokenise`; a word error rate needs it. "
                "Set it where the data module opens the split."
            )
        real = self.weights != 0
        labels, paddings = self.targets
        said = transcripts.ragged(labels[real], paddings[real] == 0)
        understood = transcripts.decode(self.outputs["best"][real])
        return self.detokenise(said), self.detokenise(understood)


@dataclasses.dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
      update: batch and loss type -> (total, weight), float64 sums over the batch.
      maximize: True where larger is better.
      average: False where the metric is the total itself.
    """

    update: Callable[[Batch, LossType], tuple[float, float]]
    maximize: bool
    average: bool = True

    def reaches(self, value: float, target: float) -> bool:
        """Says whether `value` is at least as good; never where it is NaN.

        Equality counts, here as in scoring: docs/decisions/013-studies-and-targets.md.
        """
        return value >= target if self.maximize else value <= target


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


def _ctc_loss(batch: Batch, loss_type: LossType) -> tuple[float, float]:
    """Per token, over the transcripts that fit their audio."""
    del loss_type
    weights = batch.weights.astype(np.float64)
    loss, tokens = batch.outputs["loss"], batch.outputs["tokens"]
    return float((loss * weights).sum()), float((tokens * weights).sum())


def _misfits(batch: Batch, loss_type: LossType) -> tuple[float, float]:
    """The number of transcripts that do not fit their audio."""
    del loss_type
    misfit = (batch.weights != 0) & ~batch.outputs["fits"]
    return float(np.count_nonzero(misfit)), 0.0


def _wer_true(batch: Batch, loss_type: LossType) -> tuple[float, float]:
    del loss_type
    said, understood = batch.texts
    return float(transcripts.word_errors(said, understood)), transcripts.words(said)


def _wer(batch: Batch, loss_type: LossType) -> tuple[float, float]:
    del loss_type
    said, understood = (list(map(transcripts.published, x)) for x in batch.texts)
    return float(transcripts.word_errors(said, understood)), transcripts.words(said)


METRICS = {
    "accuracy": Metric(_accuracy, maximize=True),
    "loss": Metric(_loss, maximize=False),
    "ctc_loss": Metric(_ctc_loss, maximize=False),
    "misfits": Metric(_misfits, maximize=False, average=False),
    "wer_true": Metric(_wer_true, maximize=False),
    "wer": Metric(_wer, maximize=False),
}
