"""The index of a split: a line per utterance, so that opening 281,241 of them is quick.

`<root>/index/<split>.tsv` starts with a line of JSON about the whole, then come lines
of name, path below the root, number of samples and transcript. Utterances that are too
long are left out, as the benchmark does; those whose length is unknown, because their
file is damaged, stay in with 0 samples and are met when they are read.
"""

import codecs
import dataclasses
import functools
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from algorithmic_efficiency.data import BadExample, Examples
from algorithmic_efficiency.errors import DataError
from algorithmic_efficiency.files import atomic, is_foreign, read_bytes
from workloads._librispeech.reading import NO_TRANSCRIPT, Utterance, header

MAX_SAMPLES = 320_000  # 20 seconds; longer utterances are left out
MAX_CHARACTERS = 256  # likewise, of the transcript
FORMAT = 1
_NAME = re.compile(r"[\w-]{1,99}")  # of an utterance; other lines are no transcripts
_MOST_BYTES = 16 << 20  # of a chapter's transcripts
_UNDECODABLE = "\N{REPLACEMENT CHARACTER}"  # stands for bytes that are not UTF-8


@dataclasses.dataclass(frozen=True)
class Row:
    """What is known of one utterance before it is decoded.

    Attributes:
      name: for example '103-1240-0000'.
      path: below the root.
      samples: 0 where the header is damaged or the file missing.
      transcript: '' where it is missing.
      why: what is wrong with it; '' where nothing is.
    """

    name: str
    path: str
    samples: int
    transcript: str
    why: str = ""

    @property
    def fits(self) -> bool:
        """Whether it is short enough."""
        short = len(self.transcript) <= MAX_CHARACTERS
        return short and self.samples <= MAX_SAMPLES


class Indexed:
    """The utterances of a split in the order of the index; it is small to pickle."""

    def __init__(self, path: Path) -> None:
        """Opens an index.

        Raises:
          DataError: the file is missing, cut off or of another format.
        """
        self._path = path
        self._root = path.parent.parent
        try:
            facts = json.loads(self._data[: self._starts[0]].tobytes())
            whole = facts["format"] == FORMAT and facts["rows"] == len(self)
        except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
            raise DataError(f"The index {path} cannot be read: {error}.") from error
        if not whole:
            raise DataError(f"The index {path} is not whole or of this version.")
        self.unknown = int(facts["unknown"])  # rows that might not fit, if known

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, index: int) -> Utterance:
        """Returns an utterance.

        Raises:
          DataError: its line is damaged.
        """
        line = self._data[self._starts[index] : self._starts[index + 1] - 1]
        try:
            _, path, samples, transcript = line.tobytes().decode().split("\t")
            return Utterance(str(self._root / path), int(samples), transcript)
        except ValueError as error:
            raise DataError(
                f"The index {self._path} is damaged in line {index + 2}."
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the file behind, so that worker processes map it themselves."""
        return {k: v for k, v in vars(self).items() if k not in ("_data", "_starts")}

    @functools.cached_property
    def _data(self) -> np.ndarray:
        return np.memmap(self._path, np.uint8, "r")

    @functools.cached_property
    def _starts(self) -> np.ndarray:
        """Where the lines start, from the second one, and where the file ends."""
        return np.flatnonzero(self._data == ord("\n")) + 1


class ByLength:
    """Utterances with the longest first, so that batches need little padding."""

    def __init__(self, examples: Examples) -> None:
        """Sorts the numbers of the examples; equal lengths keep their order."""
        self._examples = examples
        sizes = [examples[k].samples for k in range(len(examples))]
        self._order = np.argsort(-np.array(sizes), kind="stable")

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> Utterance:
        return self._examples[int(self._order[index])]


def path_of(root: Path, split: str) -> Path:
    """Returns where the index of a split lies."""
    return root / "index" / f"{split}.tsv"


def write(path: Path, rows: Iterable[Row]) -> None:
    """Writes the index of a split, leaving out what does not fit.

    Raises:
      StorageError: the file cannot be written.
    """
    kept = [row for row in rows if row.fits]
    unknown = sum(not (row.samples and row.transcript) for row in kept)
    facts = {"format": FORMAT, "rows": len(kept), "unknown": unknown}
    lines = (f"{r.name}\t{r.path}\t{r.samples}\t{r.transcript}\n" for r in kept)
    with atomic(path, "The same command goes on from here.") as temporary:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(facts) + "\n")
            file.writelines(lines)


def scan(root: Path, subsets: Sequence[str]) -> Iterator[Row]:
    """Yields all utterances of some subsets by name, from headers and transcripts.

    An utterance that has a file or a transcript counts, and `why` says what it lacks.

    Raises:
      DataError: a folder cannot be listed or holds no chapters.
    """
    folders = [c for subset in subsets for c in chapters(root / subset)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for rows in pool.map(lambda folder: list(_chapter(root, folder)), folders):
            yield from rows


def fault(path: Path, subsets: Sequence[str], rows: Iterable[Row]) -> str:
    """Says what is wrong with an index, where `scan` finds these rows; '' if nothing.

    Raises:
      DataError: a folder of the data cannot be listed or holds no chapters.
    """
    root = path.parent.parent
    wanted = [
        Utterance(str(root / row.path), row.samples, row.transcript)
        for row in rows
        if row.fits
    ]
    try:
        indexed = Indexed(path)
        found = [indexed[k] for k in range(len(indexed))]
    except DataError as error:
        return str(error)
    if found != wanted:
        return f"The index {path} differs from the files."
    return stale(path, subsets)


def stale(path: Path, subsets: Sequence[str]) -> str:
    """Says which folder or transcript is newer than the index; '' where none is.

    Raises:
      DataError: a folder of the data cannot be listed or holds no chapters.
    """
    root, written = path.parent.parent, path.stat().st_mtime
    for subset in subsets:
        inner = chapters(root / subset)
        speakers = dict.fromkeys(chapter.parent for chapter in inner)
        texts = filter(Path.exists, map(transcripts_of, inner))
        for part in (root / subset, *speakers, *inner, *texts):
            if part.stat().st_mtime > written:
                return f"The index {path} is older than the data in {part}."
    return ""


def chapters(subset: Path) -> list[Path]:
    """Returns the folders `<subset>/<speaker>/<chapter>`, sorted by number."""
    try:
        speakers = [Path(s) for s in os.scandir(subset) if _is_named(s)]
        found = [Path(c) for s in speakers for c in os.scandir(s) if _is_named(c)]
    except OSError as error:
        raise DataError(f"The folder {subset} cannot be read: {error}.") from error
    if not found:
        raise DataError(
            f"The folder {subset} has no chapters, expected <speaker>/<chapter>/*."
            "flac; remove it where it is empty."
        )
    return sorted(found, key=lambda path: (_number(path.parent), _number(path)))


def _is_named(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder that may be a speaker's or a chapter's."""
    named = _NAME.fullmatch(entry.name) and not is_foreign(entry.name)
    return bool(named) and entry.is_dir()


def _number(folder: Path) -> tuple[int, str]:
    """Sorts folders that are named by number by their number."""
    return int(folder.name) if folder.name.isdecimal() else 0, folder.name


def _chapter(root: Path, folder: Path) -> Iterator[Row]:
    """Yields the utterances of a chapter by name."""
    transcripts = read_transcripts(folder)
    files = folder.glob("*.flac")
    sounds = {path.stem for path in files if _NAME.fullmatch(path.stem)}  # not "._*"
    for name in sorted(sounds | transcripts.keys()):
        path = folder / f"{name}.flac"
        transcript, size, why = transcripts.get(name, ""), 0, ""
        try:
            size = header(path).samples
        except BadExample as error:
            why = error.why
        if not transcript:
            why = why or NO_TRANSCRIPT
        elif not legible(transcript):
            why = why or f"has bytes that are not UTF-8 in {transcripts_of(folder)}"
        yield Row(name, str(path.relative_to(root)), size, transcript, why)


def transcripts_of(folder: Path) -> Path:
    """Returns where the transcripts of a chapter should lie."""
    return folder / f"{folder.parent.name}-{folder.name}.trans.txt"


def read_transcripts(folder: Path) -> dict[str, str]:
    """Returns name -> transcript of a chapter; empty where its file is missing.

    A line ends with a line feed and with nothing else; spaces of any kind within it
    become one space. Where two lines of one name differ, there is no transcript.

    Raises:
      DataError: the file cannot be read.
    """
    path = transcripts_of(folder)
    try:
        data = read_bytes(path, _MOST_BYTES)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
    found: dict[str, str] = {}
    for row in text.split("\n"):
        line = row.removesuffix("\r").replace("\t", " ")
        name, _, words = line.partition(" ")
        if _NAME.fullmatch(name):
            transcript = " ".join(words.split())
            same = found.setdefault(name, transcript) == transcript
            found[name] = transcript if same else ""
    return found


def legible(transcript: str) -> bool:
    """Says whether all bytes of a transcript were UTF-8."""
    return _UNDECODABLE not in transcript
