"""Which folders of a split are its classes, and whether all splits have the same ones.

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
_NUMBER = re.compile(r"[0-9]+")
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
    for pattern in (WNID, _NUMBER):
        alike = [name for name in names if pattern.fullmatch(name)]
        if alike:
            names = sorted(alike, key=int) if pattern is _NUMBER else alike
            break
    left_out = sorted(set(found) - set(names))
    return Classes(folder, names, left_out)


def are_official(names: Sequence[str]) -> bool:
    """Whether names of class folders are wnids, or numbers as in ImageNet-v2."""
    return bool(names) and bool(WNID.fullmatch(names[0]) or _NUMBER.fullmatch(names[0]))


def fault(split: str, found: Classes, count: int, train: Classes | None) -> str:
    """Says what is wrong with the classes of a split; '' where nothing is.

    Args:
      split: 'train', 'validation' or 'test'.
      found: its classes.
      count: how many the workload has.
      train: the classes of the training images, where they are known.
    """
    why = ""
    if any(map(_NUMBER.fullmatch, found.names)):
        why = _numbers_fault(split, found.names, count)
    elif train is not None and found.names != train.names:
        why = _difference(found, train)
    elif len(found.names) != count:
        why = f"has {len(found.names)} class folders, expected {count}"
    if not why:
        return ""
    without = f" (left out: {shown(found.left_out)})" if found.left_out else ""
    return f"The {split} split in {found.folder} {why}{without}."


def _numbers_fault(split: str, names: Sequence[str], count: int) -> str:
    """Says why folders that are named by number are not the classes of a split."""
    if split != "test":
        return (
            f"names its classes by number ({names[0]} to {names[-1]}), expected wnids "
            "such as n01440764, because the devkit's numbers have another order. "
            "Remove the folder and unpack the images by `python -m dataset_setup "
            "imagenet --val_tar=FILE --val_labels=FILE`, or rename each class folder "
            "to the wnid that the devkit's meta.mat gives for its number"
        )
    wanted = [str(number) for number in range(count)]
    if names == wanted:
        return ""
    return (
        f"names its classes by number, expected 0 to {count - 1} as in ImageNet-v2: "
        + _parts(set(wanted) - set(names), set(names) - set(wanted))
    )


def _difference(found: Classes, train: Classes) -> str:
    """Says in what two sets of classes differ."""
    lost, more = (
        set(train.names) - set(found.names),
        set(found.names) - set(train.names),
    )
    return f"has other classes than the training images in {train.folder}: " + _parts(
        lost, more
    )


def _parts(lost: set[str], more: set[str]) -> str:
    """Names what is missing and what is too much."""
    parts = [f"{shown(sorted(lost))} missing" if lost else ""]
    parts += [f"{shown(sorted(more))} too many" if more else ""]
    return ", ".join(filter(None, parts))


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
