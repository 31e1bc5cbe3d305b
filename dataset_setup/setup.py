"""Prepares data: `python -m dataset_setup mini`, `... imagenet`, `... librispeech` etc.

The mini images are drawn, the mini speech is unpacked. ImageNet cannot be downloaded
without an account, so its tar files are given by the user; they are unpacked into
`<data_dir>/imagenet`. LibriSpeech is downloaded, or unpacked from given archives, into
`<data_dir>/LibriSpeech`; so are CIFAR-10 and MNIST, into `cifar` and `mnist`. Commands
such as `doctor imagenet` look at every file afterwards. docs/data.md shows every form.
"""

import argparse
import contextlib
import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.errors import UsageError, UserError
from algorithmic_efficiency.files import exclusive, readable
from algorithmic_efficiency.paths import folder_of, path_of
from algorithmic_efficiency.text import show
from dataset_setup import check, check_speech, download, small_images, unpack
from dataset_setup.labels import Labels
from workloads._imagenet import mini
from workloads._librispeech import layout
from workloads._librispeech import mini as mini_speech
from workloads._librispeech.data import find_root

_FILES = {
    "train_tar": "ILSVRC2012_img_train.tar",
    "val_tar": "ILSVRC2012_img_val.tar",
    "val_labels": "class of each validation image",
    "synsets": "wnids in the order of the devkit's numbers",
    "test_tar": "imagenetv2-matched-frequency.tar.gz",
}


def main(argv: Sequence[str]) -> int:
    """Runs one command; returns its exit code, 2 where the user must do something."""
    try:
        arguments = _parser().parse_args(argv)
        with readable():
            return int(arguments.run(arguments))
    except UserError as error:
        show(str(error), sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dataset_setup", description=__doc__
    )
    commands = parser.add_subparsers(
        required=True, metavar="{mini,imagenet,librispeech,cifar,mnist,doctor}"
    )
    drawn = commands.add_parser("mini", help="make the mini images and speech")
    drawn.set_defaults(run=_mini)
    full = commands.add_parser("imagenet", help="unpack and count ImageNet")
    full.set_defaults(run=_imagenet)
    speech = commands.add_parser(
        "librispeech",
        help="download LibriSpeech (61 GB), index it, repair what was set up",
    )
    speech.set_defaults(run=_librispeech)
    small = [
        commands.add_parser(name, help=f"download {size}, or unpack it")
        for name, size in (("cifar", "CIFAR-10 (170 MB)"), ("mnist", "MNIST (12 MB)"))
    ]
    for command, run in zip(small, (_cifar, _mnist), strict=True):
        command.set_defaults(run=run)
    for command in (drawn, full, speech, *small):
        command.add_argument(
            "--data_dir",
            type=functools.partial(folder_of, "data_dir"),
            default="~/data",
            help="where all data lie; ~/data by default",
        )
    full.add_argument(
        "--imagenet_v2_data_dir",
        type=functools.partial(folder_of, "imagenet_v2_data_dir"),
        help="where else ImageNet-v2 may lie",
    )
    for flag, content in _FILES.items():
        read = functools.partial(path_of, flag)
        full.add_argument(f"--{flag}", type=read, help=content)
    for command in (speech, *small):
        command.add_argument(
            "--archives",
            type=functools.partial(path_of, "archives"),
            action="append",
            default=[],
            help="a folder with official archives such as train-clean-100.tar.gz; may "
            "be given again; archives that lie in none are downloaded",
        )
    return parser


def _mini(arguments: argparse.Namespace) -> int:
    show(str(mini.prepare(arguments.data_dir)))
    show(str(mini_speech.prepare(arguments.data_dir)))
    return 0


def _imagenet(arguments: argparse.Namespace) -> int:
    """Unpacks what tar files are given, then shows what was found."""
    if arguments.train_tar or arguments.val_tar or arguments.test_tar:
        with _alone(arguments.data_dir):
            _unpack_images(arguments, arguments.data_dir / "imagenet")
    elsewhere = arguments.imagenet_v2_data_dir
    folders = Folders(arguments.data_dir).replaced(imagenet_v2_data_dir=elsewhere)
    return check.imagenet(folders, decode=False)


def _unpack_images(arguments: argparse.Namespace, root: Path) -> None:
    """Unpacks what was given, after a look whether the labels fit."""
    train, val = arguments.train_tar, arguments.val_tar
    labels = None
    if val and not (root / "val").is_dir():
        known = unpack.class_names(train, root / "train")
        labels = Labels(arguments.val_labels, arguments.synsets, known)
        unpack.compare(val, labels)
    if train:
        unpack.train(train, root / "train")
    if val:
        unpack.validation(val, root / "val", labels)
    if arguments.test_tar:
        unpack.test(arguments.test_tar, root / "imagenet_v2")


def _librispeech(arguments: argparse.Namespace) -> int:
    """Completes what is missing, mends what is damaged, then shows what was found."""
    for given in arguments.archives:
        if not given.is_dir():
            raise UsageError(
                f"--archives={given} is no folder; expected one with "
                f"{download.ARCHIVES[0].file_name} and the like."
            )
    root = find_root(arguments.data_dir)
    found = {a: download.find(a, arguments.archives) for a in download.ARCHIVES}
    with _alone(arguments.data_dir):
        absent = [a for a in download.ARCHIVES if not (root / a.subset).is_dir()]
        download.announce([a for a in absent if found[a] is None], absent, root)
        for archive, path in found.items():
            if archive in absent:
                _unpack_speech(archive, path, root)
            download.remove(archive, root)
        layout.complete(root, layout.SUBSETS, layout.VOCABULARY_SIZE)
    return check_speech.librispeech(Folders(arguments.data_dir), decode=False)


def _unpack_speech(archive: download.Archive, path: Path | None, root: Path) -> None:
    """Unpacks a subset from an archive that is there, or downloads it."""
    if path is None:
        path = download.download(archive, root)
    else:
        download.verify(archive, path)
    unpack.speech(path, root / archive.subset)


def _cifar(arguments: argparse.Namespace) -> int:
    with _alone(arguments.data_dir):
        return small_images.cifar(arguments.data_dir, arguments.archives)


def _mnist(arguments: argparse.Namespace) -> int:
    with _alone(arguments.data_dir):
        return small_images.mnist(arguments.data_dir, arguments.archives)


def _alone(data_dir: Path) -> contextlib.AbstractContextManager[None]:
    """Keeps a second setup out of a folder, unless nothing can be written there."""
    if data_dir.is_dir() and not os.access(data_dir, os.W_OK):
        return contextlib.nullcontext()
    return exclusive(data_dir, "--data_dir")
