"""The metrics of the speech workloads, of what `best_labels` leaves of the outputs."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithmic_efficiency.ctc import fits, tokens
from algorithmic_efficiency.losses import masked_loss
from algorithmic_efficiency.metrics import Metric, Seen, mean, sums, total
from algorithmic_efficiency.ops import Ops, hide
from workloads._librispeech import transcripts


def best_labels(ops: Ops, batch: Mapping[str, Any], outputs: Any) -> Any:
    """Returns what the metrics need of (logits [B, T, V], paddings [B, T]).

    Made on the device, since the outputs are too large to travel: at full scale half a
    gigabyte per batch.

    Returns:
      best: the most likely label of each frame [B, T], blank where it is padding.
      loss, tokens, fits: per example [B]; see `ctc`.
    """
    targets = batch["targets"]
    outputs = hide(ops, batch["weights"], outputs)
    loss = masked_loss("ctc", ops, targets, outputs)
    return {
        "best": ops.argmax(outputs[0]) * (outputs[1] == 0),
        "loss": loss["per_example"],
        "tokens": tokens(targets, outputs),
        "fits": fits(targets, outputs),
    }


def _texts(seen: Seen) -> tuple[list[str], list[str]]:
    """Returns what was said in each utterance of a batch, and what was understood."""
    real = seen.weights != 0
    labels, paddings = seen.targets
    said = transcripts.ragged(labels[real], paddings[real] == 0)
    understood = transcripts.decode(seen.outputs["best"][real])
    return seen.tokenizer.decode(said), seen.tokenizer.decode(understood)


def _ctc_loss(seen: Seen) -> np.ndarray:
    """Per token, over the transcripts that fit their audio."""
    weights = seen.weights.astype(np.float64)
    loss, count = seen.outputs["loss"], seen.outputs["tokens"]
    return sums((loss * weights).sum(), (count * weights).sum())


def _misfits(seen: Seen) -> np.ndarray:
    """The number of transcripts that do not fit their audio."""
    misfit = (seen.weights != 0) & ~seen.outputs["fits"]
    return sums(np.count_nonzero(misfit), 0)


def _wer_true(seen: Seen) -> np.ndarray:
    said, understood = seen.once(_texts)
    return sums(transcripts.word_errors(said, understood), transcripts.words(said))


def _wer(seen: Seen) -> np.ndarray:
    said, understood = (
        [transcripts.published(text) for text in texts] for texts in seen.once(_texts)
    )
    return sums(transcripts.word_errors(said, understood), transcripts.words(said))


ctc_loss = Metric(_ctc_loss, mean, maximize=False)
misfits = Metric(_misfits, total, maximize=False)
wer_true = Metric(_wer_true, mean, maximize=False)
wer = Metric(_wer, mean, maximize=False)
