"""Tiny files in the formats of CIFAR-10 and MNIST, and definitions that they fit."""

import dataclasses
import gzip
import struct

import numpy as np

from algorithmic_efficiency.data import Folders
from workloads.cifar import workload as cifar
from workloads.mnist import workload as mnist

COUNTS = {
    "num_train_examples": 16,
    "num_eval_train_examples": 6,
    "num_validation_examples": 4,
    "num_test_examples": 5,
}
CIFAR = dataclasses.replace(cifar.BASE, **COUNTS)
MNIST = dataclasses.replace(mnist.BASE, **COUNTS)
STORED = {"train": 20, "test": 5}
CIFAR_FILES = {
    **{f"data_batch_{k + 1}.bin": ("train", 4 * k, 4) for k in range(5)},
    "test_batch.bin": ("test", 0, 5),
}


def images(split, shape):
    """Returns images [N, *shape] and labels [N] of a published split."""
    random = np.random.default_rng(len(split))
    count = STORED[split]
    pixels = random.integers(0, 256, (count, *shape), np.uint8)
    return pixels, random.integers(0, 10, count, np.uint8)


def write_cifar(folder):
    """Writes the six files of the binary version; returns their bytes by name."""
    folder.mkdir(parents=True)
    files = {}
    for name, (split, first, count) in CIFAR_FILES.items():
        pixels, labels = images(split, (32, 32, 3))
        records = b""
        for k in range(first, first + count):
            planes = [pixels[k, :, :, channel].tobytes() for channel in range(3)]
            records += bytes([labels[k]]) + b"".join(planes)
        (folder / name).write_bytes(records)
        files[name] = records
    return files


def idx(array):
    """Returns an array of bytes as an IDX file, one field after the other."""
    header = bytes([0, 0, 8, array.ndim])
    return header + b"".join(struct.pack(">I", n) for n in array.shape) + bytes(array)


def write_mnist(folder, packed=True, separator="-"):
    """Writes the four files; returns their bytes by name."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for split, stem in (("train", "train"), ("test", "t10k")):
        for kind, array in zip(
            ("images", "labels"), images(split, (28, 28)), strict=True
        ):
            name = f"{stem}-{kind}{separator}idx{array.ndim}-ubyte"
            name, data = (
                (name + ".gz", gzip.compress(idx(array)))
                if packed
                else (name, idx(array))
            )
            (folder / name).write_bytes(data)
            files[name] = data
    return files


def opened(module, definition, data_dir, split):
    return module.open_split(definition, Folders(data_dir), split)


def rows(dataset):
    """Returns the inputs and targets of a split, as evaluation sees them."""
    elements = [
        dataset.element(dataset.examples[k], None) for k in range(len(dataset.examples))
    ]
    inputs = np.stack([element["inputs"] for element in elements])
    return inputs, np.array([int(element["targets"]) for element in elements])
