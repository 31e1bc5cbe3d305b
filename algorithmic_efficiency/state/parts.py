"""What the walk over a state is told in: problems, blocks of bytes and paths."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np

# What JSON holds as it is; an int beyond this is written as text.
NATIVE = (type(None), bool, str, float)
LARGEST_INT = 2**63
LONGEST_PATH = 200


class Misfit(Exception):  # noqa: N818 - a finding, turned into a StorageError
    """A whole checkpoint does not fit the state of this submission."""


class Lost(Misfit):
    """A whole checkpoint lacks a part of the state."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """A part of the state that a checkpoint cannot hold exactly.

    Attributes:
      path: where it is.
      what: its type, for people.
      advice: what to do.
      fatal: False where its value is saved and only something beside it is not.
    """

    path: str
    what: str
    advice: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{shown(self.path)} ({self.what}): {self.advice}"


@dataclasses.dataclass
class Block:
    """Memory that arrays share: bytes `low` to `high` of `total` are in the file.

    Attributes:
      memory: returns the bytes between two places; None for a block of a file.
      users: how many arrays lie in it.
    """

    total: int
    low: int
    high: int
    memory: Callable[[int, int], np.ndarray] | None = None
    users: int = 1

    def read(self) -> np.ndarray:
        """Returns the bytes from low to high, uint8 [high - low]."""
        assert self.memory is not None
        return self.memory(self.low, self.high)


def shown(path: str) -> str:
    """Returns a path as people know it: 'params.conv1.weight'."""
    path = re.sub(r"\._(?:modules|parameters|buffers)\['([^']*)'\]", r".\1", path)
    path = path.replace("._orig_mod", "")
    return path if len(path) <= LONGEST_PATH else f"{path[:LONGEST_PATH]}..."


def is_native(value: Any) -> bool:
    """Says whether JSON holds the value as it is."""
    cls = type(value)
    if cls is int:
        return bool(-LARGEST_INT < value < LARGEST_INT)
    return cls in NATIVE
