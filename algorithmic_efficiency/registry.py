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

from algorithmic_efficiency.data import DataFlag
from algorithmic_efficiency.definition import Definition
from algorithmic_efficiency.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def definitions() -> dict[str, Definition]:
    """Returns every workload and variant by name, in the order of the folders."""
    table: dict[str, Definition] = {}
    for path in sorted((ROOT / "workloads").glob("[!_]*/workload.py")):
        module = importlib.import_module(f"workloads.{path.parent.name}.workload")
        table.update(module.WORKLOADS)
    return table


def add(folder: Path, name: str | None = None) -> list[str]:
    """Adds the workloads of a folder that lies anywhere; returns their names.

    Args:
      folder: see `outside`.
      name: one that should be there.

    Raises:
      UsageError: there are none, not this one, or one has the name of another.
    """
    from algorithmic_efficiency import outside  # noqa: PLC0415 - it finds modules too

    found, known = outside.read(folder), definitions()
    for own, row in found.items():
        if own in known and known[own].package != row.package:
            raise UsageError(
                f"The workload {own!r} in {folder} has the name of another one; give "
                "it a name of its own, since results are kept by name."
            )
    if name not in (None, *found):
        raise UsageError(
            f"There is no workload {name!r} in {folder}; it has {', '.join(found)}."
        )
    known.update(found)
    return list(found)


def example() -> str:
    """Returns the name of a workload that runs anywhere, for messages."""
    return next(row.base for row in definitions().values() if row.scale == "mini")


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

    For '<name>_silu_mini' these are '<name>_silu' and '<name>'.
    """
    table, names = definitions(), []
    while name in table and (name := table[name].base):
        names.append(name)
    return names


def is_mini(name: str) -> bool:
    """Says whether this is a workload at laptop size."""
    return name in definitions() and definitions()[name].scale == "mini"


def mini_twin(name: str) -> str:
    """Returns the name of a workload's twin at laptop size.

    Raises:
      UsageError: it has none.
    """
    for other in definitions().values():
        if other.base == name and other.scale == "mini":
            return other.name
    raise UsageError(
        f"{name} has no twin at mini scale; prepare its data and use --scale=full."
    )


def data_flags() -> dict[str, DataFlag]:
    """Returns the flags of all data modules, name -> what they are."""
    table: dict[str, DataFlag] = {}
    for module in dict.fromkeys(row.data for row in definitions().values()):
        table |= flags_of(module)
    return table


def flags_of(module: str) -> dict[str, DataFlag]:
    """Returns the flags that a data module declares in `FLAGS`."""
    return dict(getattr(importlib.import_module(module), "FLAGS", {}))


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
