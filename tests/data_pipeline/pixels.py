"""A split of made-up images of which some cannot be decoded."""

import dataclasses

import numpy as np

from algorithmic_efficiency.data import BadExample, Dataset


@dataclasses.dataclass(frozen=True)
class Pixels:
    """An element of two fields; some numbers cannot be decoded."""

    broken: tuple[int, ...] = ()

    def __call__(self, number, rng):
        if number in self.broken:
            raise BadExample(f"image {number}", "is cut off")
        pixels = np.full((2, 3), number, np.uint16)
        if rng is not None:
            pixels += rng.integers(0, 1000, pixels.shape, np.uint16) * 16
        return {"inputs": pixels, "targets": np.asarray(number, np.int32)}


def halve(batch):
    return {**batch, "inputs": batch["inputs"].astype(np.float32) / 2}


def numbers(size, broken=()):
    return Dataset(range(size), Pixels(broken), halve)


def take(stream, count):
    try:
        return [next(stream) for _ in range(count)]
    finally:
        stream.close()
