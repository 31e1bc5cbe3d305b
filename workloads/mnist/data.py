"""MNIST from its IDX files or from tensorflow-datasets, and the mini digits."""

import gzip
import zlib
from pathlib import Path

import numpy as np

from algorithmic_efficiency.data import Dataset, Folders
from algorithmic_efficiency.definition import Definition
from algorithmic_efficiency.errors import DataError
from algorithmic_efficiency.files import readable, regular
from workloads._images.sets import ImageSet, Shape, dataset, part, stored_counts
from workloads._images.small import Arrays

PREPARE = "python -m dataset_setup mnist --data_dir=DIR"
DIGITS = Path(__file__).parent / "digits"  # the data of the mini twin, see its README

_GZIP = b"\x1f\x8b"
_UNSIGNED_BYTES = 0x08  # the type of the elements, third byte of an IDX file
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)


def read(paths: list[Path], count: int, shape: Shape) -> Arrays:
    """Reads a file of images and one of labels, compressed or not.

    Args:
      paths: of the two files.
      count: of images.
      shape: (height, width, 1) of an image.

    Raises:
      DataError: a file is damaged, of another size, or cannot be read.
    """
    images, labels = paths
    return read_idx(images, (count, *shape[:2]))[..., None], read_idx(labels, (count,))


def read_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Reads an IDX file of unsigned bytes (LeCun, Cortes and Burges' MNIST page).

    It begins with two zero bytes, the type of its elements, the number of its
    dimensions, and each of those as four bytes, the highest first.

    Args:
      path: of the file, which may be compressed by gzip.
      shape: that it must have.

    Returns:
      uint8 of that shape.

    Raises:
      DataError: it is no such file, cut off, of another shape, or cannot be read.
    """
    size = int(np.prod(shape))
    with readable():
        data = _bytes(path, 4 + 4 * len(shape) + size + 1)
    magic = bytes((0, 0, _UNSIGNED_BYTES, len(shape)))
    if data[:4] != magic:
        raise DataError(
            f"{path} begins with the bytes {data[:4].hex() or '(none)'}, expected "
            f"{magic.hex()}: it is no IDX file of {len(shape)} dimensions of bytes."
        )
    start = 4 + 4 * len(shape)
    if len(data) >= start:
        found = tuple(int(n) for n in np.frombuffer(data[4:start], ">u4"))
        if found != shape:
            words = (" x ".join(f"{n:,}" for n in sizes) for sizes in (found, shape))
            raise DataError("{} holds {} values, expected {}.".format(path, *words))
    if len(data) != start + size:
        more = "more" if len(data) > start + size else f"{len(data):,}"
        raise DataError(
            f"{path} has {more} bytes, expected {start + size:,}: it is damaged or "
            "cut off. Remove it and take it from its source again."
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _bytes(path: Path, most: int) -> bytes:
    """Returns the first bytes of a file, uncompressed, `most` of them at most."""
    regular(path)
    with path.open("rb") as plain:
        packed = plain.read(2) == _GZIP
        plain.seek(0)
        if not packed:
            return plain.read(most)
        try:
            with gzip.open(plain) as file:
                return file.read(most)
        except _DAMAGED as error:
            raise DataError(
                f"{path} is damaged or cut off: {error}. Remove it and take it from "
                "its source again."
            ) from error


def _names(stem: str, dimensions: int) -> tuple[str, ...]:
    """Returns the names that an IDX file goes by."""
    plain = (f"{stem}-idx{dimensions}-ubyte", f"{stem}.idx{dimensions}-ubyte")
    return *plain, *(f"{name}.gz" for name in plain)


MNIST = ImageSet(
    title="MNIST",
    files={
        "train": (_names("train-images", 3), _names("train-labels", 1)),
        "test": (_names("t10k-images", 3), _names("t10k-labels", 1)),
    },
    read=read,
    roots=("mnist", "MNIST"),
    inside=(".", "raw", "MNIST/raw"),
    prepared="mnist",
)


@readable()
def missing(definition: Definition, folders: Folders) -> str | None:
    """Says what was not found and where; None when all data are there."""
    if definition.data_arguments["source"] == "digits":
        return None
    return MNIST.missing(folders.data_dir)


@readable()
def open_split(definition: Definition, folders: Folders, split: str) -> Dataset:
    """Opens a split: 'train', 'eval_train', 'validation' or 'test'.

    `data_arguments` of the definition are `source` ('mnist' or 'digits') and
    `pixel_scale`, by which mean and standard deviation are multiplied.

    Raises:
      DataError: data are missing or damaged, or more or fewer than published.
    """
    is_mini = definition.data_arguments["source"] == "digits"
    data_dir = DIGITS if is_mini else folders.data_dir
    name = "train" if split == "eval_train" else split
    stored = "test" if name == "test" else "train"
    count = stored_counts(definition)[stored]
    whole = MNIST.open(data_dir, stored, count, definition.fields["inputs"].shape)
    return dataset(definition, split, part(definition, name, whole))
