"""The mini data: complete, repeatable, hard for a linear model, safe to interrupt."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.errors import StorageError
from workloads._imagenet import mini
from workloads._imagenet.data import open_split
from workloads._images.folders import FolderExamples
from workloads.imagenet_resnet.workload import WORKLOADS

ROOT = Path(__file__).parents[2]
FEW = {"train": 20, "val": 10, "test": 10}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    mini.prepare(folder)
    return folder


def pixels(folder, side):
    """Returns the images of a split as rows of small numbers, and their labels."""
    examples = [row for row in FolderExamples(folder)]
    area = cv2.INTER_AREA
    images = [
        cv2.resize(cv2.imread(row.image), (side, side), interpolation=area)
        for row in examples
    ]
    flat = np.asarray(images, np.float32).reshape(len(images), -1) / 255
    return flat, np.array([row.label for row in examples])


def test_splits_are_opened_by_the_definition(data_dir, capsys):
    definition = WORKLOADS["imagenet_resnet_mini"]
    sizes = {"train": 4000, "validation": 1000, "test": 1000, "eval_train": 1000}
    for split, size in sizes.items():
        dataset = open_split(definition, Folders(data_dir), split)
        assert len(dataset.examples) == size
        counts = np.bincount([dataset.examples[k].label for k in range(size)])
        assert len(counts) == 10
        if split != "eval_train":
            assert (counts == size // 10).all()
        fields = dataset.element(dataset.examples[0], None)
        batch = dataset.finish({key: value[None] for key, value in fields.items()})
        assert batch["inputs"].shape[1:] == definition.fields["inputs"].shape
    assert capsys.readouterr().err == ""


def test_images_are_jpeg_files_of_one_size(data_dir):
    (folder,) = data_dir.iterdir()
    paths = sorted(folder.glob("test/*/*.JPEG"))[::50]
    assert len(paths) == 20
    for path in paths:
        assert path.read_bytes().startswith(b"\xff\xd8\xff")
        assert cv2.imread(path).shape == (72, 72, 3)


def test_a_linear_model_stays_below_half(data_dir):
    (folder,) = data_dir.iterdir()
    inputs, targets = pixels(folder / "train", 24)
    unseen, truth = pixels(folder / "val", 24)
    mean = inputs.mean(0)
    inputs, unseen = inputs - mean, unseen - mean
    answers = np.eye(10, dtype=np.float32)[targets] - 0.1
    covariance = inputs.T @ inputs
    accuracies = []
    for strength in (1e-3, 1e-1, 1e1):
        ridge = strength * len(inputs) * np.eye(len(covariance), dtype=np.float32)
        weights = np.linalg.solve(covariance + ridge, inputs.T @ answers)
        accuracies.append(((unseen @ weights).argmax(1) == truth).mean())
    assert 0.08 < max(accuracies) < 0.4


def test_drawing_is_repeatable_and_said_once(tmp_path, capsys):
    first, second = (mini.prepare(tmp_path / k, counts=FEW) for k in "ab")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and lines[0].startswith("Drawing 40 mini images into")
    assert mini.prepare(tmp_path / "a", counts=FEW) == first
    assert capsys.readouterr().err == ""
    files = sorted(path.relative_to(first) for path in first.rglob("*.JPEG"))
    assert len(files) == 40
    contents = [(first / path).read_bytes() for path in files]
    assert contents == [(second / path).read_bytes() for path in files]
    assert len(set(contents)) == 40


def test_other_constants_mean_another_folder(tmp_path):
    harder = dataclasses.replace(mini.DIFFICULTY, noise=(30.0, 30.0))
    names = {
        mini.prepare(tmp_path, counts=FEW).name,
        mini.prepare(tmp_path, harder, FEW).name,
        mini.prepare(tmp_path, counts={**FEW, "test": 20}).name,
    }
    assert len(names) == 3


DRAW = """
from pathlib import Path
from workloads._imagenet import mini
counts = {"train": %d, "val": 10, "test": 10}
print(mini.prepare(Path(r"%s"), counts=counts))
"""


def start(folder, count):
    return subprocess.Popen(
        [sys.executable, "-c", DRAW % (count, folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_two_processes_at_once_both_find_it_whole(tmp_path):
    processes = [start(tmp_path, 300) for _ in range(2)]
    said = {process.communicate(timeout=120)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    (folder,) = tmp_path.iterdir()  # and nothing is left beside it
    assert said == {str(folder)}
    assert len(list(folder.glob("*/*/*.JPEG"))) == 320


def test_killed_half_way_leaves_nothing_that_looks_whole(tmp_path):
    process = start(tmp_path, 4000)
    deadline = time.monotonic() + 300
    while len(list(tmp_path.glob(".*/train/*/*.JPEG"))) < 50:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list(tmp_path.glob("mini*"))
    folder = mini.prepare(tmp_path, counts=FEW)
    assert len(list(folder.glob("*/*/*.JPEG"))) == 40


def test_what_killed_processes_left_is_removed_after_an_hour(tmp_path):
    folder = mini.prepare(tmp_path, counts=FEW)
    old, new = (tmp_path / f".{folder.name}.{age}" for age in ("old", "new"))
    folder.rename(old)
    new.mkdir()
    os.utime(old, (time.time() - 7200,) * 2)
    mini.prepare(tmp_path, counts=FEW)
    assert sorted(path.name for path in tmp_path.iterdir()) == [new.name, folder.name]


def test_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="cannot be written to .*file: .*--data_dir"):
        mini.prepare(tmp_path / "file", counts=FEW)


def test_full_disk_leaves_no_partial_folder(tmp_path, monkeypatch):
    write = Path.write_bytes
    written = []

    def fail_after_ten(path, data):
        if len(written) == 10:
            raise OSError(28, "No space left on device")
        written.append(path)
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", fail_after_ten)
    with pytest.raises(StorageError, match="No space left on device"):
        mini.prepare(tmp_path, counts=FEW)
    assert list(tmp_path.iterdir()) == []
