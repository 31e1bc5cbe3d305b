"""RandAugment (Cubuk et al., 2020) at full strength, by Pillow's own operations.

Two operations of sixteen are drawn for each image, with replacement; each is applied as
strongly as it can be. The published pair differs in two of them; docs/decisions/020
says what is done here.
"""

import dataclasses
import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # [height, width, 3], RGB

GREY = 128
ROTATION = 30.0  # degrees
SHEAR = 0.3  # pixels per pixel
ENHANCEMENT = 1.9  # 1 leaves an image as it is
POSTERIZE_BITS = 4
SOLARIZE_ADD = 110


@dataclasses.dataclass(frozen=True)
class RandAugment:
    """Applies some operations, drawn by the example's generator, to an image.

    Attributes:
      translation: pixels by which an image is moved: 100 of 224.
      cutout: half the side, in pixels, of the square that is hidden: 40 of 224.
      count: how many operations an image gets.
    """

    translation: int = 100
    cutout: int = 40
    count: int = 2

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        """Returns the image changed, uint8 [height, width, 3]."""
        for number in rng.integers(len(OPERATIONS), size=self.count):
            image = OPERATIONS[number](self, image, rng)
        return image


Operation = Callable[[RandAugment, Image, np.random.Generator], Image]


def sign(rng: np.random.Generator) -> int:
    """Returns 1 or -1, each half of the time."""
    return 1 if rng.random() < 0.5 else -1


def _plain(module: str, name: str, *arguments: Any) -> Operation:
    """Returns an operation of Pillow that draws nothing."""

    def apply(how: RandAugment, image: Image, rng: np.random.Generator) -> Image:
        function = getattr(_pillow(module), name)
        return np.asarray(function(_pillow("Image").fromarray(image), *arguments))

    return apply


def _enhance(name: str) -> Operation:
    """Returns one of Pillow's enhancements."""

    def apply(how: RandAugment, image: Image, rng: np.random.Generator) -> Image:
        made = getattr(_pillow("ImageEnhance"), name)(_pillow("Image").fromarray(image))
        return np.asarray(made.enhance(ENHANCEMENT))

    return apply


def _rotate(how: RandAugment, image: Image, rng: np.random.Generator) -> Image:
    """Turns about the centre; what comes in from outside is grey."""
    pillow = _pillow("Image").fromarray(image)
    return np.asarray(pillow.rotate(sign(rng) * ROTATION, fillcolor=(GREY,) * 3))


def _affine(place: int, amount: Callable[[RandAugment], float]) -> Operation:
    """Returns a shear about the corner or a shift: one entry of the matrix differs.

    The pixel at (x, y) is taken from (ax + by + c, dx + ey + f).
    """

    def apply(how: RandAugment, image: Image, rng: np.random.Generator) -> Image:
        matrix = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        matrix[place] = sign(rng) * amount(how)
        made = _pillow("Image")
        pillow = made.fromarray(image)
        moved = pillow.transform(
            pillow.size, made.Transform.AFFINE, matrix, fillcolor=(GREY,) * 3
        )
        return np.asarray(moved)

    return apply


def _solarize_add(how: RandAugment, image: Image, rng: np.random.Generator) -> Image:
    """Brightens what is darker than half."""
    brighter = np.minimum(image, 255 - SOLARIZE_ADD) + np.uint8(SOLARIZE_ADD)
    return np.where(image < GREY, brighter, image)


def _cutout(how: RandAugment, image: Image, rng: np.random.Generator) -> Image:
    """Hides a square around a random place, cut at the edges, behind grey."""
    y, x = (int(rng.integers(side)) for side in image.shape[:2])
    half, image = how.cutout, image.copy()
    image[max(0, y - half) : y + half, max(0, x - half) : x + half] = GREY
    return image


def _nothing(how: RandAugment, image: Image, rng: np.random.Generator) -> Image:
    """Solarize at full strength inverts what is brighter than 256: nothing."""
    return image


OPERATIONS: tuple[Operation, ...] = (
    _plain("ImageOps", "autocontrast"),
    _plain("ImageOps", "equalize"),
    _plain("ImageOps", "invert"),
    _rotate,
    _plain("ImageOps", "posterize", POSTERIZE_BITS),
    _nothing,
    _solarize_add,
    _enhance("Color"),
    _enhance("Contrast"),
    _enhance("Brightness"),
    _enhance("Sharpness"),
    _affine(1, lambda how: SHEAR),
    _affine(3, lambda how: SHEAR),
    _affine(2, lambda how: how.translation),
    _affine(5, lambda how: how.translation),
    _cutout,
)


@functools.cache
def _pillow(module: str) -> Any:
    return importlib.import_module(f"PIL.{module}")
