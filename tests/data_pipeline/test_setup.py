"""The command that unpacks and checks ImageNet, on tar files of a few images."""

import os
from pathlib import Path

import pytest
from image_trees import JPEG
from tar_files import BASE, TRUTH, VAL, WNIDS, run, write_tars

from algorithmic_efficiency.data import Folders
from dataset_setup import archives, check, doctor, setup
from workloads._imagenet.data import open_full


@pytest.fixture
def tars(tmp_path):
    return write_tars(tmp_path / "tars")


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(check, "BASE", BASE)


def label_file(tars, form):
    """Writes the classes of the validation images in one of the known forms."""
    pairs = list(zip(VAL, TRUTH, strict=True))
    rows = {
        "kaggle": ["ImageId,PredictionString"]
        + [f"{name},{wnid} 1 2 3 4 {wnid} 5 6 7 8" for name, wnid in reversed(pairs)],
        "names and wnids": [f"{name}.JPEG {wnid}" for name, wnid in pairs],
        "names and numbers": [
            f"{name}.JPEG {sorted(WNIDS).index(wnid)}" for name, wnid in pairs
        ],
        "wnids": TRUTH,
        "devkit": [str(1 + WNIDS.index(wnid)) for wnid in TRUTH],
    }[form]
    path = tars / "labels.txt"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(
    "form", ["kaggle", "names and wnids", "names and numbers", "wnids", "devkit"]
)
def test_tar_files_become_folders(tmp_path, tars, form, capsys):
    (tars / "synsets.txt").write_text("\n".join(WNIDS))
    status = run(
        tmp_path,
        f"--train_tar={tars}/train.tar",
        f"--val_tar={tars}/val.tar",
        f"--val_labels={label_file(tars, form)}",
        f"--synsets={tars}/synsets.txt",
        f"--test_tar={tars}/test.tar",
    )
    status += run(tmp_path, command=doctor)
    output = capsys.readouterr().out
    assert status == 0, output
    assert "train: 12 of 12 images in" in output
    folders = Folders(tmp_path / "data")
    train, val, test = (open_full(folders, s) for s in ("train", "validation", "test"))
    assert [train[k].label for k in range(12)] == [0] * 4 + [1] * 4 + [2] * 4
    assert Path(train[6].image).read_bytes() == JPEG + bytes(2)
    found = {Path(val[k].image).stem: Path(val[k].image).parent.name for k in range(4)}
    assert found == {f"ILSVRC2012_val_{k:08d}": TRUTH[k - 1] for k in range(1, 5)}
    assert [test[k].label for k in range(6)] == [0, 0, 1, 1, 2, 2]
    assert not list((tmp_path / "data" / "imagenet").glob(".*"))


def test_unpacking_goes_on_after_an_interruption(tmp_path, tars, capsys, monkeypatch):
    copy, copied = archives.shutil.copyfileobj, []

    def full_at_the_seventh(source, target, length):
        copied.append(target)
        if len(copied) == 7:
            raise OSError(28, os.strerror(28))
        copy(source, target, length)

    monkeypatch.setattr(archives.shutil, "copyfileobj", full_at_the_seventh)
    assert run(tmp_path, f"--train_tar={tars}/train.tar") == 2
    assert "No space left on device. The same command goes" in capsys.readouterr().err
    root = tmp_path / "data" / "imagenet"
    partial = root / ".train.partial"
    first = partial / "n03" / "n03_0.JPEG"
    kept = first.stat().st_mtime_ns
    assert not (root / "train").exists()
    (partial / "n03" / "n03_1.JPEG").write_bytes(JPEG[:9])  # killed while writing
    monkeypatch.undo()
    monkeypatch.setattr(check, "BASE", BASE)
    assert run(tmp_path, f"--train_tar={tars}/train.tar") == 1  # val and test are not
    assert (root / "train" / "n03" / "n03_0.JPEG").stat().st_mtime_ns == kept
    assert (root / "train" / "n03" / "n03_1.JPEG").read_bytes() == JPEG + bytes(1)
    assert len(list(root.glob("train/*/*"))) == 12
    assert run(tmp_path, f"--train_tar={tars}/train.tar") == 1
    assert "is there already" in capsys.readouterr().out


def test_doctor_lists_what_is_missing_and_broken(tmp_path, tars, capsys):
    run(tmp_path, f"--train_tar={tars}/train.tar", f"--test_tar={tars}/test.tar")
    root = tmp_path / "data" / "imagenet"
    broken = root / "train" / "n02" / "n02_3.JPEG"
    broken.write_bytes(JPEG[:-50])
    (root / "train" / "n01" / "n01_0.JPEG").unlink()
    capsys.readouterr()
    assert run(tmp_path, command=doctor) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"train: 11 of 12 images in {root}/train",
        f"  {broken}: is a JPEG that is cut off: its end-of-image marker is missing",
        "validation: not found, expected 4 images",
        f"test: 6 of 6 images in {root}/imagenet_v2",
    ]


def test_missing_tar_file_is_one_sentence(tmp_path, capsys):
    assert run(tmp_path, f"--train_tar={tmp_path}/gone.tar") == 2
    error = capsys.readouterr().err
    assert "gone.tar cannot be unpacked" in error and error.count("\n") == 1


def test_mini_prints_where_it_is(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(setup.mini, "COUNTS", {"train": 10, "val": 10, "test": 10})
    monkeypatch.setattr(setup.mini_speech, "prepare", lambda path: path / "speech")
    assert setup.main(["mini", f"--data_dir={tmp_path}"]) == 0
    (folder,) = tmp_path.iterdir()
    assert capsys.readouterr().out == f"{folder}\n{tmp_path}/speech\n"
