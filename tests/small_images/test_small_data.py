"""What is read of CIFAR-10 and MNIST, in which order, and what training sees of it."""

import dataclasses
import hashlib
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from small_files import (
    CIFAR,
    COUNTS,
    MNIST,
    images,
    opened,
    rows,
    write_cifar,
    write_mnist,
)

from algorithmic_efficiency.data import Folders, eval_batches, train_batches
from algorithmic_efficiency.errors import DataError
from workloads._images.images import Normalise
from workloads._images.small import Element, Pixels, places, shifted
from workloads.cifar import data as cifar
from workloads.cifar import workload as cifar_workload
from workloads.mnist import data as mnist
from workloads.mnist import workload as mnist_workload

SETS = {
    "cifar": (cifar, CIFAR, write_cifar, (32, 32, 3), "cifar-10-batches-bin"),
    "mnist": (mnist, MNIST, write_mnist, (28, 28, 1), "mnist"),
}
PARTS = {
    "train": ("train", slice(0, 16)),
    "validation": ("train", slice(16, 20)),
    "test": ("test", slice(0, 5)),
}


@pytest.mark.parametrize("split", PARTS)
@pytest.mark.parametrize("name", SETS)
def test_splits_are_parts_of_the_files_in_their_order(tmp_path, name, split):
    module, definition, write, shape, folder = SETS[name]
    assert "no " in module.missing(definition, Folders(tmp_path))
    write(tmp_path / folder)
    assert module.missing(definition, Folders(tmp_path)) is None
    stored, part = PARTS[split]
    pixels, labels = images(stored, shape[: 3 if name == "cifar" else 2])
    dataset = opened(module, definition, tmp_path, split)
    found, targets = rows(pickle.loads(pickle.dumps(dataset)))
    np.testing.assert_array_equal(found, pixels.reshape(-1, *shape)[part])
    np.testing.assert_array_equal(targets, labels[part])
    first = dataset.examples[0].name
    assert first.startswith(f"image {part.start} of {stored} in {tmp_path}")


@pytest.mark.parametrize("name", SETS)
def test_eval_train_is_a_fixed_part_of_training(tmp_path, name):
    module, definition, write, _, folder = SETS[name]
    write(tmp_path / folder)
    names = [
        [d.examples[k].name for k in range(len(d.examples))]
        for d in (opened(module, definition, tmp_path, "eval_train") for _ in range(2))
    ]
    train = opened(module, definition, tmp_path, "train").examples
    assert names[0] == names[1]
    assert len(set(names[0])) == COUNTS["num_eval_train_examples"]
    assert set(names[0]) <= {train[k].name for k in range(16)}


@pytest.mark.parametrize("name", SETS)
def test_batches_are_normalised(tmp_path, name):
    module, definition, write, shape, folder = SETS[name]
    write(tmp_path / folder)
    first, last = eval_batches(opened(module, definition, tmp_path, "test"), 3)
    pixels, labels = images("test", shape[: 3 if name == "cifar" else 2])
    scale = {"cifar": 255, "mnist": 1}[name]  # MNIST's pixels are not divided by 255
    mean, stddev = (
        np.array(x) * scale for x in (definition.train_mean, definition.train_stddev)
    )
    expected = (pixels.reshape(-1, *shape) - mean) / stddev
    np.testing.assert_allclose(first["inputs"], expected[:3], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(last["inputs"][:2], expected[3:], rtol=1e-5, atol=1e-5)
    assert first["inputs"].dtype == np.float32
    assert first["targets"].dtype == np.int32
    assert [*first["targets"], *last["targets"][:2]] == labels.tolist()
    assert last["weights"].tolist() == [1, 1, 0]


def test_worker_processes_see_the_same_training_batches(tmp_path):
    write_cifar(tmp_path / "cifar")
    train = opened(cifar, CIFAR, tmp_path, "train")
    seen = []
    for workers in (0, 1):
        stream = train_batches(train, 6, 3, workers=workers)
        seen.append([next(stream) for _ in range(4)])
        stream.close()
    for here, there in zip(*seen, strict=True):
        np.testing.assert_array_equal(here["inputs"], there["inputs"])
        np.testing.assert_array_equal(here["targets"], there["targets"])


@pytest.mark.parametrize(
    ("folder", "packed", "separator"),
    [
        (".", True, "-"),
        ("MNIST/raw", False, "-"),
        ("mnist/MNIST/raw", True, "."),
        ("mnist/raw", False, "."),
    ],
)
def test_mnist_lies_where_others_put_it(tmp_path, folder, packed, separator):
    write_mnist(tmp_path / folder, packed, separator)
    inputs, targets = rows(opened(mnist, MNIST, tmp_path, "test"))
    pixels, labels = images("test", (28, 28))
    np.testing.assert_array_equal(inputs[..., 0], pixels)
    np.testing.assert_array_equal(targets, labels)


def test_a_whole_set_comes_before_one_that_lacks_files(tmp_path):
    write_cifar(tmp_path / "cifar-10-batches-bin")
    (tmp_path / "cifar-10-batches-bin" / "data_batch_4.bin").unlink()
    text = cifar.missing(CIFAR, Folders(tmp_path))
    assert text == f"no data_batch_4.bin of CIFAR-10 in {tmp_path}/cifar-10-batches-bin"
    write_cifar(tmp_path / "cifar")
    assert cifar.missing(CIFAR, Folders(tmp_path)) is None
    assert len(opened(cifar, CIFAR, tmp_path, "train").examples) == 16


def test_pickles_are_not_read(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    text = cifar.missing(CIFAR, Folders(tmp_path))
    assert "take cifar-10-binary.tar.gz" in text
    assert f"{tmp_path}/cifar-10-batches-py is the Python version" in text
    with pytest.raises(DataError, match="are not read"):
        opened(cifar, CIFAR, tmp_path, "train")


def test_training_takes_a_random_part_and_mirrors_half():
    image = np.arange(1, 13, dtype=np.uint8).reshape(2, 2, 3)
    rng = np.random.default_rng(0)
    seen = {shifted(image, 1, rng).tobytes() for _ in range(200)}
    bordered = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    wanted = {
        bordered[i : i + 2, j : j + 2].tobytes() for i in range(3) for j in range(3)
    }
    assert seen == wanted
    element = Element((2, 2, 3), 10, padding=1, mirrored=True)
    example = Pixels(image, 7, "x")
    drawn = {element(example, rng)["inputs"].tobytes() for _ in range(400)}
    mirrored = {
        bordered[i : i + 2, j : j + 2][:, ::-1].tobytes()
        for i in range(3)
        for j in range(3)
    }
    assert drawn == wanted | mirrored
    np.testing.assert_array_equal(element(example, None)["inputs"], image)


def test_cifar_is_augmented_and_mnist_is_not(tmp_path):
    for name, changed in (("cifar", True), ("mnist", False)):
        module, definition, write, _, folder = SETS[name]
        write(tmp_path / folder)
        dataset = opened(module, definition, tmp_path, "train")
        example, rng = dataset.examples[0], np.random.default_rng(1)
        plain = dataset.element(example, None)["inputs"]
        drawn = [dataset.element(example, rng)["inputs"] for _ in range(20)]
        assert any((image != plain).any() for image in drawn) == changed


def test_mini_twins_read_their_own_data():
    for module, table, name in (
        (cifar, cifar_workload.WORKLOADS, "cifar_mini"),
        (mnist, mnist_workload.WORKLOADS, "mnist_mini"),
    ):
        assert module.missing(table[name], Folders(Path("nowhere"))) is None
    definition = mnist_workload.WORKLOADS["mnist_mini"]
    seen = []
    for split in ("train", "validation", "test"):
        dataset = opened(mnist, definition, Path("nowhere"), split)
        inputs, targets = rows(dataset)
        assert inputs.shape == (len(targets), 8, 8, 1)
        assert np.bincount(targets, minlength=10).min() > 0.08 * len(targets)
        assert inputs.max() == 16
        seen += [image.tobytes() for image in inputs]
        # A pixel of 0 to 16 means what one of 0 to 255 means in MNIST.
        full = Normalise(
            mnist_workload.BASE.train_mean, mnist_workload.BASE.train_stddev
        )
        ours = dataset.finish({"inputs": inputs})["inputs"]
        levels = (inputs.astype(np.float64) * 255 / 16 - full.mean) / full.stddev
        np.testing.assert_allclose(ours, levels, rtol=1e-5, atol=1e-4)
    assert len(seen) == 1_797


def test_digits_are_the_ones_that_were_copied():
    sums = {
        "t10k-images-idx3-ubyte": "70e8d3e612efa157",
        "t10k-labels-idx1-ubyte": "5abfd773306b37a4",
        "train-images-idx3-ubyte": "6036e2a48449f6d7",
        "train-labels-idx1-ubyte": "6eedd1ee9725b6d3",
    }
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in mnist.DIGITS.iterdir()
    }
    assert found == sums


def prepare(folder, name, shape, keys):
    """Writes a set as tensorflow-datasets does, in whose order it lies afterwards."""
    tfds = pytest.importorskip("tensorflow_datasets")

    class Fake(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = "fake"
        VERSION = tfds.core.Version("3.0.2")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=shape, encoding_format="png"),
                "label": tfds.features.ClassLabel(num_classes=10),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate(split) for split in keys}

        def _generate(self, split):
            pixels, labels = images(split, shape)
            for key, (image, label) in enumerate(zip(pixels, labels, strict=True)):
                yield key, {"image": encoded(image), "label": int(label)}

        def _generate_examples(self):
            raise NotImplementedError

    builder = Fake(data_dir=folder / "work", file_format="array_record")
    builder.download_and_prepare()
    target = folder / name / "3.0.2"
    target.parent.mkdir(parents=True)
    Path(builder.data_dir).rename(target)


def encoded(image):
    import cv2  # noqa: PLC0415 - only where tensorflow-datasets is there

    colours = image[..., ::-1] if image.shape[2] == 3 else image
    return io.BytesIO(cv2.imencode(".png", colours)[1].tobytes())


@pytest.mark.parametrize("name", SETS)
def test_data_of_tensorflow_datasets_are_read_in_the_archives_order(tmp_path, name):
    module, definition, _, shape, _ = SETS[name]
    prepare(
        tmp_path / name,
        module.CIFAR.prepared if name == "cifar" else "mnist",
        shape,
        ("train", "test"),
    )
    assert module.missing(definition, Folders(tmp_path)) is None
    for split, (stored, part) in PARTS.items():
        pixels, labels = images(stored, shape)
        inputs, targets = rows(opened(module, definition, tmp_path, split))
        np.testing.assert_array_equal(inputs, pixels[part])
        np.testing.assert_array_equal(targets, labels[part])
    fewer = dataclasses.replace(definition, num_train_examples=15)
    with pytest.raises(DataError, match="are 20, expected 19"):
        opened(module, fewer, tmp_path, "train")


def test_places_are_a_permutation():
    assert sorted(places("train", 100)) == list(range(100))
    assert list(places("train", 100)) != list(places("test", 100))
