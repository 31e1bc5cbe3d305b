"""Data sets of small images: where their files lie, and the splits made of them.

CIFAR-10 and MNIST are published as training and test images, without a validation
split: that is the last part of the training images, in the order of the archives. Data
that tensorflow-datasets has prepared lie in another order and are read in the archives'
(docs/decisions/021-small-images.md).
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from algorithmic_efficiency.definition import Definition

from algorithmic_efficiency.data import Dataset, Examples, Subset
from algorithmic_efficiency.errors import DataError
from workloads._images.images import Normalise
from workloads._images.prepared import PreparedExamples, is_prepared, newest_version
from workloads._images.small import Arrays, Chosen, Element, FileExamples, places

Shape = tuple[int, int, int]  # height, width, channels


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """A published set of small images.

    Attributes:
      title: its name, for errors.
      files: published split -> its files; each has one name or more, first choice
        first.
      read: (paths of a split's files, number of images, shape of one) -> images and
        labels; raises DataError.
      roots: folders in `data_dir` that may hold it, beside `data_dir` itself.
      inside: folders in a root that may hold the files.
      prepared: the name that tensorflow-datasets gives it.
      unread: folders in a root that hold a form that is not read -> why not.
    """

    title: str
    files: Mapping[str, tuple[tuple[str, ...], ...]]
    read: Callable[[list[Path], int, Shape], Arrays]
    roots: tuple[str, ...]
    inside: tuple[str, ...]
    prepared: str
    unread: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def find(self, data_dir: Path) -> Path | None:
        """Returns the folder with the files, or as prepared; None without either.

        One that has all files comes before one that lacks some.
        """
        found = list(self._folders(data_dir))
        whole = (folder for folder in found if not self._lost(folder))
        return next(whole, found[0] if found else None)

    def missing(self, data_dir: Path) -> str | None:
        """Says what was not found and where; None when all is there."""
        folder = self.find(data_dir)
        if folder is None:
            roots = list(self._roots(data_dir))
            also = "".join(
                f"; {root / name} {why}"
                for root in roots
                for name, why in self.unread.items()
                if (root / name).is_dir()
            )
            return f"no {self.title} in {', '.join(map(str, roots))}{also}"
        lost = self._lost(folder)
        return f"no {', '.join(lost)} of {self.title} in {folder}" if lost else None

    def open(self, data_dir: Path, split: str, count: int, shape: Shape) -> Examples:
        """Opens a published split, 'train' or 'test', in the order of the archives.

        Args:
          data_dir: where the set is looked for.
          split: 'train' or 'test'.
          count: how many images it has.
          shape: of an image.

        Raises:
          DataError: it is not there, damaged, or of another size.
        """
        if lost := self.missing(data_dir):
            raise DataError(
                f"There is {lost}; `python -m dataset_setup` prepares it, and "
                "docs/data.md says from what."
            )
        folder = self.find(data_dir)
        assert folder is not None  # noqa: S101 - nothing is missing
        if is_prepared(folder):
            return self._in_order(PreparedExamples(folder, split), split, count)
        found = [self._file(folder, names) for names in self.files[split]]
        paths = [path for path in found if path is not None]
        read = functools.partial(self.read, paths, count, shape)
        return FileExamples(folder, split, read)

    def _in_order(self, stored: PreparedExamples, split: str, count: int) -> Examples:
        if len(stored) != count:
            raise DataError(
                f"The {split} images of {self.title} in {stored.folder} are "
                f"{len(stored):,}, expected {count:,}."
            )
        return Chosen(stored, places(split, count))

    def _folders(self, data_dir: Path) -> Iterator[Path]:
        """Yields the folders that hold some of the files, or are prepared."""
        for root in self._roots(data_dir):
            for folder in (root / name for name in self.inside):
                if any(self._file(folder, names) for names in self._all_names()):
                    yield folder
            if (version := newest_version(root / self.prepared)) is not None:
                yield version

    def _lost(self, folder: Path) -> list[str]:
        """Returns the files that a folder lacks; none where it is prepared."""
        if is_prepared(folder):
            return []
        return [
            names[0] for names in self._all_names() if not self._file(folder, names)
        ]

    def _roots(self, data_dir: Path) -> Iterator[Path]:
        yield data_dir
        yield from (data_dir / name for name in self.roots)

    def _all_names(self) -> Iterator[tuple[str, ...]]:
        for files in self.files.values():
            yield from files

    def _file(self, folder: Path, names: tuple[str, ...]) -> Path | None:
        """Returns the first of some files that is there."""
        paths = (folder / name for name in names)
        return next((path for path in paths if path.is_file()), None)


def stored_counts(definition: Definition) -> dict[str, int]:
    """Returns how many images each published split has."""
    validation = definition.num_validation_examples
    test = definition.num_test_examples or 0
    return {"train": definition.num_train_examples + validation, "test": test}


def part(definition: Definition, split: str, stored: Examples) -> Examples:
    """Returns a split of the benchmark as a part of a published one.

    Args:
      definition: says how many examples each split has.
      split: 'train', 'validation' or 'test'.
      stored: the published split, 'test' or else 'train', in the archives' order.
    """
    first = definition.num_train_examples
    if split == "train":
        return Chosen(stored, np.arange(first))
    if split == "validation":
        return Chosen(stored, np.arange(first, len(stored)))
    return stored


def dataset(
    definition: Definition, split: str, examples: Examples, **element: Any
) -> Dataset:
    """Returns what is read of a split.

    Args:
      definition: of the workload; where the split is 'eval_train' it says how many of
        the training examples are looked at, the same ones in every run.
      split: 'train', 'eval_train', 'validation' or 'test'.
      examples: of the split; of 'eval_train', those of training.
      **element: settings of `Element`.

    Raises:
      DataError: there are more or fewer examples than published.
    """
    name = "train" if split == "eval_train" else split
    expected = getattr(definition, f"num_{name}_examples")
    if len(examples) != expected:
        raise DataError(
            f"The {name} split of {definition.name} has {len(examples):,} images, "
            f"expected {expected:,}; a score on other data would not be one."
        )
    if split == "eval_train":
        count = definition.num_eval_train_examples
        examples = Subset(examples, count, seed=count)  # any constant
    field = definition.fields["inputs"]
    scale = definition.data_arguments["pixel_scale"]
    decode = Element(field.shape, definition.model["num_classes"], **element)
    mean, stddev = (
        tuple(scale * value for value in values)
        for values in (definition.train_mean, definition.train_stddev)
    )
    return Dataset(examples, decode, Normalise(mean, stddev))
