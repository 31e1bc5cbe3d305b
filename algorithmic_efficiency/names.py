"""Rows of the core's tables by name, and things of a family by their dotted names."""

import importlib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def find_in(table: Mapping[str, T], name: str, kind: type[T], what: str) -> T:
    """Returns a row of a table, or what a dotted name such as 'package.module.x' names.

    Args:
      table: the rows of the core.
      name: of the row, or dotted.
      kind: what it is.
      what: it is called in the message.

    Raises:
      ValueError: there is no such thing, or it is of another kind.
    """
    if name in table:
        return table[name]
    module, _, attribute = name.rpartition(".")
    if not module:
        raise ValueError(
            f"There is no {what} {name!r}; use one of {', '.join(table)}, or the "
            f"dotted name of a {kind.__name__} elsewhere."
        )
    found = getattr(importlib.import_module(module), attribute, None)
    if not isinstance(found, kind):
        raise ValueError(
            f"Found {type(found).__name__} by the name {name!r}; a {what} should be a "
            f"{kind.__name__}."
        )
    return found
