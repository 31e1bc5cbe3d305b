"""Class folders full of image files: `<split>/<class>/<file>`."""

import os
from pathlib import Path

import numpy as np

from algorithmic_efficiency.errors import DataError
from workloads._imagenet.images import Example

_SUFFIXES = (b".jpeg", b".jpg", b".png")


class FolderExamples:
    """The images of a split, class by class and by name within a class.

    The number of a class is its place among the sorted names of the folders; folders
    that are named by number are sorted by number. A million names take about 30 MB.
    """

    def __init__(self, folder: Path) -> None:
        """Lists the files; they are opened when an example is decoded.

        Raises:
          DataError: the folder cannot be listed or has no class folder.
        """
        self._folder = folder
        self.classes = class_names(folder)
        listed = [_image_names(folder / name) for name in self.classes]
        self._names = np.array([name for names in listed for name in names], np.bytes_)
        counts = [len(names) for names in listed]
        self._labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Example:
        label = int(self._labels[index])
        path = self._folder / self.classes[label] / os.fsdecode(self._names[index])
        return Example(str(path), label, str(path))


def has_classes(folder: Path) -> bool:
    """Whether a folder has at least one folder in it."""
    try:
        with os.scandir(folder) as entries:
            return any(_is_class(entry) for entry in entries)
    except OSError:
        return False


def class_names(folder: Path) -> list[str]:
    """Returns the names of the class folders in the order of their numbers."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if _is_class(entry)]
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be read: {error}.") from error
    if not names:
        raise DataError(
            f"The folder {folder} has no class folders; expected one folder of images "
            "per class in it."
        )
    numeric = all(name.isdecimal() for name in names)
    return sorted(names, key=int) if numeric else sorted(names)


def _is_class(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.is_dir()


def _image_names(folder: Path) -> list[bytes]:
    """Returns the sorted names of the image files in a folder, without opening them."""
    try:
        with os.scandir(os.fsencode(folder)) as entries:
            names = [entry.name for entry in entries]
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be read: {error}.") from error
    visible = (name for name in names if not name.startswith(b"."))
    return sorted(name for name in visible if name.lower().endswith(_SUFFIXES))
