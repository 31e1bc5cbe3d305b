"""Prepares data: `python -m datasets.setup mini` and `... imagenet`.

The mini images are drawn. ImageNet cannot be downloaded without an account, so its tar
files are given by the user; they are unpacked into `<data_dir>/imagenet`. docs/data.md
shows every form of the command.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.errors import UserError
from datasets import check, unpack
from workloads._imagenet import mini


def main(argv: Sequence[str]) -> int:
    """Runs one command; returns its exit code, 2 where the user must do something."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m datasets.setup", description=__doc__
    )
    commands = parser.add_subparsers(required=True, metavar="{mini,imagenet}")
    drawn = commands.add_parser("mini", help="draw the mini images")
    drawn.set_defaults(run=_mini)
    full = commands.add_parser("imagenet", help="unpack or check ImageNet")
    full.set_defaults(run=_imagenet)
    for command in (drawn, full):
        command.add_argument("--data_dir", type=_folder, default=_folder("~/data"))
    add = full.add_argument
    add("--imagenet_v2_data_dir", type=_folder, help="where else ImageNet-v2 may lie")
    add("--train_tar", type=_folder, help="ILSVRC2012_img_train.tar")
    add("--val_tar", type=_folder, help="ILSVRC2012_img_val.tar")
    add("--val_labels", type=_folder, help="class of each validation image")
    add("--synsets", type=_folder, help="wnids in the order of the devkit's numbers")
    add("--test_tar", type=_folder, help="imagenetv2-matched-frequency.tar.gz")
    add("--check", action="store_true", help="count all images and decode each of them")
    return parser


def _folder(path: str) -> Path:
    return Path(path).expanduser()


def _mini(arguments: argparse.Namespace) -> int:
    print(mini.prepare(arguments.data_dir))
    return 0


def _imagenet(arguments: argparse.Namespace) -> int:
    """Unpacks what tar files are given, then checks, or shows what was found."""
    root = arguments.data_dir / "imagenet"
    if arguments.train_tar:
        unpack.train(arguments.train_tar, root / "train")
    if arguments.val_tar:
        labels = unpack.Labels(arguments.val_labels, arguments.synsets, root / "train")
        unpack.validation(arguments.val_tar, root / "val", labels)
    if arguments.test_tar:
        unpack.test(arguments.test_tar, root / "imagenet_v2")
    folders = Folders(arguments.data_dir, arguments.imagenet_v2_data_dir)
    return check.imagenet(folders, decode=arguments.check)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
