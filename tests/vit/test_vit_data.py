"""Training images are augmented and mixed alike in both frameworks; no others are."""

import dataclasses

import numpy as np
import pytest

from algorithmic_efficiency import registry, spec
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.data import eval_batches, train_batches
from algorithmic_efficiency.losses import softmax_cross_entropy
from algorithmic_efficiency.numpy_ops import NumpyOps
from algorithmic_efficiency.workload import Workload
from workloads._imagenet.data import open_split
from workloads._images.mixup import Mixup
from workloads.imagenet_vit.workload import WORKLOADS

MINI = WORKLOADS["imagenet_vit_mini"]


def test_mixup_adds_the_example_before():
    random = np.random.default_rng(0)
    images = random.normal(size=(4, 3, 3, 3)).astype(np.float32)
    batch = {
        "inputs": images,
        "targets": np.array([2, 0, 1, 1], np.int32),
        "weights": np.ones(4, np.float32),
    }
    mixed = Mixup(0.2, 3)(batch, np.random.default_rng(5))
    weight = np.random.default_rng(5).beta(0.2, 0.2)
    assert 0.01 < weight < 0.99
    before = np.roll(images, 1, axis=0)
    expected = weight * images + (1 - weight) * before
    np.testing.assert_allclose(mixed["inputs"], expected, rtol=1e-5, atol=1e-6)
    certain = np.eye(3)[batch["targets"]]
    expected = weight * certain + (1 - weight) * np.roll(certain, 1, axis=0)
    np.testing.assert_allclose(mixed["targets"], expected, rtol=1e-6)
    assert mixed["targets"].dtype == mixed["inputs"].dtype == np.float32
    np.testing.assert_array_equal(mixed["weights"], batch["weights"])


def test_weights_of_mixup_lie_at_both_ends():
    batch = {"inputs": np.zeros((2, 1), np.float32), "targets": np.array([0, 1])}
    rng, mix = np.random.default_rng(1), Mixup(0.2, 2)
    weights = np.array([mix(batch, rng)["targets"][0, 0] for _ in range(4_000)])
    # Beta(a, a) has the mean 1/2 and the variance 1 / (4 (2a + 1)).
    assert weights.mean() == pytest.approx(0.5, abs=0.03)
    assert weights.var() == pytest.approx(1 / 5.6, rel=0.05)


def test_loss_of_mixed_targets_is_the_mixed_loss():
    logits = np.random.default_rng(0).normal(size=(2, 3))
    mixed = np.array([[0.25, 0.75, 0.0], [0.0, 0.25, 0.75]])
    ops = NumpyOps()
    found = softmax_cross_entropy(ops, mixed, logits, 0.1)
    apart = [
        softmax_cross_entropy(ops, np.array(classes), logits, 0.1)
        for classes in ((0, 1), (1, 2))
    ]
    np.testing.assert_allclose(found, 0.25 * apart[0] + 0.75 * apart[1])


def test_both_frameworks_see_the_same_pixels(folders):
    batches = {}
    for framework in ("pytorch", "jax"):
        backend = base.make(framework)
        workload = Workload(MINI, backend, folders)
        rng = backend.make_rng((3, 4))
        queue = workload._build_input_queue(rng, "train", str(folders.data_dir), 6)
        batches[framework] = [next(queue) for _ in range(3)]
    for ours, theirs in zip(batches["pytorch"], batches["jax"], strict=True):
        pixels = ours["inputs"].permute(0, 2, 3, 1).numpy()
        np.testing.assert_array_equal(pixels, np.asarray(theirs["inputs"]))
        targets = ours["targets"].numpy()
        np.testing.assert_array_equal(targets, np.asarray(theirs["targets"]))
        assert targets.shape == (6, 10) and targets.dtype == np.float32
        np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-6)


def test_training_resumes_with_the_same_mix(folders):
    dataset = open_split(MINI, folders, "train")
    stream = train_batches(dataset, 4, 7)
    third = [next(stream) for _ in range(3)][2]
    resumed = train_batches(dataset, 4, 7, start=2)
    for name, value in next(resumed).items():
        np.testing.assert_array_equal(value, third[name])
    stream.close()
    resumed.close()


@pytest.mark.parametrize("split", ["eval_train", "validation"])
def test_evaluation_is_that_of_resnet(folders, split):
    theirs = registry.get("imagenet_resnet_mini")
    more = {key: MINI.data_arguments[key] for key in ("augment", "mixup")}
    ours = dataclasses.replace(theirs, data_arguments={**theirs.data_arguments, **more})
    sets = (open_split(definition, folders, split) for definition in (ours, theirs))
    first = [next(iter(eval_batches(dataset, 8))) for dataset in sets]
    for name, value in first[0].items():
        np.testing.assert_array_equal(value, first[1][name])
    assert first[0]["targets"].shape == (8,)


def test_the_definitions_say_what_the_sheet_says():
    full = WORKLOADS["imagenet_vit"]
    assert full.data_arguments["mixup"] == 0.2
    how = full.data_arguments["augment"]
    assert (how.translation, how.cutout, how.count) == (100, 40, 2)
    assert full.eval_batch_size == 2048 and full.num_eval_train_examples == 51_200
    budgets = {
        edition: (
            row.max_allowed_runtime_sec,
            row.eval_period_time_sec,
            row.step_hint,
        )
        for edition in ("0.5", "0.6", "2026")
        for row in [full.in_edition(edition)]
    }
    assert budgets == {
        "0.5": (77_520, 420, 186_666),
        "0.6": (69_768, 420, 167_999),
        "2026": (64_292, 2_571, 167_999),
    }
    assert full.loss_type is spec.LossType.SOFTMAX_CROSS_ENTROPY
