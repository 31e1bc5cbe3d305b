"""CIFAR-10 from its binary archive, from tensorflow-datasets, or the mini pictures."""

from pathlib import Path

import numpy as np
from algorithmic_efficiency.definition import Definition

from algorithmic_efficiency.data import Dataset, Examples, Folders
from algorithmic_efficiency.errors import DataError
from algorithmic_efficiency.files import read_bytes, readable
from workloads._imagenet import mini
from workloads._images.folders import FolderExamples
from workloads._images.sets import ImageSet, Shape, dataset, part, stored_counts
from workloads._images.small import Arrays

PREPARE = "python -m dataset_setup cifar --data_dir=DIR"

_MINI_FOLDERS = {"train": "train", "validation": "val", "test": "test"}


def read(paths: list[Path], count: int, shape: Shape) -> Arrays:
    """Reads files of the binary archive.

    A record is a byte for the class and then the pixels, all red ones first, then the
    green and the blue ones, row by row.

    Args:
      paths: of the files, each of which has the same number of records.
      count: of images in all files.
      shape: (height, width, channels) of an image.

    Raises:
      DataError: a file is damaged, of another size, or cannot be read.
    """
    height, width, channels = shape
    record = 1 + height * width * channels
    each = count // len(paths)
    rows = np.concatenate([_records(path, each, record) for path in paths])
    planes = rows[:, 1:].reshape(count, channels, height, width)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), rows[:, 0]


def _records(path: Path, count: int, size: int) -> np.ndarray:
    """Returns the bytes [count, size] of a file."""
    expected = count * size
    with readable():
        found = path.stat().st_size
        if found == expected:
            return np.frombuffer(read_bytes(path, expected), np.uint8).reshape(-1, size)
    raise DataError(
        f"{path} has {found:,} bytes, expected {expected:,}: {count:,} images of "
        f"{size:,} bytes. Remove it and unpack the archive again."
    )


CIFAR = ImageSet(
    title="CIFAR-10",
    files={
        "train": tuple((f"data_batch_{k}.bin",) for k in range(1, 6)),
        "test": (("test_batch.bin",),),
    },
    read=read,
    roots=("cifar", "cifar10"),
    inside=("cifar-10-batches-bin", "."),
    prepared="cifar10",
    unread={
        "cifar-10-batches-py": "is the Python version, and its pickles, which may run "
        "any code, are not read: take cifar-10-binary.tar.gz"
    },
)


@readable()
def missing(definition: Definition, folders: Folders) -> str | None:
    """Says what was not found and where; None when all data are there."""
    if definition.data_arguments["source"] == "mini":
        return None
    return CIFAR.missing(folders.data_dir)


@readable()
def open_split(definition: Definition, folders: Folders, split: str) -> Dataset:
    """Opens a split: 'train', 'eval_train', 'validation' or 'test'.

    `data_arguments` of the definition are `source` ('cifar' or 'mini'), `padding` in
    pixels on each side, and `pixel_scale`, by which mean and standard deviation are
    multiplied.

    Raises:
      DataError: data are missing or damaged, or more or fewer than published.
      StorageError: the mini pictures cannot be drawn.
    """
    name = "train" if split == "eval_train" else split
    is_mini = definition.data_arguments["source"] == "mini"
    if is_mini:
        folder = mini.prepare(folders.data_dir) / _MINI_FOLDERS[name]
        examples: Examples = FolderExamples(folder)
    else:
        stored = "test" if name == "test" else "train"
        count = stored_counts(definition)[stored]
        shape = definition.fields["inputs"].shape
        whole = CIFAR.open(folders.data_dir, stored, count, shape)
        examples = part(definition, name, whole)
    padding = definition.data_arguments["padding"]
    return dataset(
        definition, split, examples, padding=padding, mirrored=True, resized=is_mini
    )
