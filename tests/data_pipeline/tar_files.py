"""Tar files of ImageNet with a few images, and the command that unpacks them."""

import dataclasses
import io
import tarfile

from image_trees import JPEG

from dataset_setup import check, setup

WNIDS = ["n03", "n01", "n02"]  # in the order of the devkit's numbers
TRUTH = ["n02", "n03", "n01", "n02"]  # of the validation images
VAL = [f"ILSVRC2012_val_{k:08d}" for k in range(1, 5)]
BASE = dataclasses.replace(
    check.BASE,
    num_train_examples=12,
    num_validation_examples=4,
    num_test_examples=6,
    model={**check.BASE.model, "num_classes": 3},
)


def tar_of(files, mode="w", **header):
    """Returns the bytes of a tar file; `header` changes every entry."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for field, value in header.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def train_tar():
    classes = {
        f"{wnid}.tar": tar_of({f"{wnid}_{k}.JPEG": JPEG + bytes(k) for k in range(4)})
        for wnid in WNIDS
    }
    return tar_of(classes)


def write_tars(folder):
    """Writes the three official archives."""
    folder.mkdir()
    (folder / "train.tar").write_bytes(train_tar())
    (folder / "val.tar").write_bytes(tar_of({f"{name}.JPEG": JPEG for name in VAL}))
    root = "imagenetv2-matched-frequency-format-val"
    (folder / "test.tar").write_bytes(
        tar_of({f"{root}/{k}/{n}.jpeg": JPEG for k in range(3) for n in "ab"})
    )
    return folder


def run(tmp_path, *options, command=setup):
    return command.main(["imagenet", f"--data_dir={tmp_path / 'data'}", *options])


def written(tmp_path):
    """Returns every file that the command left, without its lock."""
    found = (p for p in tmp_path.rglob("*") if not p.is_dir() and p.name != ".lock")
    tars = tmp_path / "tars"
    return sorted(str(p.relative_to(tmp_path)) for p in found if tars not in p.parents)
