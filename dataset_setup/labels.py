"""Reads which class each validation image of ImageNet has; nothing is taken on trust.

A wrong label shows in no later check, so every line has to be understood: an error
names the first line that is not.
"""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from algorithmic_efficiency.errors import DataError, UsageError
from algorithmic_efficiency.files import read_text
from workloads._images.classes import WNID

_MOST_BYTES = 64 << 20  # of a text file
_OFFICIAL = 1_000  # classes of ImageNet
_KAGGLE = "ImageId"  # its header begins so
_SEPARATORS = re.compile(r'[ \t,;"]+')
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")
_SUFFIX = re.compile(r"\.(jpe?g|png)", re.IGNORECASE)


class Label(NamedTuple):
    """What a line says: the class of an image."""

    line: int
    image: str  # its name without folder and suffix
    wnid: str


@dataclasses.dataclass(frozen=True)
class Labels:
    """Where the classes of the validation images are written.

    Attributes:
      path: one of three: Kaggle's LOC_val_solution.csv; lines of file name and class
        (a wnid, or its number from 0 among the sorted wnids); or one class a line in
        the order of the images (a wnid, or the devkit's number from 1).
      synsets: wnids in the order of the devkit's numbers, one a line.
      known: the wnids of the training images in sorted order; empty without them.
    """

    path: Path | None
    synsets: Path | None
    known: Sequence[str]

    def read(self) -> dict[str, Label]:
        """Returns image name without suffix -> its label.

        Raises:
          UsageError: a file is needed that was not given.
          DataError: a file cannot be read; or a line is no label, names an image for
            the second time, or a class that is none.
        """
        if self.path is None:
            raise UsageError(
                "--val_tar needs --val_labels, the class of each validation image, for "
                "example Kaggle's LOC_val_solution.csv."
            )
        rows = list(_rows(self.path))
        if rows[0][1][0] == _KAGGLE:
            del rows[0]
        if not rows:
            raise DataError(f"{self.path} has no labels.")
        listed = len(rows[0][1]) == 1
        numbers = bool(_NUMBER.fullmatch(rows[0][1][-1 if listed else 1]))
        classes = self._classes(devkit=listed and numbers, numbers=numbers)
        first = (1 if listed else 0) if numbers else None
        found: dict[str, Label] = {}
        for place, (line, words) in enumerate(rows, 1):
            label = _label(self._at(line), line, words, place if listed else None)
            wnid = _wnid(self._at(line), label.wnid, classes, first)
            if twin := found.get(label.image):
                raise DataError(
                    f"{self._at(line)} gives {label.image} a class, as line "
                    f"{twin.line} does; expected one line for each image."
                )
            found[label.image] = label._replace(wnid=wnid)
        return found

    def _at(self, line: int) -> str:
        return f"Line {line} of {self.path}"

    def _classes(self, *, devkit: bool, numbers: bool) -> list[str]:
        """Returns the wnids, in the order of the devkit's numbers or sorted.

        They are [] where no folder and no file says which there are.
        """
        if devkit and self.synsets is None:
            raise UsageError(
                f"{self.path} has the devkit's numbers; they need --synsets, a file "
                "with the wnids in the order of these numbers (WNID in meta.mat)."
            )
        ordered = _synsets(self.synsets, self.known) if self.synsets else []
        if devkit:
            return ordered
        if numbers and not (self.known or ordered):
            raise UsageError(
                f"{self.path} numbers the classes among the sorted wnids, which "
                "nothing tells; give --train_tar too, or --synsets."
            )
        return list(self.known) or sorted(ordered)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields (number of the line, words) of all lines that are not blank."""
    blank = True
    text = read_text(path, _MOST_BYTES)
    for number, line in enumerate(text.split("\n"), 1):
        words = [word for word in _SEPARATORS.split(line.rstrip("\r")) if word]
        if words:
            blank = False
            yield number, words
    if blank:
        raise DataError(f"{path} is empty.")


def _label(where: str, line: int, words: Sequence[str], place: int | None) -> Label:
    """Returns what a line says; the class is not looked up yet.

    Args:
      where: the line, for an error.
      line: its number.
      words: that it has.
      place: of the image, where lines hold a class and nothing else.
    """
    if place is not None:
        if len(words) != 1:
            raise DataError(
                f"{where} has {len(words)} words, expected a class as in the lines "
                "before."
            )
        return Label(line, f"ILSVRC2012_val_{place:08d}", words[0])
    if len(words) < 2:  # noqa: PLR2004 - an image and its class
        raise DataError(
            f"{where} is {ascii(words[0])}, expected the name of an image and its "
            "class as in the lines before."
        )
    return Label(line, stem(words[0]), words[1])


def stem(name: str) -> str:
    """Returns the name of an image without folder and suffix."""
    last = name.replace("\\", "/").rpartition("/")[2]
    root, dot, suffix = last.rpartition(".")
    return root if _SUFFIX.fullmatch(dot + suffix) else last


def _wnid(where: str, word: str, classes: Sequence[str], first: int | None) -> str:
    """Returns the wnid that a word stands for.

    Args:
      where: the line, for an error.
      word: a wnid, or a number where there is a first one.
      classes: all wnids, in the order of the numbers; none where they are not known.
      first: the number of the first one; None where wnids are expected.
    """
    if first is None:
        if word in classes or (not classes and WNID.fullmatch(word)):
            return word
        expected = "a wnid such as n01440764"
        if classes:
            expected = (
                f"one of the {len(classes)} classes, {classes[0]} to {max(classes)}"
            )
    else:
        if _NUMBER.fullmatch(word) and 0 <= int(word) - first < len(classes):
            return classes[int(word) - first]
        expected = f"a number from {first} to {first + len(classes) - 1}"
    header = "" if any(map(str.isdigit, word)) else " Remove it where it is a header."
    raise DataError(
        f"{where} has the class {ascii(word[:40])}, expected {expected}.{header}"
    )


def _synsets(path: Path, known: Sequence[str]) -> list[str]:
    """Returns the wnids of a file in its order.

    Raises:
      DataError: a line begins with no wnid, one that training lacks, or one that was
        before; or they are not as many as the classes in training; or they are sorted,
        as the devkit's are not.
    """
    lines: dict[str, int] = {}
    for number, words in _rows(path):
        wnid, where = words[0], f"Line {number} of {path}"
        if wnid in lines:
            raise DataError(f"{where} has {wnid} again, after line {lines[wnid]}.")
        if wnid not in known and (known or not WNID.fullmatch(wnid)):
            what = "the wnid of a class in training" if known else "a wnid"
            raise DataError(f"{where} begins with {ascii(wnid[:40])}, expected {what}.")
        lines[wnid] = number
    if known and len(lines) != len(known):
        raise DataError(f"{path} has {len(lines)} wnids, expected {len(known)}.")
    if len(lines) == _OFFICIAL and list(lines) == sorted(lines):
        raise DataError(
            f"{path} has the wnids in sorted order, expected that of the devkit's "
            "numbers, which begins with n02119789 (WNID in meta.mat)."
        )
    return list(lines)
