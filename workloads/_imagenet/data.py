"""Finds and opens the splits of an image classification workload.

Three sources, one pipeline behind them: class folders of image files, the same images
as prepared by tensorflow-datasets, and the mini data that this project makes by itself.
"""

import functools
import sys
from collections.abc import Iterator
from pathlib import Path

from algorithmic_efficiency.data import DataFlag, Dataset, Examples, Folders, Subset
from algorithmic_efficiency.definition import Definition
from algorithmic_efficiency.errors import DataError
from algorithmic_efficiency.files import readable
from algorithmic_efficiency.text import show
from workloads._imagenet import mini
from workloads._imagenet.classes import are_official, fault
from workloads._images.classes import classes_in, shown
from workloads._images.folders import FolderExamples
from workloads._images.images import Element, Normalise
from workloads._images.prepared import (
    PreparedExamples,
    is_prepared,
    newest_version,
    prepared_classes,
)

Source = FolderExamples | PreparedExamples

_V2 = "imagenet_v2_data_dir"
FLAGS = {
    _V2: DataFlag("Folder of ImageNet-v2, where it is not in --data_dir.", folder=True)
}
PREPARE = "python -m dataset_setup imagenet --data_dir=DIR"
EVAL_TRAIN_SEED = 50_176  # any constant: which training images evaluation looks at

_FOLDER_NAMES = {"train": "train", "validation": "val", "test": "test"}
_TEST_FOLDERS = ("imagenetv2-matched-frequency-format-val", "imagenet_v2", "test")


def missing(definition: Definition, folders: Folders) -> str | None:
    """Says which splits were not found and where; None when all data are there."""
    if definition.data_arguments["source"] == "mini":
        return None
    lost = [split for split in _FOLDER_NAMES if find_split(folders, split) is None]
    return _not_found(folders, lost) if lost else None


@readable()
def open_split(definition: Definition, folders: Folders, split: str) -> Dataset:
    """Opens a split: 'train', 'eval_train', 'validation' or 'test'.

    'eval_train' is a part of the training images that is the same in every run.
    Augmentation depends on the generator that `element` is given, not on the split.
    Folders that are no classes are left out, and named on standard error.

    Raises:
      DataError: data are missing, there are more or fewer images than published, or
        other classes than in training.
      StorageError: the mini data cannot be written.
    """
    arguments = dict(definition.data_arguments)
    part = "train" if split == "eval_train" else split
    if arguments.pop("source") == "mini":
        root = mini.prepare(folders.data_dir)
        source: Source = FolderExamples(root / _FOLDER_NAMES[part])
        train: Path | None = root / _FOLDER_NAMES["train"]
        advice = f"Remove the folder {root}; the next run draws it anew."
    else:
        source, train = open_full(folders, part), find_split(folders, "train")
        command = (
            f"python -m dataset_setup doctor imagenet --data_dir={folders.data_dir}"
        )
        advice = f"`{command}` looks at all splits."
    wrong = [*class_faults(definition, part, source, train)]
    for why in (*wrong, _count_fault(definition, part, source)):
        if why:
            raise DataError(f"{why} {advice}")
    if left_out := left_out_of(source):
        _tell(left_out)
    examples: Examples = source
    if split == "eval_train":
        count = definition.num_eval_train_examples
        examples = Subset(source, count, EVAL_TRAIN_SEED)
    normalise = Normalise(definition.train_mean, definition.train_stddev)
    element = Element(**arguments, num_classes=definition.model["num_classes"])
    return Dataset(examples, element, normalise)


def open_full(folders: Folders, split: str) -> Source:
    """Opens a split of ImageNet, or of ImageNet-v2 for 'test'.

    Raises:
      DataError: it is not there or cannot be read.
    """
    found = find_split(folders, split)
    if found is None:
        raise DataError(
            f"There are {_not_found(folders, [split])}; `python -m dataset_setup "
            "imagenet` prepares them, and docs/data.md says from what."
        )
    if is_prepared(found):
        return PreparedExamples(found, _prepared_name(split)[1])
    return FolderExamples(found)


def class_faults(
    definition: Definition, split: str, source: Source, train: Path | None
) -> Iterator[str]:
    """Yields what is wrong with the classes of a split, a sentence each.

    Args:
      definition: what is expected.
      split: 'train', 'validation' or 'test'.
      source: its images.
      train: the folder of the training images, where there is one.

    Raises:
      DataError: the training images' folder cannot be read.
    """
    if source.classes is not None:
        known = None
        if split != "train" and train is not None:
            known = prepared_classes(train) if is_prepared(train) else classes_in(train)
        count = definition.model["num_classes"]
        if why := fault(split, source.classes, count, known):
            yield why
    if source.fault:
        yield source.fault


def _count_fault(definition: Definition, split: str, source: Source) -> str:
    """Says whether a split has another number of images than published."""
    expected = getattr(definition, f"num_{split}_examples")
    if len(source) == expected:
        return ""
    return (
        f"The {split} split of {definition.name} in {source.folder} has "
        f"{len(source)} images, expected {expected}; a score on other data would not "
        "be one."
    )


def left_out_of(source: Source) -> str:
    """Names the folders that are no classes; '' where there are none."""
    if source.classes is None or not source.classes.left_out:
        return ""
    return (
        f"{source.folder} has folders that are no classes, which were left out: "
        f"{shown(source.classes.left_out)}."
    )


@functools.cache
def _tell(sentence: str) -> None:
    """Prints a sentence, once, where it is no part of a result."""
    show(sentence, sys.stderr)


@readable()
def find_split(folders: Folders, split: str) -> Path | None:
    """Returns the folder of a split, of classes or as prepared; None without one.

    Raises:
      DataError: a folder is there that cannot be read.
    """
    for root in _roots(folders, [split]):
        for folder in _class_folders(root, split):
            if folder.is_dir() and _has_classes(folder, split):
                return folder
        prepared = newest_version(root / _prepared_name(split)[0])
        if prepared is not None:
            return prepared
    return None


def _has_classes(folder: Path, split: str) -> bool:
    """Whether a folder has class folders; of the test, only official names are some."""
    names = classes_in(folder).names
    return bool(names) and (split != "test" or are_official(names))


def _not_found(folders: Folders, splits: list[str]) -> str:
    """Names the splits and the folders that were looked in."""
    roots = ", ".join(dict.fromkeys(str(root) for root in _roots(folders, splits)))
    return f"no {', '.join(splits)} images of ImageNet in {roots}"


def _roots(folders: Folders, splits: list[str]) -> Iterator[Path]:
    """Yields the folders in which data may lie, the first choice first."""
    elsewhere = folders.option(_V2)
    if "test" in splits and elsewhere is not None:
        yield elsewhere
    yield folders.data_dir
    yield folders.data_dir / "imagenet"


def _class_folders(root: Path, split: str) -> Iterator[Path]:
    """Yields the folders below a root that may hold the class folders of a split."""
    if split != "test":
        yield root / _FOLDER_NAMES[split]
        return
    if (root / "0").is_dir():
        yield root
    yield from (root / name for name in _TEST_FOLDERS)


def _prepared_name(split: str) -> tuple[str, str]:
    """Returns the folder and the split under tensorflow-datasets' names."""
    return {
        "train": ("imagenet2012", "train"),
        "validation": ("imagenet2012", "validation"),
        "test": ("imagenet_v2/matched-frequency", "test"),
    }[split]
