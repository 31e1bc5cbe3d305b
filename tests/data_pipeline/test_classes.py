"""All splits have the same classes, whatever else lies beside them."""

import dataclasses
import os
import shutil
import unicodedata
from functools import partial

import pytest
from image_trees import (
    DEFINITION,
    JPEG,
    WNIDS,
    labels,
    open_,
    write_splits,
    write_tree,
)

from algorithmic_efficiency.data import BadExample, Folders
from algorithmic_efficiency.errors import DataError
from dataset_setup import check, doctor
from workloads._imagenet import data, mini
from workloads._images.classes import classes_in
from workloads._images.folders import FolderExamples
from workloads._images.images import Example
from workloads.imagenet_resnet.workload import WORKLOADS

EXPECTED = {
    "train": [0] * 8 + [1] * 10 + [2] * 12,
    "validation": [0, 1, 1, 2, 2, 2],
    "test": [0, 0, 1, 1, 2, 2],
}
NAMES = {"train": "train", "validation": "val", "test": "imagenet_v2"}
FOREIGN = [
    "@eaDir",
    ".ipynb_checkpoints",
    "lost+found",
    "__MACOSX",
    "$RECYCLE.BIN",
    "#recycle",
    "System Volume Information",
    "New folder",
    "N01440764",
    "n01440764 ",
    "n01440764.tar",
    os.fsdecode(b"caf\xe9"),
]


@pytest.fixture
def folders(tmp_path):
    data._tell.cache_clear()
    return write_splits(tmp_path)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(check, "BASE", DEFINITION)


def examine(folders, capsys):
    status = doctor.main(["imagenet", f"--data_dir={folders.data_dir}"])
    return status, capsys.readouterr().out


@pytest.mark.parametrize("split", EXPECTED)
@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_folder_shifts_no_label_and_is_named(folders, split, name, capsys):
    write_tree(folders.data_dir / NAMES[split], {name: 0})
    (folders.data_dir / NAMES[split] / name / "x.JPEG").write_bytes(JPEG)
    (folders.data_dir / NAMES[split] / ".DS_Store").write_bytes(b"x")
    (folders.data_dir / NAMES[split] / "Thumbs.db").write_bytes(b"x")
    for opened in EXPECTED:
        assert labels(open_(folders, opened)) == EXPECTED[opened]
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"{folders.data_dir}/{NAMES[split]} has folders that are no classes, which "
        f"were left out: {ascii(name)}."
    )


def test_foreign_folder_is_told_by_the_doctor(folders, small, capsys):
    (folders.data_dir / "val" / "@eaDir").mkdir()
    status, out = examine(folders, capsys)
    assert status == 0
    assert "val has folders that are no classes, which were left out: '@eaDir'." in out


def test_known_foreign_folders_are_left_out_beside_any_names(tmp_path):
    write_tree(tmp_path, {"cat": 1, "dog": 1, "@eaDir": 1, "lost+found": 1, ".x": 1})
    assert classes_in(tmp_path).names == ["cat", "dog"]


def remove(split, name):
    return lambda root: shutil.rmtree(root / NAMES[split] / name)


def rename(split, old, new):
    return lambda root: (root / NAMES[split] / old).rename(root / NAMES[split] / new)


def add(split, name, count=1):
    return lambda root: write_tree(root / NAMES[split], {name: count})


def number(first):
    """Numbers the validation folders, as the devkit does from 1."""

    def change(root):
        for place, wnid in enumerate(WNIDS, first):
            rename("validation", wnid, str(place))(root)

    return change


WRONG = {
    "devkit": (number(1), "validation", r"by number \(1 to 3\), expected wnids .*meta"),
    "numbers": (number(0), "validation", r"by number \(0 to 2\), expected wnids"),
    "lost": (remove("validation", WNIDS[1]), "validation", f"/train: '{WNIDS[1]}' mis"),
    "other": (
        rename("validation", WNIDS[1], "n09999999"),
        "validation",
        f"'{WNIDS[1]}' missing, 'n09999999' too many",
    ),
    "more": (add("validation", "n00000001"), "validation", "'n00000001' too many"),
    "case": (
        rename("validation", WNIDS[0], "N01440764"),
        "validation",
        r"'n01440764' missing \(left out: 'N01440764'\)",
    ),
    "train": (add("train", "n00000001"), "train", "has 4 class folders, expected 3"),
    "few": (remove("train", WNIDS[0]), "train", "has 2 class folders, expected 3"),
    "test": (remove("test", "1"), "test", "0 to 2 as in ImageNet-v2: '1' missing"),
    "first": (remove("test", "0"), "test", "0 to 2 as in ImageNet-v2: '0' missing"),
    "from 1": (rename("test", "0", "3"), "test", "'0' missing, '3' too many"),
    "zeros": (rename("test", "1", "001"), "test", "'1' missing, '001' too many"),
    "empty": (
        lambda root: [p.unlink() for p in (root / "val" / WNIDS[0]).iterdir()],
        "validation",
        f"no images in the class folders '{WNIDS[0]}'",
    ),
    "nested": (
        lambda root: (
            (root / "val" / WNIDS[0]).rename(root / "val" / "n0x")
            and (root / "val" / WNIDS[0]).mkdir()
            or (root / "val" / "n0x").rename(root / "val" / WNIDS[0] / WNIDS[0])
        ),
        "validation",
        "not in folders below it",
    ),
    "broken link": (
        lambda root: (
            (root / "val" / WNIDS[1]).rename(root / "gone")
            and (root / "val" / WNIDS[1]).symlink_to(root / "nowhere")
        ),
        "validation",
        f"'{WNIDS[1]}' missing",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_other_classes_are_refused(folders, small, capsys, what):
    change, split, words = WRONG[what]
    change(folders.data_dir)
    with pytest.raises(DataError, match=words):
        open_(folders, split)
    status, out = examine(folders, capsys)
    assert status == 1
    assert f"  The {split} split" in out or "no images in the class folders" in out


def test_names_that_look_alike_are_told_apart(tmp_path):
    folded = ["caf\N{LATIN SMALL LETTER E WITH ACUTE}", "dog", "owl"]
    write_tree(tmp_path / "train", dict(zip(folded, (8, 10, 12), strict=True)))
    folded[0] = unicodedata.normalize("NFD", folded[0])
    write_tree(tmp_path / "val", dict(zip(folded, (1, 2, 3), strict=True)))
    with pytest.raises(DataError, match=r"'caf\\xe9' missing, 'cafe\\u0301' too many"):
        open_(Folders(tmp_path), "validation")


def test_linked_class_folders_and_images_are_read(folders):
    root = folders.data_dir / "val"
    for name in WNIDS[:2]:
        (root / name).rename(folders.data_dir / name)
        (root / name).symlink_to(folders.data_dir / name)
    image = root / WNIDS[2] / f"{WNIDS[2]}_0.JPEG"
    image.rename(folders.data_dir / "image")
    image.symlink_to(folders.data_dir / "image")
    assert labels(open_(folders, "validation")) == EXPECTED["validation"]


def test_only_files_are_images(folders):
    root = folders.data_dir / "val" / WNIDS[0]
    (root / "a.JPEG").mkdir()
    (root / "b.JPEG").symlink_to(root / "a.JPEG")
    os.mkfifo(root / "c.JPEG")
    assert labels(open_(folders, "validation")) == EXPECTED["validation"]


def test_suffixes_and_names_of_any_spelling(folders):
    images = sorted((folders.data_dir / "val" / WNIDS[2]).iterdir())
    for image, name in zip(images, (b"a.jpg", b"B.PNG", b"caf\xe9.Jpeg"), strict=True):
        image.rename(image.with_name(os.fsdecode(name)))
    dataset = open_(folders, "validation")
    assert labels(dataset) == EXPECTED["validation"]
    assert dataset.element(dataset.examples[5], None)["targets"] == 2


def test_names_that_are_not_utf8_are_printed(folders, small, capsysbinary):
    image = sorted((folders.data_dir / "val" / WNIDS[2]).iterdir())[0]
    broken = image.with_name(os.fsdecode(b"caf\xe9.JPEG"))
    image.rename(broken)
    broken.write_bytes(b"")
    assert doctor.main(["imagenet", f"--data_dir={folders.data_dir}"]) == 1
    assert rb"caf\xe9.JPEG: is empty" in capsysbinary.readouterr().out


def test_folder_that_cannot_be_read_is_named(folders, monkeypatch):
    closed = folders.data_dir / "val" / WNIDS[1]
    scan = os.scandir

    def scandir(path):
        if os.fspath(path) in (str(closed), os.fsencode(closed)):
            raise PermissionError(13, "Permission denied", str(closed))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=f"{closed} cannot be read: Permission denied"):
        open_(folders, "validation")


def test_mini_images_are_held_to_the_same(tmp_path, monkeypatch):
    counts = {"train": 20, "val": 10, "test": 10}
    monkeypatch.setattr(mini, "COUNTS", counts)
    definition = dataclasses.replace(
        WORKLOADS["imagenet_resnet_mini"],
        num_train_examples=20,
        num_validation_examples=10,
        num_test_examples=10,
    )
    folders = Folders(tmp_path)
    assert labels(open_(folders, "validation", definition)) == list(range(10))
    root = mini.prepare(tmp_path)
    (root / "val" / "@eaDir").mkdir()
    assert labels(open_(folders, "validation", definition)) == list(range(10))
    (root / "val" / "arrow").rename(root / "val" / "bow")
    words = f"'arrow' missing, 'bow' too many .*. Remove the folder {root}"
    with pytest.raises(DataError, match=words):
        open_(folders, "validation", definition)


def test_folders_are_compared_with_prepared_training_images(folders, tmp_path):
    prepared = tmp_path / "imagenet2012" / "5.1.0"
    prepared.mkdir(parents=True)
    (prepared / "dataset_info.json").write_text("{}")
    source = FolderExamples(folders.data_dir / "val")
    faults = partial(data.class_faults, DEFINITION, "validation", source, prepared)
    assert list(faults()) == []  # without names only their number is known
    (prepared / "label.labels.txt").write_text("\n".join(WNIDS) + "\n")
    assert list(faults()) == []
    (prepared / "label.labels.txt").write_text("n0\n" + "\n".join(WNIDS[1:]))
    (fault,) = faults()
    assert f"images in {prepared}: 'n0' missing, '{WNIDS[0]}' too many." in fault


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"[" * 100_000, b"\xff"])
def test_damaged_description_of_prepared_data_is_one_sentence(tmp_path, content):
    folder = tmp_path / "imagenet2012" / "5.1.0"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_bytes(content)
    with pytest.raises(DataError, match=r"dataset_info\.json cannot be read|form"):
        open_(Folders(tmp_path), "train")


@pytest.mark.parametrize("label", [-1, 3])
def test_class_that_is_none_is_a_bad_example(folders, label):
    element = open_(folders, "validation").element
    with pytest.raises(BadExample, match=f"has the class {label}, expected 0 to 2"):
        element(Example(JPEG, label, "image"), None)
