"""ImageNet as prepared by tensorflow-datasets, read without TensorFlow."""

import functools
import importlib
import json
from pathlib import Path
from typing import Any

from algorithmic_efficiency.errors import DataError
from workloads._imagenet.images import Example


class PreparedExamples:
    """A split that tensorflow-datasets wrote in its array_record format.

    Images come as the bytes of the original files. The files are opened at the first
    access, in each process anew.
    """

    def __init__(self, folder: Path, split: str) -> None:
        """Opens the folder with `dataset_info.json` and reads how many examples it has.

        Raises:
          DataError: the format is another one, or the package is not installed.
        """
        found = json.loads((folder / "dataset_info.json").read_text()).get("fileFormat")
        if found != "array_record":
            raise DataError(
                f"{folder} is in the format {found}, which needs TensorFlow to read; "
                "prepare it with file_format='array_record'."
            )
        self._folder = folder
        self._split = split
        self._size = len(self._source)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> Example:
        row = self._source[index]
        name = row["file_name"].decode()
        return Example(row["image"], int(row["label"]), f"{name} in {self._folder}")

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
                f"{self._folder} was prepared by tensorflow-datasets, which is not "
                "installed; install the extra [tfds]."
            ) from error
        builder = tfds.builder_from_directory(str(self._folder))
        skip = {"image": tfds.decode.SkipDecoding()}
        return builder.as_data_source(self._split, decoders=skip)


def newest_version(folder: Path) -> Path | None:
    """Returns the newest version of a prepared data set, None where there is none."""
    infos = folder.glob("*.*.*/dataset_info.json")
    return max((info.parent for info in infos), key=_version, default=None)


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.name.split(".") if part.isdecimal())
