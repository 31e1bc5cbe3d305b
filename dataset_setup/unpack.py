"""Unpacks the official tar files of ImageNet and LibriSpeech into folders.

A split is unpacked under a name with a leading dot, which no reader looks into, and
renamed when it is whole. Called again after an interruption, it goes on: files that
have their full size are left as they are.
"""

import dataclasses
import itertools
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from algorithmic_efficiency.errors import DataError, StorageError, UsageError
from workloads._imagenet.folders import class_names

Member = tuple[str, tarfile.TarFile, tarfile.TarInfo]  # folder, where it lies, file


@dataclasses.dataclass(frozen=True)
class Labels:
    """Where the classes of the validation images are written.

    Attributes:
      path: one of three: Kaggle's LOC_val_solution.csv; lines of file name and class
        (a wnid, or its number from 0 among the sorted wnids); or one class a line in
        the order of the images (a wnid, or the devkit's number from 1).
      synsets: wnids in the order of the devkit's numbers, one a line.
      train: the training folder, whose classes are numbered in sorted order.
    """

    path: Path | None
    synsets: Path | None
    train: Path

    def read(self) -> dict[str, str]:
        """Returns image name without suffix -> wnid."""
        if self.path is None:
            raise UsageError(
                "--val_tar needs --val_labels, the class of each validation image, for "
                "example Kaggle's LOC_val_solution.csv."
            )
        text = _lines(self.path)
        rows = [line.replace(",", " ").split()[:2] for line in text]
        rows = [row for row in rows if row[0] != "ImageId"]
        if len(rows[0]) == 1:
            numbered = itertools.count(1)
            rows = [[f"ILSVRC2012_val_{next(numbered):08d}", row[0]] for row in rows]
            names, first = self._devkit_order, 1
        else:
            names, first = self._sorted_order, 0
        if rows[0][1].isdecimal():
            known = names()
            rows = [[name, known[int(number) - first]] for name, number in rows]
        return {Path(name).stem: wnid for name, wnid in rows}

    def _devkit_order(self) -> list[str]:
        if self.synsets is None:
            raise UsageError(
                f"{self.path} has the devkit's numbers; they need --synsets, a file "
                "with the wnids in the order of these numbers (WNID in meta.mat)."
            )
        return [line.split()[0] for line in _lines(self.synsets)]

    def _sorted_order(self) -> list[str]:
        return class_names(self.train)


def train(tar: Path, folder: Path) -> None:
    """Unpacks ILSVRC2012_img_train.tar, a tar file of one tar file per class."""
    _unpack(tar, folder, _train_members)


def validation(tar: Path, folder: Path, labels: Labels) -> None:
    """Unpacks ILSVRC2012_img_val.tar, whose images lie side by side."""
    classes = labels.read()

    def members(outer: tarfile.TarFile) -> Iterator[Member]:
        for member in _files(outer):
            stem = Path(member.name).stem
            if stem not in classes:
                raise DataError(
                    f"{labels.path} has no class for {member.name} of {tar}."
                )
            yield classes[stem], outer, member

    _unpack(tar, folder, members)


def test(tar: Path, folder: Path) -> None:
    """Unpacks imagenetv2-matched-frequency.tar.gz, which has class folders."""
    _unpack(tar, folder, _test_members)


def speech(tar: Path, folder: Path) -> None:
    """Unpacks a subset of LibriSpeech, from train-clean-100.tar.gz and the like."""
    chapter = re.compile(
        rf"LibriSpeech/{folder.name}/(\d+/\d+)/[\d-]+\.(flac|trans\.txt)"
    )

    def members(outer: tarfile.TarFile) -> Iterator[Member]:
        for member in _files(outer):
            if found := chapter.fullmatch(member.name):
                yield found[1], outer, member

    _unpack(tar, folder, members)


def _train_members(outer: tarfile.TarFile) -> Iterator[Member]:
    for member in _files(outer):
        with tarfile.open(fileobj=outer.extractfile(member)) as inner:
            for image in _files(inner):
                yield Path(member.name).stem, inner, image


def _test_members(outer: tarfile.TarFile) -> Iterator[Member]:
    for member in _files(outer):
        yield Path(member.name).parent.name, outer, member


def _files(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yields the files of a tar, in its order."""
    return (member for member in tar if member.isfile())


def _unpack(
    tar: Path, folder: Path, members: Callable[[tarfile.TarFile], Iterator[Member]]
) -> None:
    """Writes members as `<folder>/<their folder>/<name>`; it appears when it is whole.

    Raises:
      DataError: the tar file is damaged.
      StorageError: a file cannot be read or written.
    """
    if folder.is_dir():
        print(f"{folder} is there already; remove it to unpack {tar} again.")
        return
    partial = folder.with_name(f".{folder.name}.partial")
    print(f"Unpacking {tar} into {folder}.")
    try:
        with tarfile.open(tar) as outer:
            for name, inner, member in members(outer):
                _write(partial / name / Path(member.name).name, inner, member)
        partial.rename(folder)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{tar} is not a complete tar file: {error}.") from error
    except OSError as error:
        raise StorageError(
            f"{tar} cannot be unpacked into {folder}: {error}. The same command goes "
            "on from here."
        ) from error


def _write(path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    """Writes one file, unless it is there in its full size."""
    if path.exists() and path.stat().st_size == member.size:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    data = content.read() if content else b""
    if len(data) < member.size:
        raise tarfile.ReadError(f"{member.name} is cut off")
    path.write_bytes(data)


def _lines(path: Path) -> list[str]:
    """Returns the lines of a text file that are not empty."""
    try:
        lines = [line for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    if not lines:
        raise DataError(f"{path} is empty.")
    return lines
