"""A batch for the trace of a model and for the check of its file."""

from typing import Any

import numpy as np

from algorithmic_efficiency import registry
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.data.batches import eval_batches
from algorithmic_efficiency.data.splits import Splits
from algorithmic_efficiency.errors import DataError

SEED = 27


def example_batch(
    definition: Any, folders: Folders, size: int
) -> tuple[dict[str, Any], str]:
    """Returns (fields of a batch, NumPy, without weights; where they are from).

    They are the first examples of the validation split. Without the data set they are
    normal numbers, where the model takes nothing but numbers.

    Raises:
      DataError: the data are missing and the model takes integers.
    """
    lost = registry.missing_data(definition, folders)
    if lost is None:
        batches = iter(
            eval_batches(Splits(definition, folders).open("validation"), size)
        )
        batch = next(batches)
        if bool(np.all(batch["weights"])):
            del batch["weights"]
        return batch, "examples of the validation split"
    generator = np.random.default_rng(SEED)
    batch = {}
    for name, field in definition.fields.items():
        if name == "targets":
            continue
        if isinstance(field, tuple) or np.dtype(field.dtype).kind != "f":
            raise DataError(
                f"The export of {definition.name} needs examples, since numbers cannot "
                f"be drawn for its field {name!r}. {lost}"
            )
        numbers = generator.standard_normal((size, *field.shape))
        batch[name] = numbers.astype(field.dtype)
    return batch, "normal numbers, as the data are not there"
