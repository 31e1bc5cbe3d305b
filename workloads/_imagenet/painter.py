"""Draws the images of the mini data at twice their size and averages them down."""

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads._imagenet.mini import Difficulty
from workloads._imagenet.outlines import OUTLINES, Points

Plane = NDArray[np.float32]  # [side, side], -1..1 for textures

_TEXTURES = 96
_SUBPIXEL_BITS = 4  # of the coordinates by which OpenCV fills polygons


class Painter:
    """Draws images of one difficulty; the same generator gives the same image."""

    def __init__(self, difficulty: Difficulty, seed: int) -> None:
        self._cv2: Any = importlib.import_module("cv2")
        self._cv2.setNumThreads(1)
        self._hard = difficulty
        self._side = 2 * difficulty.size
        rng = np.random.default_rng(seed)
        self._textures = [self._new_texture(rng) for _ in range(_TEXTURES)]

    def jpeg(self, name: str, rng: np.random.Generator) -> bytes:
        """Returns the bytes of a JPEG file that shows one shape of class `name`."""
        hard, cv2 = self._hard, self._cv2
        layers, shape = self._draw(name, rng)
        image = self._colour(layers, shape, rng)
        image = cv2.resize(image, (hard.size, hard.size), interpolation=cv2.INTER_AREA)
        image *= self._light(rng)
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(*hard.blur))
        noise = rng.standard_normal(image.shape, np.float32)
        image += np.float32(rng.uniform(*hard.noise)) * noise
        pixels = np.clip(image, 0, 255).astype(np.uint8)
        quality = int(rng.integers(*hard.quality, endpoint=True))
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        encoded: bytes = cv2.imencode(".jpg", pixels, options)[1].tobytes()
        return encoded

    def _draw(
        self, name: str, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], int]:
        """Returns the number of the topmost layer at each pixel, and the shape's.

        Layer 0 is the ground, then come clutter, the shape, and what covers it.
        """
        hard = self._hard
        layers = np.zeros((self._side, self._side), np.uint8)
        shape = 1 + int(rng.integers(*hard.clutter, endpoint=True))
        covers = int(rng.integers(*hard.covers, endpoint=True))
        for number in range(1, shape):
            self._fill(layers, [self._blob(rng)], number)
        pose, centre = self._pose(rng)
        outlines = [outline @ pose + centre for outline in OUTLINES[name]]
        self._fill(layers, outlines, shape)
        for number in range(shape + 1, shape + 1 + covers):
            self._fill(layers, [self._bar(rng) + centre], number)
        return layers, shape

    def _colour(
        self, layers: NDArray[np.uint8], shape: int, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Gives each layer a colour that varies along one of two textures."""
        count = max(int(layers.max()), shape) + 1
        mean = rng.uniform(40, 215, (count, 3)).astype(np.float32)
        while abs(mean[shape] - mean[0]).mean() < self._hard.contrast:
            mean[shape] = rng.uniform(40, 215, 3)
        grey = rng.uniform(-1, 1, (count, 1)) * 0.75
        swing = self._hard.texture * (grey + rng.uniform(-0.25, 0.25, (count, 3)))
        ground, front = (self._texture(rng)[..., None] for _ in range(2))
        texture = np.where((layers == shape)[..., None], front, ground)
        image: NDArray[np.float32] = swing.astype(np.float32)[layers]
        image *= texture
        image += mean[layers]
        return image

    def _fill(
        self, layers: NDArray[np.uint8], outlines: list[Points], number: int
    ) -> None:
        """Marks the inside of some outlines as layer `number`."""
        unit = self._side / 2 * 2**_SUBPIXEL_BITS
        corners = [np.rint((points + 1) * unit).astype(np.int32) for points in outlines]
        self._cv2.fillPoly(layers, corners, number, shift=_SUBPIXEL_BITS)

    def _pose(self, rng: np.random.Generator) -> tuple[Points, Points]:
        """Returns the matrix and the offset that put a shape somewhere."""
        hard = self._hard
        stretch = hard.stretch ** rng.uniform(-0.5, 0.5)
        size = np.diag([stretch, 1 / stretch]) * rng.uniform(*hard.scale)
        centre = rng.uniform(-hard.shift, hard.shift, 2)
        axes, turn = _rotation(rng), _rotation(rng, hard.turn)
        return axes.T @ size @ axes @ turn, centre

    def _blob(self, rng: np.random.Generator) -> Points:
        """Returns a polygon of a few random corners, somewhere."""
        corners = rng.uniform(-1, 1, (int(rng.integers(3, 7)), 2))
        flat = np.diag([1.0, rng.uniform(0.1, 1)]) * rng.uniform(0.15, 0.5)
        return corners @ flat @ _rotation(rng) + rng.uniform(-1, 1, 2)

    def _bar(self, rng: np.random.Generator) -> Points:
        """Returns a long bar that passes near the middle of the shape."""
        width = rng.uniform(*self._hard.cover_width) / self._hard.size
        offset = rng.uniform(-0.4, 0.4)
        corners = np.array([[-3, -width], [3, -width], [3, width], [-3, width]])
        return (corners + [0, offset]) @ _rotation(rng)

    def _light(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """Returns the brightness [size, size, 1] of a lamp at one side."""
        grid = np.linspace(-0.5, 0.5, self._hard.size)
        direction = rng.uniform(0, 2 * np.pi)
        ramp = np.cos(direction) * grid[:, None] + np.sin(direction) * grid
        dark = rng.uniform(self._hard.light, 1)
        light = 1 - (1 - dark) * (0.5 + ramp / np.sqrt(2))
        return np.asarray(light[..., None], np.float32)

    def _texture(self, rng: np.random.Generator) -> Plane:
        """Returns a random part of a random texture."""
        whole = self._textures[rng.integers(_TEXTURES)]
        top, left = rng.integers(self._side, size=2)
        part = whole[top : top + self._side, left : left + self._side]
        return part.T if rng.random() < 0.5 else part

    def _new_texture(self, rng: np.random.Generator) -> Plane:
        """Returns stripes, a chequerboard or clouds, twice as large as an image."""
        axis = np.linspace(-1, 1, 2 * self._side)
        x, y = np.meshgrid(axis, axis)
        turn, waves = _rotation(rng), rng.uniform(8, 40)
        along, across = (np.sin(waves * (x * a + y * b)) for a, b in turn)
        kind = rng.integers(3)
        if kind == 0:
            plane = along
        elif kind == 1:
            plane = np.sign(along * across)
        else:
            plane = rng.standard_normal(x.shape)
            plane = self._cv2.GaussianBlur(plane, (0, 0), rng.uniform(1, 10))
            plane = np.clip(plane / (2 * plane.std()), -1, 1)
        return np.asarray(plane, np.float32)


def _rotation(rng: np.random.Generator, greatest: float = np.pi) -> Points:
    """Returns the matrix of a turn by up to `greatest` radians either way."""
    angle = rng.uniform(-greatest, greatest)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])
