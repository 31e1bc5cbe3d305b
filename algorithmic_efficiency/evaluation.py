"""The one evaluation loop of all workloads and frameworks.

Every example of a split is counted exactly once, whatever the batch size, the padding
or the number of workers and devices; this is checked, not hoped for. A training example
that cannot be decoded is left out, which is checked too.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from algorithmic_efficiency import losses
from algorithmic_efficiency.data import BadExamples, Dataset, eval_batches
from algorithmic_efficiency.errors import EvaluationError
from algorithmic_efficiency.metrics import METRICS, Batch
from algorithmic_efficiency.spec import Definition, LossType

Open = Callable[[str], Dataset]
Predict = Callable[[Mapping[str, Any]], Any]


def ctc_summary(ops: losses.Ops, batch: Mapping[str, Any], outputs: Any) -> Any:
    """Returns what the metrics need of (logits [B, T, V], paddings [B, T]).

    Returns:
      best: the most likely label of each frame [B, T], blank where it is padding.
      loss, tokens, fits: per example [B]; see `losses`.
    """
    targets = batch["targets"]
    outputs = losses.hide(ops, batch["weights"], outputs)
    loss = losses.masked_loss(LossType.CTC_LOSS, ops, targets, outputs)
    return {
        "best": ops.argmax(outputs[0]) * (outputs[1] == 0),
        "loss": loss["per_example"],
        "tokens": losses.tokens(targets, outputs),
        "fits": losses.fits(targets, outputs),
    }


# Loss type -> what leaves the device, made there from the outputs, where the outputs
# are too large to travel: at full scale half a gigabyte per batch of speech.
SUMMARIES: dict[LossType, Callable[[losses.Ops, Mapping[str, Any], Any], Any]] = {
    LossType.CTC_LOSS: ctc_summary,
}


def splits(definition: Definition) -> dict[str, tuple[str, int]]:
    """Returns prefix of the metrics -> (split, number of examples)."""
    table = {
        "train": ("eval_train", definition.num_eval_train_examples),
        "validation": ("validation", definition.num_validation_examples),
    }
    if definition.num_test_examples is not None:
        table["test"] = ("test", definition.num_test_examples)
    return table


def evaluate(
    definition: Definition,
    open_split: Open,
    predict: Predict,
    *,
    batch_size: int,
    workers: int = 0,
    bad: BadExamples | None = None,
) -> dict[str, float]:
    """Returns '<prefix>/<metric>' and '<prefix>/num_examples' for every split.

    A metric of weight 0, such as the word error rate of a split without a word, is NaN.

    Args:
      definition: the workload.
      open_split: name of a split -> its data set with evaluation preprocessing.
      predict: NumPy batch -> NumPy outputs of the model in EVAL mode, or their summary
        in `SUMMARIES`.
      batch_size: examples per forward pass; bounds memory and changes no metric.
      workers: processes that read data.
      bad: gets the examples of eval_train that cannot be decoded, which are left out;
        they are training examples. Without it, as in the other splits, one is an error.

    Raises:
      DataError: an example cannot be decoded, or too many of the training.
      EvaluationError: a split did not have the number of examples that it must have.
    """
    results: dict[str, float] = {}
    for prefix, (split, num_examples) in splits(definition).items():
        dataset = open_split(split)
        tolerant = split == "eval_train" and bad is not None
        left_out: list[tuple[str, str]] = []
        batches = eval_batches(
            dataset,
            batch_size,
            workers=workers,
            left_out=left_out if tolerant else None,
        )
        counted, sums = _sums(definition, predict, batches, dataset.detokenise)
        if bad is not None:
            bad.add(left_out)
        if counted + len(left_out) != num_examples:
            raise EvaluationError(
                f"The evaluation of {split} counted {counted} examples and "
                f"{definition.name} has {num_examples}. Check the data with "
                "`python -m dataset_setup`."
            )
        results[f"{prefix}/num_examples"] = counted
        for name, sum_ in sums.items():
            results[f"{prefix}/{name}"] = _value(name, *sum_)
    return results


def _value(name: str, total: float, weight: float) -> float:
    """Returns a metric of a split; NaN where there is nothing to average."""
    if not METRICS[name].average:
        return total
    return total / weight if weight else math.nan


def _sums(
    definition: Definition, predict: Predict, batches: Any, detokenise: Any
) -> tuple[int, dict[str, tuple[float, float]]]:
    """Returns the number of examples, and (total, weight) of every metric."""
    counted = 0
    sums = {name: np.zeros(2) for name in definition.metrics}
    for batch in batches:
        weights = batch["weights"]
        counted += int(np.count_nonzero(weights))
        seen = Batch(predict(batch), batch["targets"], weights, detokenise)
        for name in definition.metrics:
            sums[name] += METRICS[name].update(seen, definition.loss_type)
    return counted, {
        name: (float(total), float(weight)) for name, (total, weight) in sums.items()
    }
