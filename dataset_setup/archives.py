"""Reads tar archives that nobody vouches for: names, kinds and sizes are checked first.

tarfile takes an archive at its word: a header may claim any size, a name may lead
anywhere, and a few bytes of gzip may stand for terabytes.
"""

import bz2
import contextlib
import gzip
import lzma
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from algorithmic_efficiency.errors import DataError
from algorithmic_efficiency.files import regular
from workloads._images.classes import shown

MOST_FILE_BYTES = 256 << 20  # of an image or an utterance
_MOST_MEMBERS = 500_000  # train-other-500 has 150,000
_CHUNK = 1 << 20  # bytes read at once; a header that asks for more is damaged
_GROWTH = 4  # images and FLAC hardly shrink in an archive
_SLACK = 1 << 30  # bytes that any archive may unpack to
_COMPRESSED: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
# What tarfile and the decompressors raise for damaged data, beside OSError.
_DAMAGED = (
    tarfile.TarError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    ValueError,
    OverflowError,
    RecursionError,
)


class Archive:
    """An open tar file, with what of it is read.

    Attributes:
      path: of the archive, for errors.
      left_out: names of files that fitted no pattern, hidden ones not counted.
    """

    def __init__(self, path: Path, file: IO[bytes], size: int) -> None:
        """Reads the first header of a tar file, which takes `size` bytes, packed."""
        self.path = path
        self.left_out: list[str] = []
        self._file, self._size = file, size
        self._tar = tarfile.TarFile(fileobj=cast(Any, _Bounded(file)))

    def find(
        self, pattern: re.Pattern[str], most: int = MOST_FILE_BYTES
    ) -> Iterator[tuple[re.Match[str], tarfile.TarInfo]]:
        """Yields the plain files whose whole name fits; nothing of them is read.

        The pattern has to see to it that no name leads out of a folder.

        Args:
          pattern: of the names, in which folders are separated by '/'.
          most: bytes that a file may have.

        Raises:
          DataError: a file is larger, or there are too many, or two are alike in all
            groups of the pattern.
          Any of `_DAMAGED`, for `opened`: the archive is cut off or damaged.
        """
        parts: set[tuple[str, ...]] = set()
        total = 0
        for count, member in enumerate(self._tar):
            total += member.size
            self._check(member, count, total, most)
            match = pattern.fullmatch(member.name)
            if match is None or not member.isreg():
                hidden = member.name.rpartition("/")[2].startswith(".")
                if not member.isdir() and not hidden:
                    self.left_out.append(member.name)
                continue
            if match.groups() in parts:
                raise DataError(f"{self.path} has {ascii(member.name)} twice.")
            parts.add(match.groups())
            yield match, member
        self._read_to_the_end()

    def _check(
        self, member: tarfile.TarInfo, count: int, total: int, most: int
    ) -> None:
        if count >= _MOST_MEMBERS:
            raise DataError(
                f"{self.path} has more than {_MOST_MEMBERS:,} files, expected one of "
                "the official archives."
            )
        if member.issparse():
            raise DataError(
                f"{self.path} has {ascii(member.name)} as a sparse file, expected "
                "plain ones as in the official archives."
            )
        if not 0 <= member.size <= most or total > _GROWTH * self._size + _SLACK:
            raise DataError(
                f"{self.path} claims {member.size:,} bytes for {ascii(member.name)} "
                f"and {total:,} in all, which is more than such files have."
            )

    def _read_to_the_end(self) -> None:
        """Reads what follows the last file: a checksum comes at the end."""
        left = _SLACK
        while chunk := self._file.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise tarfile.ReadError("much follows its last file")

    def write(self, member: tarfile.TarInfo, path: Path) -> None:
        """Writes a file, unless it is there in its full size.

        Raises:
          OSError: it cannot be written.
        """
        if path.exists() and path.stat().st_size == member.size:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            shutil.copyfileobj(self._content(member), file, _CHUNK)
            if file.tell() < member.size:
                raise tarfile.ReadError(f"{member.name} is cut off")

    def inner(self, member: tarfile.TarInfo) -> "Archive":
        """Opens a plain tar file that lies in this one."""
        name = Path(f"{self.path}/{member.name}")
        return Archive(name, self._content(member), member.size)

    def _content(self, member: tarfile.TarInfo) -> IO[bytes]:
        return cast(IO[bytes], self._tar.extractfile(member))

    def nothing(self, expected: str) -> DataError:
        """Returns the error that none of the files is what was expected."""
        found = f"It has {shown(self.left_out)}." if self.left_out else "It is empty."
        return DataError(f"{self.path} holds no {expected}. {found}")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Opens a tar file, plain or compressed; what is damaged in it is said in words.

    Raises:
      DataError: it is not a tar file, cut off or damaged.
      OSError: it cannot be read.
    """
    size = regular(path).st_size
    with path.open("rb") as plain, contextlib.ExitStack() as stack:
        start = plain.read(6)
        plain.seek(0)
        file: Any = plain
        for magic, decompressed in _COMPRESSED.items():
            if start.startswith(magic):
                file = stack.enter_context(decompressed(plain))
        try:
            yield Archive(path, file, size)
        except _DAMAGED as error:
            reason = str(error).partition("\n")[0].rstrip(":.")
            raise DataError(f"{path} is not a complete tar file: {reason}.") from error


class _Bounded:
    """A file of which little is read at once, whatever a header asks for."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell
        self.seekable = file.seekable

    def read(self, size: int) -> bytes:
        """Returns up to so many bytes."""
        if not 0 <= size <= _CHUNK:
            raise tarfile.ReadError(f"a header claims {size:,} bytes")
        return self._file.read(size)
