"""Which folders of a split are its classes.

The number of a class is its place among the sorted names of the folders, so that one
folder too many would give every later class a wrong label without a word.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from algorithmic_efficiency.errors import DataError
from algorithmic_efficiency.files import is_foreign

WNID = re.compile(r"n[0-9]+")  # a class of ImageNet, for example n01440764
NUMBER = re.compile(r"[0-9]+")  # a class that is named by its number
_MAX_SHOWN = 3


class Classes(NamedTuple):
    """The class folders of a split.

    Attributes:
      folder: in which they lie.
      names: in the order of their numbers.
      left_out: the names of other folders, which are no classes.
    """

    folder: Path
    names: list[str]
    left_out: list[str]


def classes_in(folder: Path) -> Classes:
    """Lists the class folders of a split.

    Hidden folders and those that systems leave behind are no classes. Where some
    folders are named by wnid, no other folder is one; nor is it, where none is and some
    are named by number, a folder that is not. Numbers are sorted as numbers.

    Raises:
      DataError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted(entry.name for entry in entries if _is_folder(entry))
    except OSError as error:
        raise DataError(
            f"The folder {folder} cannot be read: {error.strerror}."
        ) from error
    names = [name for name in found if not is_foreign(name)]
    for pattern in (WNID, NUMBER):
        alike = [name for name in names if pattern.fullmatch(name)]
        if alike:
            names = sorted(alike, key=int) if pattern is NUMBER else alike
            break
    left_out = sorted(set(found) - set(names))
    return Classes(folder, names, left_out)


def shown(names: Sequence[str]) -> str:
    """Returns some of the names, escaped: those that look alike can be told apart."""
    more = len(names) - _MAX_SHOWN
    words = ", ".join(ascii(name) for name in names[:_MAX_SHOWN])
    return f"{words} and {more:,} more" if more > 0 else words


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
