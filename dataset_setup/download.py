"""Finds or downloads official archives, those of LibriSpeech first; checks their sums.

Downloads lie in a hidden folder of their own until they are unpacked; archives that
somebody else brought are never changed or removed.
"""

import contextlib
import dataclasses
import hashlib
import http
import http.client
import shutil
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from algorithmic_efficiency.errors import DataError, StorageError
from algorithmic_efficiency.text import show

URL = "https://www.openslr.org/resources/12"
ATTEMPTS = 5  # in a row that bring nothing
WAIT_SECONDS = 10
TIMEOUT_SECONDS = 60
_CHUNK = 1 << 20
_FOLDER = ".downloads"


@dataclasses.dataclass(frozen=True)
class Archive:
    """One of the official archives.

    Attributes:
      subset: its name without `suffix`.
      size: in bytes.
      sha256: of the file, in hexadecimal.
      folder: the address that the file lies under; '' for `URL`.
      suffix: of the file's name.
    """

    subset: str
    size: int
    sha256: str
    folder: str = ""
    suffix: str = ".tar.gz"

    @property
    def file_name(self) -> str:
        """As it is called where it is published."""
        return f"{self.subset}{self.suffix}"

    @property
    def source(self) -> str:
        """The address of the folder that it is downloaded from."""
        return self.folder or URL


# As tensorflow-datasets 4.9.10 publishes them (datasets/librispeech/checksums.tsv).
ARCHIVES = (
    Archive(
        "train-clean-100",
        6_387_309_499,
        "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
    ),
    Archive(
        "train-clean-360",
        23_049_477_885,
        "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
    ),
    Archive(
        "train-other-500",
        30_593_501_606,
        "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
    ),
    Archive(
        "dev-clean",
        337_926_286,
        "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    ),
    Archive(
        "dev-other",
        314_305_928,
        "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
    ),
    Archive(
        "test-clean",
        346_663_984,
        "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    ),
)


def find(archive: Archive, folders: Sequence[Path]) -> Path | None:
    """Returns where an archive lies in some folders; None where it does not."""
    paths = (folder / archive.file_name for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def announce(missing: Sequence[Archive], absent: Sequence[Archive], root: Path) -> None:
    """Says what will be downloaded, having looked whether there is room for it.

    FLAC files hardly become smaller in an archive, so each takes its size again when it
    is unpacked; it is removed before the next one is downloaded.

    Args:
      missing: the archives that will be downloaded.
      absent: those that will be unpacked, the missing ones included.
      root: where to.

    Raises:
      StorageError: there is too little room.
    """
    if not missing:
        return
    largest = max(archive.size for archive in missing)
    needed = sum(archive.size for archive in absent) + largest - _begun(root)
    place = next(path for path in (root, *root.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    names = ", ".join(archive.file_name for archive in missing)
    size = sum(archive.size for archive in missing)
    show(
        f"Downloading {names} from {missing[0].source}: {_gigabytes(size)}, which with "
        f"what is unpacked take up to {_gigabytes(needed)} more in {root}.",
    )
    if free < needed:
        raise StorageError(
            f"{place} has {_gigabytes(free)} of free space, expected "
            f"{_gigabytes(needed)}; choose another folder by --data_dir."
        )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.{1 if size >= 1e8 else 3}f} GB"


def _begun(root: Path) -> int:
    """Returns the bytes of what an attempt before this one began to write."""
    begun = *root.glob(".*.partial/*/*/*"), *root.glob(f"{_FOLDER}/*")
    return sum(path.stat().st_size for path in begun)


def verify(archive: Archive, path: Path) -> None:
    """Compares a file with the published size and SHA-256 sum.

    Raises:
      DataError: it is another file, damaged or cut off.
      StorageError: it cannot be read.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error}.") from error
    if found != archive.sha256:
        raise DataError(
            f"{path} ({size:,} bytes) is not the published {archive.file_name} "
            f"({archive.size:,} bytes) or is damaged: its SHA-256 sum differs. Remove "
            "it and run the command again."
        )


def download(archive: Archive, root: Path) -> Path:
    """Downloads an archive, going on where an earlier attempt ended; returns its path.

    Raises:
      DataError: the server cannot be reached, or what it gave has another sum.
      StorageError: the disk is full or the folder cannot be written.
    """
    path = _path(archive, root)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch(archive, path)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error}. The same command goes on from here."
        ) from error
    try:
        verify(archive, path)
    except DataError:
        path.unlink()  # going on with it would be in vain
        raise
    return path


def remove(archive: Archive, root: Path) -> None:
    """Removes what `download` left of an archive.

    Raises:
      StorageError: it cannot be removed.
    """
    path = _path(archive, root)
    try:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()  # there may be others in it
    except OSError as error:
        raise StorageError(f"{path} cannot be removed: {error}.") from error


def _path(archive: Archive, root: Path) -> Path:
    return root / _FOLDER / archive.file_name


def _fetch(archive: Archive, path: Path) -> None:
    """Appends to a file until it has its size, through interruptions."""
    url, failures = f"{archive.source}/{archive.file_name}", 0
    total, name = archive.size, archive.file_name
    with path.open("ab") as file, tqdm(desc=name, total=total, unit="B") as bar:
        bar.update(file.tell())
        while file.tell() < total:
            start, reason = file.tell(), "it sent less than the whole file"
            try:
                for chunk in _stream(url, start):
                    file.write(chunk[: total - file.tell()])
                    bar.update(len(chunk))
                    if file.tell() == total:
                        break
            except _LostError as error:
                reason = str(error)
            failures = 0 if file.tell() > start else failures + 1
            if failures == ATTEMPTS:
                raise DataError(
                    f"{url} cannot be downloaded: {reason}. Run the command again to "
                    "go on, or give a folder with the archives by --archives."
                )
            if failures:
                time.sleep(WAIT_SECONDS)


class _LostError(Exception):
    """The network failed, not the disk; the message says how."""


def _stream(url: str, start: int) -> Iterator[bytes]:
    """Yields what a server has of a file, from a byte on."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            skip = start if response.status == http.HTTPStatus.OK else 0
            while skip:  # a server that knows no ranges begins at the beginning
                skip -= len(response.read(min(skip, _CHUNK))) or skip
            while chunk := response.read1(_CHUNK):
                yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise _LostError(str(error)) from error
