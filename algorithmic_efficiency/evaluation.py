"""The one evaluation loop of all workloads and frameworks.

Every example of a split is counted exactly once, whatever the batch size, the padding
or the number of workers and devices; this is checked, not hoped for. A training example
that cannot be decoded is left out, which is checked too.
"""

from collections.abc import Callable, Mapping
from typing import Any

from algorithmic_efficiency import metrics
from algorithmic_efficiency.data import BadExamples, Dataset, EvalBatches, eval_batches
from algorithmic_efficiency.definition import Definition, Evaluate
from algorithmic_efficiency.errors import EvaluationError
from algorithmic_efficiency.metrics import Seen

Open = Callable[[str], Dataset]
# (NumPy batch, `how` of the pass) -> outputs or what `how` makes of them, NumPy.
Predict = Callable[[Mapping[str, Any], str], Any]


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

    A metric without anything to average, such as the word error rate of a split without
    a word, is NaN.

    Args:
      definition: the workload.
      open_split: name of a split -> its data set with evaluation preprocessing.
      predict: runs the model in EVAL mode.
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
        tolerant = split == "eval_train" and bad is not None
        batches = eval_batches(
            open_split(split), batch_size, workers=workers, tolerant=tolerant
        )
        passes = [one for one in definition.evaluations if prefix in one.splits]
        found = _metrics(definition, passes, predict, batches)
        if bad is not None:
            bad.add(batches.left_out)
        if batches.counted + len(batches.left_out) != num_examples:
            raise EvaluationError(
                f"The evaluation of {split} counted {batches.counted} examples and "
                f"{definition.name} has {num_examples}. Check the data with "
                "`python -m dataset_setup`."
            )
        results[f"{prefix}/num_examples"] = batches.counted
        results |= {f"{prefix}/{name}": value for name, value in found.items()}
    return results


def _metrics(
    definition: Definition,
    passes: list[Evaluate],
    predict: Predict,
    batches: EvalBatches,
) -> dict[str, float]:
    """Returns the metrics of some passes over one split by their names in results."""
    states: dict[str, Any] = {}
    for batch in batches:
        for one in passes:
            outputs = predict(batch, one.how)
            seen = Seen(outputs, batch, definition.loss, batches.dataset.tokenizer)
            for name in one.metrics:
                state = metrics.find(name).update(seen)
                states[name] = states[name] + state if name in states else state
    return {
        metrics.short(name): metrics.find(name).final(state)
        for name, state in states.items()
    }
