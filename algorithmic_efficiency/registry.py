"""Finds the workloads: every folder `workloads/<name>/` with a `workload.py`.

A `workload.py` holds data only, in a table `WORKLOADS` of name -> Definition. Nothing
is registered by hand, and reading the table loads neither PyTorch nor JAX.
"""

import difflib
import functools
import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from algorithmic_efficiency.errors import UsageError
from algorithmic_efficiency.spec import Definition

ROOT = Path(__file__).resolve().parent.parent
MINI = "_mini"


@functools.cache
def definitions() -> dict[str, Definition]:
    """Returns every workload and variant by name, in the order of the folders."""
    table: dict[str, Definition] = {}
    for path in sorted((ROOT / "workloads").glob("[!_]*/workload.py")):
        module = importlib.import_module(f"workloads.{path.parent.name}.workload")
        table.update(module.WORKLOADS)
    return table


def get(name: str) -> Definition:
    """Returns the workload of this name.

    Raises:
      UsageError: no such workload; the message lists the known ones, nearest first.
    """
    table = definitions()
    if name in table:
        return table[name]
    raise UsageError(
        f"There is no workload {name!r}. Known workloads, nearest first: "
        f"{', '.join(nearest(name, table))}."
    )


def base_names(name: str) -> list[str]:
    """Returns the workloads of which `name` is a variant, the nearest first.

    For 'imagenet_resnet_silu_mini' these are 'imagenet_resnet_silu' and
    'imagenet_resnet'.
    """
    known = [other for other in definitions() if name.startswith(f"{other}_")]
    return sorted(known, key=len, reverse=True)


def is_mini(name: str) -> bool:
    """Says whether this is a workload at laptop size."""
    return name.endswith(MINI)


def missing_data(definition: Definition, folders: Any) -> str | None:
    """Says in a sentence which data are missing and how to get them, or None."""
    module = importlib.import_module(definition.data)
    lost = module.missing(definition, folders)
    if lost is None:
        return None
    return f"{lost}. Prepare the data with: {module.PREPARE}."


def shipped(path: Path) -> Path:
    """Returns the path, or this project's own file of that name where it is none.

    So names such as 'reference_algorithms/nadamw/jax.py' hold in every folder.
    """
    ours = ROOT / path
    return ours if not path.exists() and ours.is_file() else path


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Returns the known names, those most like `name` first."""

    def likeness(other: str) -> float:
        return difflib.SequenceMatcher(None, name, other).ratio()

    return sorted(known, key=likeness, reverse=True)
