"""JPEG bytes to arrays: decode, crop, resize, flip, normalise. OpenCV does the work.

The geometry is published in "Going Deeper with Convolutions" (Szegedy et al., 2014,
section 6) for training and in the ImageNet practice of a central square for evaluation.
How images are resized is decided in docs/decisions/002-image-resizing.md.
"""

import dataclasses
import functools
import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from algorithmic_efficiency.data import BadExample
from algorithmic_efficiency.files import read_bytes
from workloads._images.headers import MOST_BYTES, fault

Image = NDArray[np.uint8]  # [height, width, 3], RGB
Augment = Callable[[Image, np.random.Generator], Image]

_CROP_ATTEMPTS = 10


class Example(NamedTuple):
    """An encoded image: a file, or the bytes of one, with its class and its name."""

    image: str | bytes
    label: int
    name: str


@dataclasses.dataclass(frozen=True)
class Element:
    """Decodes an example to uint8 `inputs` [size, size, 3] and an int32 `targets`.

    Attributes:
      image_size: side of the result in pixels.
      resize_size: short side, in pixels, from whose image evaluation takes the centre.
      area: least and most share of the image that a training crop covers.
      aspect: least and most width / height of a training crop.
      num_classes: a class must be less; None if any may be.
      augment: changes an image of training further, last.
    """

    image_size: int
    resize_size: int
    area: tuple[float, float]
    aspect: tuple[float, float]
    num_classes: int | None = None
    augment: Augment | None = None

    def __call__(
        self, example: Example, rng: np.random.Generator | None
    ) -> dict[str, NDArray[Any]]:
        check_class(example, self.num_classes)
        image = decode(encoded(example), example.name)
        if rng is None:
            result = resize(central_crop(image, self._centre), self.image_size)
        else:
            crop = random_crop(image, self.area, self.aspect, rng)
            result = flip(resize(crop, self.image_size), rng)
            result = self.augment(result, rng) if self.augment else result
        return {"inputs": result, "targets": np.asarray(example.label, np.int32)}

    @property
    def _centre(self) -> float:
        """The part of the short side that evaluation looks at."""
        return self.image_size / self.resize_size


@dataclasses.dataclass(frozen=True)
class Normalise:
    """Turns `inputs` uint8 [B, H, W, C] into float32 (inputs - mean) / stddev.

    Attributes:
      mean: of each of the C channels, in units of the pixels.
      stddev: the same.
    """

    mean: tuple[float, ...]
    stddev: tuple[float, ...]

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        images = batch["inputs"]
        width = images.shape[2]
        scale = 1 / np.asarray(self.stddev, np.float32)
        offset = np.asarray(self.mean, np.float32) * scale
        # Row by row: NumPy is five times slower over a last axis of three channels.
        rows = images.reshape(-1, width * images.shape[3]).astype(np.float32)
        rows *= np.tile(scale, width)
        rows -= np.tile(offset, width)
        return {**batch, "inputs": rows.reshape(images.shape)}


def check_class(example: Example, num_classes: int | None) -> None:
    """Raises BadExample where the class is none of so many, counted from 0."""
    if num_classes is not None and not 0 <= example.label < num_classes:
        raise BadExample(
            example.name,
            f"has the class {example.label}, expected 0 to {num_classes - 1}",
        )


def encoded(example: Example) -> bytes:
    """Returns the bytes of an example's image file.

    Raises:
      BadExample: the file cannot be read.
    """
    if isinstance(example.image, bytes):
        return example.image
    try:
        return read_bytes(Path(example.image), MOST_BYTES)
    except OSError as error:
        raise BadExample(example.name, f"cannot be read ({error.strerror})") from error


def decode(data: bytes, name: str) -> Image:
    """Decodes a JPEG or PNG of any depth and colour space; alpha is dropped.

    The orientation in EXIF is ignored, as torchvision and tensorflow-datasets do.

    Raises:
      BadExample: the file is empty, cut off, very large or of another kind.
    """
    why = fault(data)
    if why:
        raise BadExample(name, why)
    cv2 = _opencv()
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image: Image | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise BadExample(name, f"cannot be decoded ({error.err})") from error
    if image is None:
        raise BadExample(name, "is not an image that OpenCV can decode")
    return image


def random_crop(
    image: Image,
    area: tuple[float, float],
    aspect: tuple[float, float],
    rng: np.random.Generator,
) -> Image:
    """Returns a random part of the image: uniform area, log-uniform aspect ratio.

    After ten draws that do not fit into the image it is the largest central part with
    an allowed aspect ratio.
    """
    height, width = image.shape[:2]
    low, high = math.log(aspect[0]), math.log(aspect[1])
    for _ in range(_CROP_ATTEMPTS):
        pixels = rng.uniform(*area) * height * width
        ratio = math.exp(rng.uniform(low, high))
        w, h = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < w <= width and 0 < h <= height:
            top = int(rng.integers(height - h + 1))
            left = int(rng.integers(width - w + 1))
            return image[top : top + h, left : left + w]
    w = min(width, round(height * aspect[1]))
    h = min(height, round(width / aspect[0]))
    return _centre(image, h, w)


def central_crop(image: Image, share: float) -> Image:
    """Returns the central square whose side is `share` of the image's short side.

    Resizing it gives, up to rounding, the centre of the resized image, for less work.
    """
    side = max(1, round(share * min(image.shape[:2])))
    return _centre(image, side, side)


def resize(image: Image, size: int) -> Image:
    """Resizes to a square: averages over whole blocks, then interpolates linearly.

    The blocks are as large as leaves the image at least `size` pixels high and wide;
    without them, linear interpolation would skip pixels of large images. What does not
    fill a block is cut off: less than half a pixel of the result on each side.
    """
    cv2 = _opencv()
    block = min(image.shape[:2]) // size
    if block > 1:
        height, width = (side // block for side in image.shape[:2])
        whole = _centre(image, height * block, width * block)
        image = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    result: Image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    return result


def flip(image: Image, rng: np.random.Generator) -> Image:
    """Returns the image, or its mirror image half of the time: left becomes right."""
    return image if rng.random() >= 0.5 else _opencv().flip(image, 1)


def _centre(image: Image, height: int, width: int) -> Image:
    """Returns the central part of that height and width."""
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


@functools.cache
def _opencv() -> Any:
    """Returns OpenCV without threads of its own: many images are decoded at once."""
    cv2: Any = importlib.import_module("cv2")
    cv2.setNumThreads(1)
    return cv2
