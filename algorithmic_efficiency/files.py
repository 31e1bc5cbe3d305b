"""Files and folders that appear whole or not at all, whoever is killed half-way."""

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from algorithmic_efficiency.errors import DataError, StorageError, UsageError

_STALE_SECONDS = 3_600
_FOREIGN = {"lost+found", "system volume information", "cvs"}
_FOREIGN_STARTS = (".", "@", "#", "$", "~", "__")


@contextlib.contextmanager
def atomic(path: Path, advice: str) -> Iterator[Path]:
    """Gives a temporary path to write to, and renames it to `path` at the end.

    Args:
      path: the file; what was there before stays until the new one is whole.
      advice: the sentence that an error ends with.

    Raises:
      StorageError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"{path} could not be written ({error.strerror or error}). {advice}"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def readable() -> Iterator[None]:
    """Makes what the system says about a file or folder a DataError; also a decorator.

    Raises:
      DataError: it cannot be read.
    """
    try:
        yield
    except OSError as error:
        name = f"{os.fsdecode(error.filename)} " if error.filename else "A file "
        raise DataError(f"{name}cannot be read: {error.strerror or error}.") from error


def is_foreign(name: str) -> bool:
    """Whether a folder is hidden, or of those that systems leave behind among data.

    File servers (`@eaDir`, `#recycle`), notebooks (`.ipynb_checkpoints`), archivers
    (`__MACOSX`) and operating systems (`lost+found`, `$RECYCLE.BIN`) make them.
    """
    return name.startswith(_FOREIGN_STARTS) or name.strip().casefold() in _FOREIGN


def regular(path: Path) -> os.stat_result:
    """Returns what the system knows of a file.

    Raises:
      OSError: it is not there; or a folder, a pipe or a device, of no known size.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "It is no file", str(path))
    return found


def read_bytes(path: Path, most: int) -> bytes:
    """Returns the bytes of a file that has `most` of them at most.

    Raises:
      OSError: it is larger, no plain file, or cannot be read.
    """
    size = regular(path).st_size
    if size > most:
        raise OSError(errno.EFBIG, f"It has {size:,} bytes, at most {most:,} are read")
    with path.open("rb") as file:
        return file.read(most)


def read_text(path: Path, most: int) -> str:
    """Returns a text in UTF-8 of `most` bytes at most, without a byte order mark.

    Only a caller knows what ends a line of it: `str.splitlines` also splits at
    characters that may be part of a text.

    Raises:
      DataError: it is larger, not in UTF-8, or cannot be read.
    """
    try:
        return read_bytes(path, most).decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} cannot be read: byte {error.start:,} is not UTF-8."
        ) from error


@contextlib.contextmanager
def exclusive(folder: Path, flag: str, otherwise: str = "") -> Iterator[None]:
    """Keeps other processes out of a folder, which is made where it is not there.

    The lock, a file `.lock` in it, ends with the process, however that ends.

    Args:
      flag: of the command line, by which another folder is given.
      otherwise: what else to do than to wait, for an error.

    Raises:
      UsageError: another process holds it.
      StorageError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be written ({error.strerror}). Give a folder of yours "
            f"with {flag}."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"Another process is running in {folder}. Wait for it{otherwise}."
            ) from error
        yield


def make_folder(
    folder: Path, fill: Callable[[Path], None], what: str, megabytes: int
) -> None:
    """Makes a folder by `fill`, under another name that is changed when it is whole.

    A folder under the final name is complete, whoever was stopped half-way or made it
    at the same time; where one is there already at the end, it stays.

    Args:
      folder: the final name; what is needed above it is made too.
      fill: writes everything into the folder that it is given.
      what: is made, in the plural, for an error.
      megabytes: of space that it takes.

    Raises:
      StorageError: the folder cannot be written or the disk is full.
    """
    parent, partial = folder.parent, None
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(parent, folder.name)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=parent))
        fill(partial)
        partial.chmod(0o755)
        _publish(partial, folder)
    except OSError as error:
        raise StorageError(
            f"The {what} cannot be written to {parent}: {error.strerror}. "
            f"Choose a folder with {megabytes} MB of free space by --data_dir."
        ) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def _publish(partial: Path, folder: Path) -> None:
    """Gives the whole folder its final name, or leaves the one that is there."""
    try:
        partial.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _remove_stale(parent: Path, name: str) -> None:
    """Removes what processes left that were killed while they made the folder."""
    oldest = time.time() - _STALE_SECONDS
    for path in parent.glob(f".{name}.*"):
        if path.stat().st_mtime < oldest:
            shutil.rmtree(path, ignore_errors=True)
