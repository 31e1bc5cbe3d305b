"""Small images that whole files hold, pixel by pixel: CIFAR-10, MNIST and the like."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from algorithmic_efficiency.data import BadExample, Examples
from workloads._images.images import (
    Example,
    Image,
    check_class,
    decode,
    encoded,
    flip,
    resize,
)

# Images uint8 [N, height, width, channels] and labels uint8 [N].
Arrays = tuple[NDArray[np.uint8], NDArray[np.uint8]]


class Pixels(NamedTuple):
    """An image uint8 [height, width, channels] with its class and its name."""

    image: Image
    label: int
    name: str


class FileExamples:
    """The images of files that are read as a whole, once in each process.

    Attributes:
      folder: with the files.
    """

    def __init__(self, folder: Path, split: str, read: Callable[[], Arrays]) -> None:
        """Reads the files.

        Args:
          folder: with the files.
          split: as the files call it, for the names of examples.
          read: gives their images and labels.

        Raises:
          what `read` does.
        """
        self.folder = folder
        self._split = split
        self._read = read
        self._size = len(self._arrays[1])

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> Pixels:
        images, labels = self._arrays
        name = f"image {index} of {self._split} in {self.folder}"
        return Pixels(images[index], int(labels[index]), name)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the images behind, so that worker processes read them themselves."""
        return {key: value for key, value in vars(self).items() if key != "_arrays"}

    @functools.cached_property
    def _arrays(self) -> Arrays:
        return self._read()


class Chosen:
    """The examples of some numbers, in their order."""

    def __init__(self, examples: Examples, numbers: NDArray[Any]) -> None:
        """Takes the numbers [N] of the examples that are wanted."""
        self._examples = examples
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> Any:
        return self._examples[int(self._numbers[index])]


def places(split: str, count: int) -> NDArray[np.int64]:
    """Returns where tensorflow-datasets put the examples of a split: place [number].

    It sorts them by the MD5 sum of the split's name followed by the example's key, and
    the key of an example of CIFAR-10 and of MNIST is its number in the archive
    (core/hashing.py and image_classification/{cifar,mnist}.py of version 4.9.10).
    """
    start = hashlib.md5(split.encode(), usedforsecurity=False)

    def rank(number: int) -> bytes:
        sum_ = start.copy()
        sum_.update(str(number).encode())
        return sum_.digest()

    stored = sorted(range(count), key=rank)  # the number at each place
    return np.argsort(np.asarray(stored, np.int64))


@dataclasses.dataclass(frozen=True)
class Element:
    """Gives an example's uint8 `inputs` [H, W, C] and an int32 `targets`.

    Attributes:
      shape: (H, W, C) of the result; encoded images of one channel may be asked for,
        of which the first one is taken.
      num_classes: a class must be less.
      padding: black pixels on each side, of whose result training takes a random part.
      mirrored: whether training mirrors half of the images, left to right.
      resized: whether images of another size are made so large; else they are bad.
    """

    shape: tuple[int, int, int]
    num_classes: int
    padding: int = 0
    mirrored: bool = False
    resized: bool = False

    def __call__(
        self, example: Example | Pixels, rng: np.random.Generator | None
    ) -> dict[str, NDArray[Any]]:
        check_class(example, self.num_classes)
        image = self._image(example)
        if rng is not None and self.padding:
            image = shifted(image, self.padding, rng)
        if rng is not None and self.mirrored:
            image = flip(image, rng)
        return {"inputs": image, "targets": np.asarray(example.label, np.int32)}

    def _image(self, example: Example | Pixels) -> Image:
        """Returns the image in its shape.

        Raises:
          BadExample: it cannot be decoded or has another size.
        """
        if isinstance(example, Pixels):
            image = example.image
        else:
            image = decode(encoded(example), example.name)[..., : self.shape[2]]
        if self.resized:
            image = resize(image, self.shape[0])
        if image.shape != self.shape:
            found, expected = (
                " x ".join(map(str, shape)) for shape in (image.shape, self.shape)
            )
            raise BadExample(example.name, f"has {found} pixels, expected {expected}")
        return image


def shifted(image: Image, padding: int, rng: np.random.Generator) -> Image:
    """Returns a random part, of the image's size, of the image with a black border.

    Args:
      image: uint8 [H, W, C].
      padding: width of the border in pixels; each of the (2 * padding + 1)**2 places
        of the part is equally likely.
      rng: draws the place.
    """
    height, width, channels = image.shape
    shape = (height + 2 * padding, width + 2 * padding, channels)
    bordered = np.zeros(shape, np.uint8)
    bordered[padding : padding + height, padding : padding + width] = image
    top, left = rng.integers(2 * padding + 1, size=2)
    return bordered[top : top + height, left : left + width]
