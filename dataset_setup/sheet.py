"""Shows the mini images: `python -m dataset_setup.sheet --output=FILE.png`."""

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from algorithmic_efficiency.paths import folder_of
from workloads._imagenet import mini
from workloads._imagenet.outlines import OUTLINES

_ROWS = 4
_TITLE = 16  # pixels for a class name


def main() -> None:
    """Writes a picture with one column per class and a few training images in each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", default="~/data")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    folder = mini.prepare(folder_of("data_dir", arguments.data_dir)) / "train"
    columns = [_column(folder / name) for name in sorted(OUTLINES)]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(arguments.output), np.hstack(columns))


def _column(folder: Path) -> np.ndarray:
    images: list[Any] = [cv2.imread(path) for path in sorted(folder.iterdir())[:_ROWS]]
    title = np.full((_TITLE, images[0].shape[1], 3), 255, np.uint8)
    style = cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA
    cv2.putText(title, folder.name, (3, 12), *style)
    return np.vstack([title, *images])


if __name__ == "__main__":
    main()
