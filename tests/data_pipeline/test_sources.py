"""Where images are found: class folders, ImageNet-v2, tensorflow-datasets."""

import dataclasses
import io
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from image_trees import DEFINITION, JPEG, examples, labels, open_, write_tree

from algorithmic_efficiency.data import Folders, eval_batches, train_batches
from algorithmic_efficiency.errors import DataError
from workloads._imagenet.data import missing
from workloads._images.prepared import PreparedExamples
from workloads.imagenet_resnet.workload import WORKLOADS

V2 = "imagenet_v2_data_dir"


@pytest.fixture
def folders(tmp_path):
    write_tree(tmp_path / "train", {"n02": 8, "n01": 10, "n03": 12})
    write_tree(tmp_path / "val", {"n01": 1, "n02": 2, "n03": 3})
    write_tree(tmp_path / "imagenet_v2", {str(k): 2 for k in range(3)})
    return Folders(tmp_path)


def test_classes_are_numbered_by_sorted_name(folders):
    assert missing(DEFINITION, folders) is None
    train = open_(folders, "train")
    assert labels(train) == [0] * 10 + [1] * 8 + [2] * 12
    assert train.examples[9].name.endswith("train/n01/n01_9.JPEG")
    assert Path(train.examples[10].image).read_bytes() == JPEG
    assert labels(open_(folders, "validation")) == [0, 1, 1, 2, 2, 2]
    restored = pickle.loads(pickle.dumps(train))
    assert restored.examples[29] == train.examples[29]


def test_folders_named_by_number_are_sorted_by_number(tmp_path):
    write_tree(tmp_path / "imagenet_v2", {str(k): 2 for k in range(12)})
    model = {**DEFINITION.model, "num_classes": 12}
    definition = dataclasses.replace(DEFINITION, model=model, num_test_examples=24)
    found = labels(open_(Folders(tmp_path), "test", definition))
    assert found == [k for k in range(12) for _ in range(2)]


def test_other_files_are_left_out(folders):
    for name in (".hidden.JPEG", "notes.txt", "._n01_1.JPEG"):
        (folders.data_dir / "val" / "n01" / name).write_bytes(JPEG)
    (folders.data_dir / "val" / ".cache").mkdir()
    (folders.data_dir / "val" / "readme.txt").write_text("x")
    assert labels(open_(folders, "validation")) == [0, 1, 1, 2, 2, 2]


def test_eval_train_is_a_fixed_part_prepared_for_evaluation(folders):
    first, again = (open_(folders, "eval_train") for _ in range(2))
    names = [first.examples[k].name for k in range(7)]
    assert len(first.examples) == 7 == len(set(names))
    assert names == [again.examples[k].name for k in range(7)]
    assert all("/train/" in name for name in names)


def test_batches_have_the_fields_of_the_definition(folders):
    stream = train_batches(open_(folders, "train"), 4, seed=0)
    batches = [next(stream), *eval_batches(open_(folders, "validation"), 4)]
    stream.close()
    assert len(batches) == 3
    for batch in batches:
        assert batch["inputs"].shape == (4, 224, 224, 3)
        assert batch["inputs"].dtype == batch["weights"].dtype == np.float32
        assert batch["targets"].dtype == np.int32
    red = (np.array([220, 30, 30]) - DEFINITION.train_mean) / DEFINITION.train_stddev
    np.testing.assert_allclose(batches[1]["inputs"][3, 20, 20], red, atol=0.1)
    assert (batches[2]["inputs"][2:] == 0).all()
    assert batches[2]["weights"].tolist() == [1, 1, 0, 0]


def test_imagenet_v2_may_lie_elsewhere(folders, tmp_path):
    (tmp_path / "imagenet_v2").rename(tmp_path / "elsewhere")
    text = missing(DEFINITION, folders)
    assert text == f"no test images of ImageNet in {tmp_path}, {tmp_path}/imagenet"
    with pytest.raises(DataError, match="There are no test images of ImageNet in"):
        open_(folders, "test")
    other = Folders(tmp_path, ((V2, tmp_path / "elsewhere"),))
    assert missing(DEFINITION, other) is None
    assert len(open_(other, "test").examples) == 6


def test_missing_names_every_split_and_folder(tmp_path):
    folders = Folders(tmp_path, ((V2, tmp_path / "v2"),))
    text = missing(DEFINITION, folders)
    assert text is not None and "train, validation, test" in text
    assert f"{tmp_path}/v2, {tmp_path}, {tmp_path}/imagenet" in text
    assert missing(WORKLOADS["imagenet_resnet_mini"], folders) is None


@pytest.mark.parametrize("change", [-1, 1])
def test_wrong_number_of_images_is_an_error(folders, change):
    found = DEFINITION.num_train_examples
    definition = dataclasses.replace(DEFINITION, num_train_examples=found + change)
    for split in ("train", "eval_train"):
        with pytest.raises(
            DataError, match=f"has 30 images, expected {found + change}"
        ):
            open_(folders, split, definition)


def test_folder_without_classes_is_not_data(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "image.JPEG").write_bytes(JPEG)
    with pytest.raises(DataError, match=f"no train images of ImageNet in {tmp_path}"):
        open_(Folders(tmp_path), "train")


def test_cut_off_file_is_named(folders):
    path = folders.data_dir / "val" / "n02" / "n02_1.JPEG"
    path.write_bytes(JPEG[:-40])
    with pytest.raises(DataError, match=f"{path} is a JPEG that is cut off"):
        list(eval_batches(open_(folders, "validation"), 4))


def prepare(folder, name, splits, file_format="array_record", naming="file_name"):
    """Writes a data set with the features of the official builders, without TF.

    `naming` is the feature that has the name of an image, None where there is none.
    """
    tfds = pytest.importorskip("tensorflow_datasets")

    class Fake(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = "fake"
        VERSION = tfds.core.Version("5.1.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(encoding_format="jpeg"),
                "label": tfds.features.ClassLabel(num_classes=1000),
            }
            if naming:
                features[naming] = tfds.features.Text()
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate(count) for split, count in splits.items()}

        def _generate(self, count):
            for k in range(count):
                image = io.BytesIO(JPEG)
                name = {naming: f"{k}.JPEG"} if naming else {}
                yield k, {"image": image, "label": k % 3, **name}

        def _generate_examples(self):
            raise NotImplementedError

    builder = Fake(data_dir=folder / "work", file_format=file_format)
    builder.download_and_prepare()
    target = folder / name / "5.1.0"
    target.parent.mkdir(parents=True)
    Path(builder.data_dir).rename(target)
    return target


def test_data_prepared_by_tensorflow_datasets(tmp_path):
    prepare(tmp_path, "imagenet2012", {"train": 30, "validation": 6})
    prepare(tmp_path / "v2", "imagenet_v2/matched-frequency", {"test": 6})
    folders = Folders(tmp_path, ((V2, tmp_path / "v2"),))
    assert missing(DEFINITION, folders) is None
    for split, count in (("train", 30), ("validation", 6), ("test", 6)):
        dataset = open_(folders, split)
        rows = {row.name.partition(".")[0]: row for row in examples(dataset)}
        assert {row.image for row in rows.values()} == {JPEG}
        assert {name: row.label for name, row in rows.items()} == {
            str(k): k % 3 for k in range(count)
        }
    (whole,) = eval_batches(open_(folders, "validation"), 6, workers=1)
    assert sorted(whole["targets"]) == [0, 0, 1, 1, 2, 2]
    assert "tensorflow" not in sys.modules


def test_images_of_other_data_sets_have_names_too(tmp_path):
    for naming, expected in (("id", "0.JPEG"), (None, "image 0 of train")):
        target = prepare(tmp_path / str(naming), "x", {"train": 1}, naming=naming)
        name = PreparedExamples(target, "train")[0].name
        assert name == f"{expected} in {target}"


def test_other_format_of_tensorflow_datasets_is_an_error(tmp_path):
    target = prepare(tmp_path, "imagenet2012", {"train": 3})
    info = target / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(DataError, match="in the format tfrecord, which needs Tensor"):
        open_(Folders(tmp_path), "train")


def test_missing_package_is_named(tmp_path, monkeypatch):
    prepare(tmp_path, "imagenet2012", {"train": 3})
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DataError, match=r"not installed; install the extra \[tfds\]"):
        open_(Folders(tmp_path), "train")
