"""Registered workloads in both frameworks, on noise where reading would take long."""

import functools
from typing import Any

import numpy as np

from algorithmic_efficiency import registry
from algorithmic_efficiency.battery.pair import (
    EVAL,
    FRAMEWORKS,
    TRAIN,
    Pair,
    backend,
    forward_backward,
    moved_weights,
    visible,
    without_chance,
)
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.definition import Definition, Field
from algorithmic_efficiency.workload import Workload

__all__ = [
    "EVAL",
    "FRAMEWORKS",
    "NO_DATA",
    "TRAIN",
    "backend",
    "forward_backward",
    "moved_weights",
    "pair",
    "random_batch",
    "started",
    "visible",
    "with_batches",
    "with_weights",
    "without_chance",
    "workload",
]
NO_DATA = Folders(data_dir=registry.ROOT / "no data needed")


@functools.cache
def pair(name: str, folders: Folders = NO_DATA) -> Pair:
    """Returns a workload; without folders its batches are noise."""
    definition = registry.get(name)

    def noise(size: int) -> Any:
        return random_batch_of(definition, size, padded=0)

    return Pair(definition, folders, noise if folders is NO_DATA else None)


def workload(name: str, framework: str, folders: Folders = NO_DATA) -> Workload:
    return pair(name, folders).workloads[framework]


def started(name: str, framework: str) -> tuple[Workload, Any, Any]:
    """Returns (workload, params, state) with the initial weights of seed 5."""
    return pair(name).started(framework)


def with_weights(name: str, framework: str) -> tuple[Workload, Any, Any]:
    """Returns (workload, params, state) with moved weights."""
    return pair(name).with_weights(framework)


def with_batches(name: str, folders: Folders) -> Pair:
    """Returns a workload with batches: noise, or where that has no sense, its data."""
    return pair(name) if is_drawn(registry.get(name)) else pair(name, folders)


def is_drawn(definition: Definition) -> bool:
    """Says whether `random_batch` knows such inputs: images with a class, or sound."""
    inputs, targets = (definition.fields[key] for key in ("inputs", "targets"))
    image = isinstance(inputs, Field) and inputs.layout == "HWC"
    return isinstance(inputs, tuple) or (image and targets == Field((), "int32"))


def random_batch(made: Workload, size: int, padded: int, seed: int = 3) -> Any:
    """Returns a NumPy batch of noise; the last `padded` rows have weight 0."""
    return random_batch_of(made.definition, size, padded, seed)


def random_batch_of(
    definition: Definition, size: int, padded: int, seed: int = 3
) -> Any:
    """Returns the same for a definition."""
    random = np.random.default_rng(seed)
    inputs = definition.fields["inputs"]
    if isinstance(inputs, Field):
        noise = random.standard_normal((size, *inputs.shape), np.float32)
        batch = {
            "inputs": noise,
            "targets": random.integers(0, 10, size).astype(np.int32),
        }
    else:
        sound = 2000 * random.standard_normal((size, 12_000), np.float32)
        tokens = random.integers(1, 10, (size, 7)).astype(np.float32)
        batch = {
            "inputs": with_paddings(sound, random),
            "targets": with_paddings(tokens, random),
        }
    batch["weights"] = np.ones(size, np.float32)
    batch["weights"][size - padded :] = 0
    return batch


def with_paddings(values: np.ndarray, random: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns values [B, S] of lengths from half of S to S, and their paddings."""
    size, longest = values.shape
    lengths = random.integers(longest // 2, longest + 1, (size, 1))
    valid = (np.arange(longest) < lengths).astype(np.float32)
    return values * valid, 1 - valid
