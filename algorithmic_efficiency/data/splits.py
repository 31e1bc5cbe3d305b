"""The splits of one workload, opened when they are first read."""

import importlib
from typing import Any

import psutil

from algorithmic_efficiency.data.batches import train_batches
from algorithmic_efficiency.data.dataset import BadExamples, Dataset, Folders
from algorithmic_efficiency.definition import Definition, parts
from algorithmic_efficiency.errors import SubmissionError



class Splits:
    """The data sets behind the splits of a workload.

    Attributes:
      definition: the workload.
      folders: where its data are, unless a call names others.
      bad: name -> why, of the training examples that could not be decoded.
    """

    def __init__(self, definition: Definition, folders: Folders) -> None:
        self.definition = definition
        self.folders = folders
        self.bad = BadExamples(definition.num_train_examples)
        self._opened: dict[tuple[Folders, str], Dataset] = {}

    def open(self, split: str, folders: Folders | None = None) -> Dataset:
        """Opens a split once: listing a million files takes seconds."""
        key = (folders or self.folders, split)
        if key not in self._opened:
            module = importlib.import_module(self.definition.data)
            self._opened[key] = module.open_split(self.definition, *key)
        return self._opened[key]

    def train_batches(
        self,
        batch_size: int,
        seed: int,
        *,
        workers: int = 0,
        start: int = 0,
        folders: Folders | None = None,
    ) -> Any:
        """Returns the stream of training batches, NumPy, from position `start`.

        Raises:
          SubmissionError: a batch of this size takes more memory than there is.
        """
        check_memory(self.definition, batch_size)
        dataset = self.open("train", folders)
        return train_batches(
            dataset, batch_size, seed, workers=workers, start=start, bad=self.bad
        )


def check_memory(definition: Definition, batch_size: int) -> None:
    """Raises SubmissionError where a batch takes more memory than there is."""
    fields = [field for entry in definition.fields.values() for field in parts(entry)]
    needed = batch_size * sum(field.nbytes for field in fields)
    if needed > (there := psutil.virtual_memory().total):
        raise SubmissionError(
            f"Found a batch size of {batch_size}; one such batch of {definition.name} "
            f"takes {needed / 2**30:,.0f} GiB and this machine has "
            f"{there / 2**30:,.0f}. Let get_batch_size return less."
        )
