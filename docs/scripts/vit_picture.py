"""Draws docs/images/vit.png: images on their way into the mini Vision Transformer.

    python -m docs.scripts.vit_picture [--data_dir=~/data]

One row an image: as it is evaluated, cropped and flipped, after RandAugment at the
strength of the mini, mixed with the image before it, and cut into patches.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from algorithmic_efficiency import registry
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.paths import folder_of
from workloads._imagenet.data import open_split

NAME = "imagenet_vit_mini"
ROWS, SEED, WEIGHT = 3, 8, 0.7  # the weight of mixup is chosen here, so that it shows
GAP = 2  # pixels between patches
OUTPUT = Path(__file__).resolve().parent.parent / "images" / "vit.png"


def main() -> None:
    """Draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", default="~/data")
    asked = parser.parse_args()
    definition = registry.get(NAME)
    folders = Folders(folder_of("data_dir", asked.data_dir))
    dataset = open_split(definition, folders, "train")
    plain = dataclasses.replace(dataset.element, augment=None)
    numbers = np.linspace(0, len(dataset.examples) - 1, ROWS + 2, dtype=int)[1:-1]
    examples = [dataset.examples[int(number)] for number in numbers]
    columns = {
        "evaluated": images(plain, examples, None),
        "cropped, flipped": images(plain, examples, SEED),
        "RandAugment": images(dataset.element, examples, SEED),
    }
    last = columns["RandAugment"].astype(float)
    mixed = WEIGHT * last + (1 - WEIGHT) * np.roll(last, 1, axis=0)
    columns[f"mixup, {WEIGHT} of it"] = mixed.astype(np.uint8)
    size, patch = (definition.model[key] for key in ("size", "patch"))
    patches = [cut(image, patch) for image in mixed.astype(np.uint8)]
    columns[f"{size // patch} x {size // patch} patches"] = np.stack(patches)
    draw(columns)


def images(element: Any, examples: Any, seed: int | None) -> Any:
    """Returns uint8 [rows, H, W, 3]; a seed augments, each row by its own generator."""
    generators = [
        None if seed is None else np.random.default_rng((seed, row))
        for row in range(len(examples))
    ]
    pairs = zip(examples, generators, strict=True)
    return np.stack([element(example, rng)["inputs"] for example, rng in pairs])


def cut(image: Any, patch: int) -> Any:
    """Returns the image with white gaps between its patches."""
    for axis in (0, 1):
        places = np.arange(patch, image.shape[axis], patch).repeat(GAP)
        image = np.insert(image, places, 255, axis)
    return image


def draw(columns: dict[str, Any]) -> None:
    """Draws a table of images."""
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    axes = figure.subplots(ROWS, len(columns))
    for column, (title, rows) in enumerate(columns.items()):
        axes[0, column].set_title(title, fontsize=10)
        for axis, image in zip(axes[:, column], rows, strict=True):
            axis.imshow(image, interpolation="nearest")
            axis.axis("off")
    figure.savefig(OUTPUT, dpi=110)


if __name__ == "__main__":
    main()
