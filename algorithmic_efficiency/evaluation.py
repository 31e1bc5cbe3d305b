"""The one evaluation loop of all workloads and frameworks.

Every example of a split is counted exactly once, whatever the batch size, the padding
or the number of workers and devices; this is checked, not hoped for.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from algorithmic_efficiency.data import Dataset, eval_batches
from algorithmic_efficiency.errors import EvaluationError
from algorithmic_efficiency.metrics import METRICS, Batch
from algorithmic_efficiency.spec import Definition

Open = Callable[[str], Dataset]
Predict = Callable[[Mapping[str, Any]], Any]


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
) -> dict[str, float]:
    """Returns '<prefix>/<metric>' and '<prefix>/num_examples' for every split.

    Args:
      definition: the workload.
      open_split: name of a split -> its data set with evaluation preprocessing.
      predict: NumPy batch -> NumPy outputs of the model in EVAL mode.
      batch_size: examples per forward pass; bounds memory and changes no metric.
      workers: processes that read data.

    Raises:
      EvaluationError: a split did not have the number of examples that it must have.
    """
    results: dict[str, float] = {}
    for prefix, (split, num_examples) in splits(definition).items():
        batches = eval_batches(open_split(split), batch_size, workers=workers)
        totals = _sums(definition, predict, batches)
        counted = totals.pop("num_examples")[0]
        if counted != num_examples:
            raise EvaluationError(
                f"The evaluation of {split} counted {counted:.0f} examples and "
                f"{definition.name} has {num_examples}. Check the data with "
                "`python -m datasets.setup`."
            )
        results[f"{prefix}/num_examples"] = int(counted)
        for name, (total, weight) in totals.items():
            results[f"{prefix}/{name}"] = total / weight
    return results


def _sums(
    definition: Definition, predict: Predict, batches: Any
) -> dict[str, tuple[float, float]]:
    sums = {name: np.zeros(2) for name in (*definition.metrics, "num_examples")}
    for batch in batches:
        seen = Batch(predict(batch), batch["targets"], batch["weights"])
        sums["num_examples"] += (float(np.count_nonzero(batch["weights"])), 0.0)
        for name in definition.metrics:
            sums[name] += METRICS[name].update(seen, definition.loss_type)
    return {
        name: (float(total), float(weight)) for name, (total, weight) in sums.items()
    }
