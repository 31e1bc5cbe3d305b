"""Damaged and foreign files: one sentence with the file's name, nothing made up."""

import gzip
import struct

import numpy as np
import pytest
from small_files import CIFAR, MNIST, idx, opened, write_cifar, write_mnist

from algorithmic_efficiency.data import eval_batches
from algorithmic_efficiency.errors import DataError
from workloads.cifar import data as cifar
from workloads.mnist import data as mnist

IMAGES = np.zeros((20, 28, 28), np.uint8)


def header(*numbers):
    return bytes([0, 0, 8, len(numbers)]) + struct.pack(f">{len(numbers)}I", *numbers)


BAD_IMAGES = {
    "empty": (b"", "begins with the bytes (none), expected 00000803"),
    "short magic": (b"\0\0", "begins with the bytes 0000, expected 00000803"),
    "labels": (idx(IMAGES[:, 0, 0]), "begins with the bytes 00000801"),
    "floats": (b"\0\0\x0d\x03" + idx(IMAGES)[4:], "the bytes 00000d03"),
    "header cut": (idx(IMAGES)[:10], "has 10 bytes, expected 15,696"),
    "cut": (idx(IMAGES)[:-1], "has 15,695 bytes, expected 15,696"),
    "longer": (idx(IMAGES) + b"\0", "has more bytes, expected 15,696"),
    "fewer": (idx(IMAGES[:19]), "holds 19 x 28 x 28 values, expected 20 x 28 x 28"),
    "other size": (idx(IMAGES[:, 1:]), "holds 20 x 27 x 28 values"),
    "huge": (header(1 << 31, 28, 28), "holds 2,147,483,648 x 28 x 28 values"),
    "text": (b"<html>not found</html>", "begins with the bytes 3c68746d"),
    "gzip cut": (gzip.compress(idx(IMAGES))[:-9], "is damaged or cut off"),
    "gzip changed": (
        gzip.compress(idx(IMAGES))[:-8] + b"12345678",
        "is damaged or cut off",
    ),
    "gzip of other": (gzip.compress(b"no"), "begins with the bytes 6e6f"),
    "gzip of a header": (b"\x1f\x8b", "is damaged or cut off"),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_damaged_images_of_mnist_are_named(tmp_path, kind):
    data, sentence = BAD_IMAGES[kind]
    write_mnist(tmp_path, packed=False)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(data)
    with pytest.raises(DataError) as error:
        opened(mnist, MNIST, tmp_path, "train")
    assert str(error.value).startswith(f"{path} ")
    assert sentence in str(error.value)
    assert path.read_bytes() == data
    assert len(opened(mnist, MNIST, tmp_path, "test").examples) == 5


def test_fewer_labels_than_images_are_named(tmp_path):
    write_mnist(tmp_path, packed=False)
    path = tmp_path / "t10k-labels-idx1-ubyte"
    path.write_bytes(idx(np.zeros(4, np.uint8)))
    with pytest.raises(DataError, match=f"{path} holds 4 values, expected 5"):
        opened(mnist, MNIST, tmp_path, "test")


@pytest.mark.parametrize("change", [-1, 1, -3_073, 3_073])
def test_cifar_files_of_another_size_are_named(tmp_path, change):
    folder = tmp_path / "cifar-10-batches-bin"
    data = write_cifar(folder)["data_batch_3.bin"]
    path = folder / "data_batch_3.bin"
    path.write_bytes(data[:change] if change < 0 else data + bytes(change))
    size = f"{len(data) + change:,}"
    with pytest.raises(
        DataError, match=f"{path} has {size} bytes, expected 12,292: 4 images of 3,073"
    ):
        opened(cifar, CIFAR, tmp_path, "validation")
    assert len(opened(cifar, CIFAR, tmp_path, "test").examples) == 5


def test_a_class_that_is_none_ends_an_evaluation(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    data = write_cifar(folder)["test_batch.bin"]
    (folder / "test_batch.bin").write_bytes(data[:3_073] + b"\x0b" + data[3_074:])
    with pytest.raises(
        DataError,
        match=f"image 1 of test in {folder} has the class 11, expected 0 to 9",
    ):
        list(eval_batches(opened(cifar, CIFAR, tmp_path, "test"), 5))
