"""Finds and opens the splits of an image classification workload.

Three sources, one pipeline behind them: class folders of image files, the same images
as prepared by tensorflow-datasets, and the mini data that this project makes by itself.
"""

from collections.abc import Iterator
from pathlib import Path

from algorithmic_efficiency.data import Dataset, Examples, Folders, Subset
from algorithmic_efficiency.errors import DataError
from algorithmic_efficiency.spec import Definition
from workloads._imagenet import mini
from workloads._imagenet.folders import FolderExamples, has_classes
from workloads._imagenet.images import Element, Normalise
from workloads._imagenet.prepared import PreparedExamples, newest_version

PREPARE = "python -m dataset_setup imagenet --data_dir=DIR"
EVAL_TRAIN_SEED = 50_176  # any constant: which training images evaluation looks at

_FOLDER_NAMES = {"train": "train", "validation": "val", "test": "test"}
_TEST_FOLDERS = ("", "imagenetv2-matched-frequency-format-val", "imagenet_v2", "test")


def missing(definition: Definition, folders: Folders) -> str | None:
    """Says which splits were not found and where; None when all data are there."""
    if definition.data_arguments["source"] == "mini":
        return None
    lost = [split for split in _FOLDER_NAMES if find_split(folders, split) is None]
    return _not_found(folders, lost) if lost else None


def open_split(definition: Definition, folders: Folders, split: str) -> Dataset:
    """Opens a split: 'train', 'eval_train', 'validation' or 'test'.

    'eval_train' is a part of the training images that is the same in every run.
    Augmentation depends on the generator that `element` is given, not on the split.

    Raises:
      DataError: data are missing, or there are more or fewer than published.
      StorageError: the mini data cannot be written.
    """
    arguments = dict(definition.data_arguments)
    source = arguments.pop("source")
    part = "train" if split == "eval_train" else split
    if source == "mini":
        folder = mini.prepare(folders.data_dir)
        examples: Examples = FolderExamples(folder / _FOLDER_NAMES[part])
    else:
        examples = open_full(folders, part)
    _check_count(definition, part, len(examples), folders)
    if split == "eval_train":
        count = definition.num_eval_train_examples
        examples = Subset(examples, count, EVAL_TRAIN_SEED)
    normalise = Normalise(definition.train_mean, definition.train_stddev)
    return Dataset(examples, Element(**arguments), normalise)


def open_full(folders: Folders, split: str) -> Examples:
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
    if (found / "dataset_info.json").exists():
        return PreparedExamples(found, _prepared_name(split)[1])
    return FolderExamples(found)


def find_split(folders: Folders, split: str) -> Path | None:
    """Returns the folder of a split, of classes or as prepared; None without one."""
    for root in _roots(folders, [split]):
        for folder in _class_folders(root, split):
            if has_classes(folder):
                return folder
        prepared = newest_version(root / _prepared_name(split)[0])
        if prepared is not None:
            return prepared
    return None


def _not_found(folders: Folders, splits: list[str]) -> str:
    """Names the splits and the folders that were looked in."""
    roots = ", ".join(dict.fromkeys(str(root) for root in _roots(folders, splits)))
    return f"no {', '.join(splits)} images of ImageNet in {roots}"


def _roots(folders: Folders, splits: list[str]) -> Iterator[Path]:
    """Yields the folders in which data may lie, the first choice first."""
    if "test" in splits and folders.imagenet_v2_data_dir is not None:
        yield folders.imagenet_v2_data_dir
    yield folders.data_dir
    yield folders.data_dir / "imagenet"


def _class_folders(root: Path, split: str) -> Iterator[Path]:
    """Yields the folders below a root that may hold the class folders of a split."""
    if split != "test":
        yield root / _FOLDER_NAMES[split]
        return
    for name in _TEST_FOLDERS:
        if (root / name / "0").is_dir():
            yield root / name


def _prepared_name(split: str) -> tuple[str, str]:
    """Returns the folder and the split under tensorflow-datasets' names."""
    return {
        "train": ("imagenet2012", "train"),
        "validation": ("imagenet2012", "validation"),
        "test": ("imagenet_v2/matched-frequency", "test"),
    }[split]


def _check_count(
    definition: Definition, split: str, found: int, folders: Folders
) -> None:
    """Raises a DataError where a split has another size than the definition says."""
    expected = getattr(definition, f"num_{split}_examples")
    if found != expected:
        raise DataError(
            f"The {split} split of {definition.name} under {folders.data_dir} has "
            f"{found} images, expected {expected}; a score on other data would not be "
            "one. `python -m dataset_setup doctor imagenet` counts the files."
        )
