"""Unpacks the official tar files of ImageNet, LibriSpeech and CIFAR-10 into folders.

A split is unpacked under a name with a leading dot, which no reader looks into, and
renamed when it is whole. Called again after an interruption, it goes on: files that
have their full size are left as they are. Only files whose names are as expected leave
an archive.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from algorithmic_efficiency.errors import DataError, StorageError
from algorithmic_efficiency.text import show
from dataset_setup.archives import Archive, opened
from dataset_setup.labels import Label, Labels, stem
from workloads._images.classes import WNID, classes_in, shown

_IMAGE = r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\.(?i:jpe?g|png))"
_CLASS_TAR = re.compile(rf"(?:[^/]+/|/)*(?P<wnid>{WNID.pattern})\.tar")
_ANYWHERE = re.compile(rf"(?:[^/]*/)*{_IMAGE}")
_IN_CLASS = re.compile(rf"(?:[^/]*/)*(?P<folder>[0-9]{{1,4}}|{WNID.pattern})/{_IMAGE}")
_CIFAR_FILE = re.compile(r"(?:[^/]*/)*(?P<name>data_batch_[1-5]\.bin|test_batch\.bin)")
_MOST_CLASS_BYTES = 16 << 30  # of the images of one class


def train(tar: Path, folder: Path) -> None:
    """Unpacks ILSVRC2012_img_train.tar, a tar file of one tar file per class."""
    if _is_there(tar, folder):
        return
    with _into(tar, folder) as (outer, partial):
        classes = list(outer.find(_CLASS_TAR, _MOST_CLASS_BYTES))
        if not classes:
            raise outer.nothing("class archives such as n01440764.tar")
        for found, member in classes:
            inner = outer.inner(member)
            for image, file in list(inner.find(_ANYWHERE)):
                inner.write(file, partial / found["wnid"] / image["name"])


def class_names(tar: Path | None, folder: Path) -> list[str]:
    """Returns the sorted classes of the training images, unpacked or not; [] without.

    Raises:
      DataError: the tar file or the folder is damaged.
      StorageError: the tar file cannot be read.
    """
    if folder.is_dir():
        return classes_in(folder).names
    if tar is None:
        return []
    with _reading(tar), opened(tar) as outer:
        found = outer.find(_CLASS_TAR, _MOST_CLASS_BYTES)
        return sorted(name["wnid"] for name, _ in found)


def compare(tar: Path, labels: Labels) -> dict[str, Label]:
    """Returns the labels of the images in ILSVRC2012_img_val.tar; nothing is written.

    Raises:
      UsageError, DataError: the labels are not those of its images.
      StorageError: the tar file cannot be read.
    """
    classes = labels.read()
    with _reading(tar), opened(tar) as outer:
        names = [found["name"] for found, _ in outer.find(_ANYWHERE)]
        if not names:
            raise outer.nothing("images such as ILSVRC2012_val_00000001.JPEG")
    _match(tar, names, labels, classes)
    return classes


def validation(tar: Path, folder: Path, labels: Labels) -> None:
    """Unpacks ILSVRC2012_img_val.tar, whose images lie side by side.

    Raises:
      UsageError, DataError: the labels are not those of its images.
    """
    if _is_there(tar, folder):
        return
    classes = compare(tar, labels)
    with _into(tar, folder) as (outer, partial):
        places = {
            partial / classes[stem(found["name"])].wnid / found["name"]: member
            for found, member in outer.find(_ANYWHERE)
        }
        for path in partial.glob("*/*"):
            if path not in places:  # put there by other labels, in an earlier attempt
                path.unlink()
        for path, member in places.items():
            outer.write(member, path)


def test(tar: Path, folder: Path) -> None:
    """Unpacks imagenetv2-matched-frequency.tar.gz, which has class folders."""
    if _is_there(tar, folder):
        return
    with _into(tar, folder) as (outer, partial):
        images = list(outer.find(_IN_CLASS))
        if not images:
            raise outer.nothing("images in folders such as 0/name.jpeg")
        for found, member in images:
            outer.write(member, partial / found["folder"] / found["name"])


def speech(tar: Path, folder: Path) -> None:
    """Unpacks a subset of LibriSpeech, from train-clean-100.tar.gz and the like."""
    pattern = re.compile(
        rf"LibriSpeech/{re.escape(folder.name)}/(?P<chapter>[0-9]+/[0-9]+)/"
        r"(?P<name>[0-9-]+\.(flac|trans\.txt))"
    )
    if _is_there(tar, folder):
        return
    with _into(tar, folder) as (outer, partial):
        files = list(outer.find(pattern))
        if not files:
            raise outer.nothing(f"utterances in LibriSpeech/{folder.name}")
        outer.left_out.clear()  # the official archives have a few texts beside them
        for found, member in files:
            outer.write(member, partial / found["chapter"] / found["name"])


def cifar(tar: Path, folder: Path) -> None:
    """Unpacks cifar-10-binary.tar.gz, six files of images."""
    if _is_there(tar, folder):
        return
    with _into(tar, folder) as (outer, partial):
        files = list(outer.find(_CIFAR_FILE))
        if not files:
            raise outer.nothing("files such as data_batch_1.bin")
        outer.left_out.clear()  # the official archive has two texts beside them
        for found, member in files:
            outer.write(member, partial / found["name"])


def _is_there(tar: Path, folder: Path) -> bool:
    """Whether a split is unpacked already, which is then said."""
    if folder.is_dir():
        show(f"{folder} is there already; remove it to unpack {tar} again.")
        return True
    return False


def _match(
    tar: Path, images: list[str], labels: Labels, classes: dict[str, Label]
) -> None:
    """Raises a DataError unless each image has a label and each label an image."""
    stems = {stem(name) for name in images}
    if len(stems) < len(images):
        raise DataError(f"{tar} has two images of one name in different folders.")
    lost = next((name for name in images if stem(name) not in classes), None)
    spare = next((label for name, label in classes.items() if name not in stems), None)
    if not lost and not spare:
        return
    why = f"no class for {lost}" if lost else ""
    if spare:
        also = f"line {spare.line} is for {spare.image}, which is not in it"
        why = f"{why}, and {also}" if why else also
    raise DataError(
        f"{labels.path} has {len(classes):,} classes for {len(images):,} images of "
        f"{tar}: {why}."
    )


@contextlib.contextmanager
def _into(tar: Path, folder: Path) -> Iterator[tuple[Archive, Path]]:
    """Opens an archive and gives the folder to write to, which is renamed at the end.

    Raises:
      DataError: the tar file is damaged.
      StorageError: a file cannot be read or written.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    show(f"Unpacking {tar} into {folder}.")
    with _reading(tar, f" into {folder}"):
        with opened(tar) as archive:
            yield archive, partial
        partial.rename(folder)
    if archive.left_out:
        show(f"Left out of {tar}: {shown(archive.left_out)}.")


@contextlib.contextmanager
def _reading(tar: Path, where: str = "") -> Iterator[None]:
    """Says of which archive a file could not be read or written."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{tar} cannot be unpacked{where}: {error}. The same command goes on from "
            "here."
        ) from error
