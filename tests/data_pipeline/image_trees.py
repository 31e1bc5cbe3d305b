"""Small trees of class folders, and a definition that they fit."""

import dataclasses
from pathlib import Path

from algorithmic_efficiency.data import Folders
from workloads._imagenet.data import open_split
from workloads.imagenet_resnet.workload import WORKLOADS

JPEG = (Path(__file__).parents[1] / "data" / "images" / "rgb.jpeg").read_bytes()
WNIDS = ("n01440764", "n01443537", "n02123045")
DEFINITION = dataclasses.replace(
    WORKLOADS["imagenet_resnet"],
    num_train_examples=30,
    num_eval_train_examples=7,
    num_validation_examples=6,
    num_test_examples=6,
    model={**WORKLOADS["imagenet_resnet"].model, "num_classes": len(WNIDS)},
)


def write_tree(folder, counts):
    """Writes so many images into each class folder."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            (folder / name / f"{name}_{index}.JPEG").write_bytes(JPEG)


def write_splits(root):
    """Writes the three splits of the definition."""
    write_tree(root / "train", dict(zip(WNIDS, (8, 10, 12), strict=True)))
    write_tree(root / "val", dict(zip(WNIDS, (1, 2, 3), strict=True)))
    write_tree(root / "imagenet_v2", {str(k): 2 for k in range(3)})
    return Folders(root)


def open_(folders, split, definition=DEFINITION):
    return open_split(definition, folders, split)


def examples(dataset):
    return [dataset.examples[k] for k in range(len(dataset.examples))]


def labels(dataset):
    return [example.label for example in examples(dataset)]
