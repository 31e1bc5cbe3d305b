"""Images as prepared by tensorflow-datasets, read without TensorFlow."""

import functools
import importlib
import json
from pathlib import Path
from typing import Any

from algorithmic_efficiency.errors import DataError
from workloads._images.classes import Classes
from workloads._images.images import Example

_INFO = "dataset_info.json"
_NAMES = "label.labels.txt"  # of the classes, one a line, where they have names
_NAME_FIELDS = ("file_name", "id")  # of an image; where it has none, its place is told

# What tensorflow-datasets raises where its files are damaged or a split is missing.
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, AssertionError)


class PreparedExamples:
    """A split that tensorflow-datasets wrote in its array_record format.

    Images come as the bytes of the original files. The files are opened at the first
    access, in each process anew.

    Attributes:
      folder: with the files.
      classes: the names of the classes, where they have names.
      fault: as `FolderExamples` has it; here no class can be seen to be empty.
    """

    fault = ""

    def __init__(self, folder: Path, split: str) -> None:
        """Opens the folder with `dataset_info.json` and reads how many examples it has.

        Raises:
          DataError: it is damaged, the format is another one, or the package is not
            installed.
        """
        try:
            found = dict(json.loads((folder / _INFO).read_bytes())).get("fileFormat")
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise DataError(f"{folder / _INFO} cannot be read: {error}.") from error
        if found != "array_record":
            raise DataError(
                f"{folder} is in the format {found}, which needs TensorFlow to read; "
                "prepare it with file_format='array_record'."
            )
        self.folder = folder
        self.classes = prepared_classes(folder)
        self._split = split
        try:
            self._size = len(self._source)
        except _UNREADABLE as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"The {split} data in {folder}: {reason}.") from error

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> Example:
        row = self._source[index]
        found = next((row[key] for key in _NAME_FIELDS if key in row), b"")
        name = found.decode() or f"image {index} of {self._split}"
        return Example(row["image"], int(row["label"]), f"{name} in {self.folder}")

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the open files behind, so that worker processes open their own."""
        return {key: value for key, value in vars(self).items() if key != "_source"}

    @functools.cached_property
    def _source(self) -> Any:
        """The random access of tensorflow-datasets, images left encoded."""
        try:
            tfds: Any = importlib.import_module("tensorflow_datasets")
        except ImportError as error:
            raise DataError(
                f"{self.folder} was prepared by tensorflow-datasets, which is not "
                "installed; install the extra [tfds]."
            ) from error
        builder = tfds.builder_from_directory(str(self.folder))
        skip = {"image": tfds.decode.SkipDecoding()}
        return builder.as_data_source(self._split, decoders=skip)


def is_prepared(folder: Path) -> bool:
    """Whether tensorflow-datasets wrote a folder."""
    return (folder / _INFO).exists()


def prepared_classes(folder: Path) -> Classes | None:
    """Returns the names of the classes in a folder; None where they have none.

    Raises:
      DataError: the file with the names cannot be read.
    """
    try:
        text = (folder / _NAMES).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / _NAMES} cannot be read: {error}.") from error
    return Classes(folder, [name for name in text.split("\n") if name], [])


def newest_version(folder: Path) -> Path | None:
    """Returns the newest version of a prepared data set, None where there is none."""
    infos = folder.glob(f"*.*.*/{_INFO}")
    return max((info.parent for info in infos), key=_version, default=None)


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.name.split(".") if part.isdecimal())
