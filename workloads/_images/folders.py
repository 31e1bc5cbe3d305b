"""Class folders full of image files: `<split>/<class>/<file>`."""

import os
from pathlib import Path

import numpy as np

from algorithmic_efficiency.errors import DataError
from workloads._images.classes import classes_in, shown
from workloads._images.images import Example

_SUFFIXES = (b".jpeg", b".jpg", b".png")


class FolderExamples:
    """The images of a split, class by class and by name within a class.

    The number of a class is its place among the sorted names of the folders; folders
    that are named by number are sorted by number. A million names take about 30 MB.

    Attributes:
      folder: that holds the class folders.
      classes: those, in the order of their numbers.
    """

    def __init__(self, folder: Path) -> None:
        """Lists the files; they are opened when an example is decoded.

        Raises:
          DataError: the folder or a class folder cannot be listed, or there is no class
            folder.
        """
        self.folder = folder
        self.classes = classes_in(folder)
        if not self.classes.names:
            raise DataError(
                f"The folder {folder} has no class folders; expected one folder of "
                "images per class in it."
            )
        listed = [_image_names(folder / name) for name in self.classes.names]
        self._names = np.array([name for names in listed for name in names], np.bytes_)
        self._counts = [len(names) for names in listed]
        numbers = np.arange(len(listed), dtype=np.int32)
        self._labels = np.repeat(numbers, self._counts)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Example:
        label = int(self._labels[index])
        folder = self.classes.folder / self.classes.names[label]
        path = str(folder / os.fsdecode(self._names[index]))
        return Example(path, label, path)

    @property
    def fault(self) -> str:
        """Says which class folders are without images; '' where none is."""
        rows = zip(self.classes.names, self._counts, strict=True)
        empty = [name for name, count in rows if not count]
        if not empty:
            return ""
        return (
            f"There are no images in the class folders {shown(empty)} of "
            f"{self.classes.folder}; expected files *.JPEG, *.jpg or *.png in each, "
            "not in folders below it."
        )


def _image_names(folder: Path) -> list[bytes]:
    """Returns the sorted names of the image files in a folder, without opening them."""
    try:
        with os.scandir(os.fsencode(folder)) as entries:
            return sorted(entry.name for entry in entries if _is_image(entry))
    except OSError as error:
        raise DataError(
            f"The folder {folder} cannot be read: {error.strerror}."
        ) from error


def _is_image(entry: os.DirEntry[bytes]) -> bool:
    """Whether an entry is a file, or a link that may lead to one, with such a name."""
    name = entry.name
    if name.startswith(b".") or not name.lower().endswith(_SUFFIXES):
        return False
    return entry.is_file(follow_symlinks=False) or (
        entry.is_symlink() and not Path(os.fsdecode(entry.path)).is_dir()
    )
