"""Files at the door: only plain ones of a sensible size, and writing in a sentence."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from algorithmic_efficiency.errors import StorageError

MOST_BYTES = 64 * 2**20  # the longest public run leaves 0.1 MB


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return what is in a file; never waits, as it would at a named pipe.

    Raises FileNotFoundError if nothing is there, and OSError with the reason as
    `strerror` for what is no plain file, is larger than `most` or cannot be read.
    """
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        size = _plain_size(os.fstat(file), most)
        data = os.read(file, size)
        while len(data) < size and (more := os.read(file, size - len(data))):
            data += more
        return data
    finally:
        os.close(file)


def _plain_size(status: os.stat_result, most: int) -> int:
    """Return the size of a plain file; raises OSError for anything else."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a plain file but a pipe, device or socket")
    if status.st_size > most:
        raise OSError(
            errno.EFBIG,
            f"{status.st_size:,} bytes are more than the {most:,} that are read",
        )
    return status.st_size


@contextlib.contextmanager
def storing(what: Path) -> Iterator[None]:
    """Turn what the system says of writing into a StorageError that names the file."""
    try:
        yield
    except OSError as error:
        path = error.filename if isinstance(error.filename, str) else what
        raise StorageError(
            f"Cannot write {path}: {error.strerror or error}. Make room, or give "
            "another place."
        ) from error


def is_there(folder: Path) -> bool:
    """Tell whether a path is a folder; a name that no system allows is none."""
    try:
        return folder.is_dir()
    except (OSError, ValueError):
        return False


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder; a link that goes round in circles is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False
