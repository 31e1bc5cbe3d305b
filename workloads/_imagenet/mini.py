"""A small image data set that the project draws by itself: shapes in ten classes.

An image shows one shape in any pose, size, colour and texture before a textured ground
with clutter, partly covered, unevenly lit, blurred and noisy. Only its outline tells
the class, so a linear model on pixels stays near chance. How hard it is, is set by the
constants below; a change of any of them makes a new folder.
"""

import dataclasses
import hashlib
import sys
from pathlib import Path

import numpy as np

from algorithmic_efficiency.files import make_folder
from algorithmic_efficiency.text import show
from workloads._imagenet.outlines import OUTLINES

VERSION = 2  # raise it where the drawing changes and no constant does
SEED = 20_250_101
COUNTS = {"train": 4_000, "val": 1_000, "test": 1_000}


@dataclasses.dataclass(frozen=True)
class Difficulty:
    """What makes the images hard; pairs are the ends of a uniform range.

    Attributes:
      size: side of an image in pixels.
      scale: radius of the shape as a share of half the side.
      shift: greatest offset of its centre from the middle, as a share of half the side.
      stretch: greatest ratio of the shape's lengths along two perpendicular axes.
      turn: greatest angle by which the shape is turned, in radians.
      contrast: least mean difference of shape and ground, of 255.
      texture: greatest swing of a texture around its colour, of 255.
      clutter: number of lines and blobs behind the shape.
      covers: number of bars in front of the shape, and their width in pixels.
      light: darkest brightness at one side of the image, of 1 at the other.
      blur: standard deviation in pixels.
      noise: standard deviation, of 255.
      quality: of JPEG compression.
    """

    size: int = 72
    scale: tuple[float, float] = (0.5, 0.85)
    shift: float = 0.2
    stretch: float = 1.3
    turn: float = 0.6
    contrast: float = 55.0
    texture: float = 25.0
    clutter: tuple[int, int] = (1, 5)
    covers: tuple[int, int] = (0, 1)
    cover_width: tuple[float, float] = (2.0, 6.0)
    light: float = 0.5
    blur: tuple[float, float] = (0.3, 1.0)
    noise: tuple[float, float] = (2.0, 12.0)
    quality: tuple[int, int] = (60, 95)


DIFFICULTY = Difficulty()


def prepare(
    data_dir: Path,
    difficulty: Difficulty = DIFFICULTY,
    counts: dict[str, int] | None = None,
) -> Path:
    """Returns the folder of the mini data, drawn into `data_dir` where it is not there.

    It is drawn under another name and renamed when it is whole, so a folder under the
    final name is complete, whoever was stopped half-way or drew at the same time.

    Raises:
      StorageError: the folder cannot be written or the disk is full.
    """
    counts = counts or COUNTS
    folder = data_dir / _name(difficulty, counts)
    if folder.is_dir():
        return folder
    show(
        f"Drawing {sum(counts.values()):,} mini images into {folder} (once, seconds).",
        sys.stderr,
    )
    make_folder(
        folder, lambda made: _draw_splits(made, difficulty, counts), "mini images", 50
    )
    return folder


def _name(difficulty: Difficulty, counts: dict[str, int]) -> str:
    """Returns the folder's name, which changes with everything that is drawn."""
    facts = repr((VERSION, SEED, difficulty, sorted(counts.items())))
    return f"mini_imagenet_{hashlib.sha256(facts.encode()).hexdigest()[:8]}"


def _draw_splits(folder: Path, difficulty: Difficulty, counts: dict[str, int]) -> None:
    """Draws every split as `<split>/<class>/<number>.JPEG`, classes evenly."""
    from workloads._imagenet.painter import Painter  # noqa: PLC0415 - needs this file

    classes = sorted(OUTLINES)
    painter = Painter(difficulty, SEED)
    for number, (split, count) in enumerate(counts.items()):
        for name in classes:
            (folder / split / name).mkdir(parents=True)
        for index in range(count):
            name = classes[index % len(classes)]
            rng = np.random.default_rng((SEED, number, index))
            path = folder / split / name / f"{index:05d}.JPEG"
            path.write_bytes(painter.jpeg(name, rng))
