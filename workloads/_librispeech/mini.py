"""The mini speech corpus: short synthetic sentences in LibriSpeech's layout.

`mini_corpus.zip` beside this file holds them as Ogg Opus; the first use writes them out
as FLAC, and from there on they are read like LibriSpeech. The archive was made by
`dataset_setup/synthesise_speech`, which says how. espeak-ng's licence, GPL-3, covers
the program and not the sounds that it makes; words, noise and sounds are under this
project's licence.
"""

import functools
import hashlib
import importlib
import io
import os
import re
import sys
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from algorithmic_efficiency.errors import DataError
from algorithmic_efficiency.files import make_folder
from algorithmic_efficiency.text import show
from workloads._librispeech import layout
from workloads._librispeech.reading import RATE

VERSION = 1  # raise it where the unpacking changes and the archive does not
ARCHIVE = Path(__file__).with_name("mini_corpus.zip")
_FILE = re.compile(r"[a-z-]+/[0-9]+/[0-9]+/[0-9-]+\.(opus|trans\.txt)")
_MOST_BYTES = 1 << 20  # of a file; the largest has 10 KB
COUNTS = {"train": 1_500, "validation": 200, "test": 200}
SUBSETS: layout.Subsets = {
    "train": ("train-clean",),
    "validation": ("dev-clean",),
    "test": ("test-clean",),
}
VOCABULARY_SIZE = 128


def prepare(data_dir: Path, archive: Path = ARCHIVE) -> Path:
    """Returns the root of the mini corpus, unpacked into `data_dir` at first use.

    Raises:
      DataError: the archive is missing or damaged.
      StorageError: the folder cannot be written or the disk is full.
    """
    folder = data_dir / f"mini_librispeech_{_digest(archive)}"
    if folder.is_dir():
        return folder
    show(f"Unpacking mini speech into {folder} (once, seconds).", sys.stderr)
    make_folder(folder, lambda made: _fill(made, archive), "mini speech", 80)
    return folder


@functools.cache
def _digest(archive: Path) -> str:
    """Returns what changes with the archive and the code that unpacks it."""
    try:
        digest = hashlib.sha256(archive.read_bytes())
    except OSError as error:
        raise DataError(
            f"The mini speech {archive} cannot be read: {error}."
        ) from error
    digest.update(f"{VERSION} {VOCABULARY_SIZE}".encode())
    return digest.hexdigest()[:8]


def _fill(folder: Path, archive: Path) -> None:
    """Writes the corpus, its tokenizer and its indexes."""
    soundfile: Any = importlib.import_module("soundfile")
    damaged = (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,  # it is encrypted
        soundfile.LibsndfileError,
    )
    try:
        with (
            zipfile.ZipFile(archive) as packed,
            ThreadPoolExecutor(os.cpu_count()) as pool,
        ):
            names = _checked(packed, archive)
            for parent in {(folder / name).parent for name in names}:
                parent.mkdir(parents=True, exist_ok=True)
            for _ in pool.map(lambda name: _write(folder, packed, name), names):
                pass
    except damaged as error:
        raise DataError(f"{archive} is damaged: {error}. Install it anew.") from error
    layout.complete(folder, SUBSETS, VOCABULARY_SIZE)


def _checked(packed: zipfile.ZipFile, archive: Path) -> list[str]:
    """Returns the names of the files, which lead nowhere else and are no larger."""
    for entry in packed.infolist():
        if not _FILE.fullmatch(entry.filename) or entry.file_size > _MOST_BYTES:
            raise DataError(
                f"{archive} has {ascii(entry.filename)} of {entry.file_size:,} bytes, "
                f"expected names such as test-clean/5/1/5-1-0000.opus and at most "
                f"{_MOST_BYTES:,} bytes. Install it anew."
            )
    return packed.namelist()


def _write(folder: Path, packed: zipfile.ZipFile, name: str) -> None:
    """Writes one file of the archive; sounds become FLAC."""
    path = folder / name
    if path.suffix != ".opus":
        path.write_bytes(packed.read(name))
        return
    soundfile: Any = importlib.import_module("soundfile")
    sound, _ = soundfile.read(io.BytesIO(packed.read(name)), dtype="int16")
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, RATE, "PCM_16", format="FLAC")
    path.with_suffix(".flac").write_bytes(buffer.getvalue())
