"""Makes the rows. A workload with real data finds, opens and decodes its files here.

A data module has `missing` and `open_split`; see docs/data.md.
"""

import numpy as np

from algorithmic_efficiency.data import Dataset, Folders
from algorithmic_efficiency.definition import Definition

PREPARE = "nothing: the rows are drawn when they are needed"
SEEDS = {"train": 1, "eval_train": 1, "validation": 2, "test": 3}


def missing(definition: Definition, folders: Folders) -> str | None:
    """Says which data were not found, and where; None when all are there."""
    return None


def open_split(definition: Definition, folders: Folders, split: str) -> Dataset:
    """Opens 'train', 'eval_train', 'validation' or 'test'.

    'eval_train' are the first rows of the training.
    """
    count = getattr(definition, f"num_{split}_examples")
    rows = Rows(SEEDS[split], count, definition.data_arguments["noise"])
    return Dataset(rows, element, finish)


class Rows:
    """Rows by number: four numbers, and a smooth function of them with noise."""

    def __init__(self, seed: int, count: int, noise: float) -> None:
        random = np.random.default_rng(seed)
        inputs, noises = np.split(random.standard_normal((count, 5)), [4], axis=1)
        # They are drawn one row after the other: fewer of one seed are the first ones.
        a, b, c, d = inputs.T
        truth = np.tanh((a + b) / 2) - np.tanh((c - d) / 2)
        self.inputs = inputs.astype(np.float32)
        self.targets = (truth + noise * noises[:, 0]).astype(np.float32)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.inputs[index], self.targets[index]


def element(
    row: tuple[np.ndarray, np.ndarray], random: np.random.Generator | None
) -> dict[str, np.ndarray]:
    """Returns one example, without a batch dimension.

    `random` is given in training only; who augments draws from it.
    """
    return {"inputs": row[0], "targets": row[1]}


def finish(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Works on a whole batch at once; here there is nothing to do."""
    return batch
