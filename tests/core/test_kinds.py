"""What other kinds of data than labelled examples need of losses and metrics."""

import dataclasses
import functools
import math
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from core_fakes import definition

from algorithmic_efficiency import evaluation
from algorithmic_efficiency.backends.jax import JaxOps
from algorithmic_efficiency.backends.pytorch import TorchOps
from algorithmic_efficiency.data import Dataset
from algorithmic_efficiency.definition import Evaluate, Field, variants
from algorithmic_efficiency.errors import DataError
from algorithmic_efficiency.losses import Loss, find, masked_loss
from algorithmic_efficiency.metrics import METRICS, Metric, Seen
from algorithmic_efficiency.numpy_ops import NumpyOps
from algorithmic_efficiency.spec import LossType

LIBRARIES = {
    "numpy": (NumpyOps(), np.asarray),
    "pytorch": (TorchOps(), torch.tensor),
    "jax": (JaxOps(), jnp.asarray),
}
each = pytest.mark.parametrize("library", LIBRARIES)
RANDOM = np.random.default_rng(0)
B, T, V = 4, 5, 7
LOGITS = RANDOM.standard_normal((B, T, V)).astype(np.float32)
TOKENS = RANDOM.integers(0, V, (B, T)).astype(np.int32)
OUTPUTS = RANDOM.standard_normal((B, 3, 2)).astype(np.float32)
TARGETS = RANDOM.standard_normal((B, 3, 2)).astype(np.float32)
ROWS = np.array([1, 1, 0, 1], np.float32)
ENTRIES = (RANDOM.random((B, T)) < 0.6).astype(np.float32)


def compute(library, loss, targets, outputs, mask=None):
    ops, tensor = LIBRARIES[library]
    mask = None if mask is None else tensor(mask)
    made = masked_loss(loss, ops, tensor(targets), tensor(outputs), mask)
    return {name: np.asarray(value) for name, value in made.items()}


def nll(logits=LOGITS):
    z = logits.astype(np.float64)
    z = z - np.log(np.exp(z).sum(-1, keepdims=True))
    return -np.take_along_axis(z, TOKENS[..., None], -1)[..., 0]


@each
@pytest.mark.parametrize(
    ("loss", "entries"),
    [
        ("mean_squared_error", (OUTPUTS - TARGETS) ** 2),
        ("mean_absolute_error", np.abs(OUTPUTS - TARGETS)),
    ],
)
def test_errors_are_means_over_an_example(library, loss, entries):
    found = compute(library, loss, TARGETS, OUTPUTS, ROWS)
    expected = entries.reshape(B, -1).mean(1) * ROWS
    np.testing.assert_allclose(found["per_example"], expected, rtol=1e-5)
    assert found["summed"] == pytest.approx(expected.sum(), rel=1e-5)
    assert found["n_valid_examples"] == 3
    assert compute(library, loss, TARGETS, OUTPUTS)["n_valid_examples"] == B


@each
@pytest.mark.parametrize("shapes", [((B,), (B, 1)), ((B, 1), (B,)), ((B, 1), (B, 1))])
@pytest.mark.parametrize("loss", ["mean_squared_error", "sigmoid_cross_entropy"])
def test_an_axis_of_size_1_does_not_matter(library, loss, shapes):
    ours, theirs = shapes
    outputs, targets = OUTPUTS[:, 0, 0], np.array([0, 1, 1, 0], np.float32)
    expected = compute("numpy", loss, targets, outputs, ROWS)
    for mask in (ROWS, ROWS[:, None]):
        found = compute(
            library, loss, targets.reshape(ours), outputs.reshape(theirs), mask
        )
        for name in ("summed", "n_valid_examples"):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)


@each
@pytest.mark.parametrize(
    ("loss", "targets", "outputs", "mask", "words"),
    [
        ("mean_squared_error", TARGETS[:, :1], OUTPUTS, None, r"\(4, 1, 2\) for outp"),
        ("sigmoid_cross_entropy", TARGETS[:, 0, 0], OUTPUTS[:, 0], None, r"\(4,\) for"),
        ("softmax_cross_entropy", TOKENS[:, :1], LOGITS[:, 0], None, r"indices \(4,\)"),
        ("softmax_cross_entropy", TOKENS, LOGITS, ENTRIES.T, r"weights of shape \(5,"),
        ("mean_squared_error", TARGETS, OUTPUTS, ROWS[:3], r"weights of shape \(3,\)"),
    ],
)
def test_shapes_that_would_be_broadcast_to_nonsense(
    library, loss, targets, outputs, mask, words
):
    with pytest.raises(ValueError, match=words):
        compute(library, loss, targets, outputs, mask)


@each
def test_losses_of_tokens_have_the_shape_of_their_weights(library):
    found = compute(library, "softmax_cross_entropy", TOKENS, LOGITS, ENTRIES)
    np.testing.assert_allclose(found["per_example"], nll() * ENTRIES, rtol=1e-4)
    assert found["n_valid_examples"] == ENTRIES.sum()
    rows = compute(library, "softmax_cross_entropy", TOKENS, LOGITS, ROWS)
    np.testing.assert_allclose(rows["summed"], (nll() * ROWS[:, None]).sum(), rtol=1e-4)
    assert rows["n_valid_examples"] == 3 * T


@each
def test_labels_that_exist_have_losses_of_their_own(library):
    bits = (TARGETS[:, :, 0] > 0).astype(np.float32)
    z, there = OUTPUTS[:, :, 0], ENTRIES[:, :3]
    entries = np.logaddexp(0, z.astype(np.float64)) - z * bits
    found = compute(library, "sigmoid_cross_entropy", bits, z, there)
    np.testing.assert_allclose(found["per_example"], entries * there, rtol=1e-4)
    assert found["n_valid_examples"] == there.sum()
    whole = compute(library, "sigmoid_cross_entropy", bits, z, ROWS)
    np.testing.assert_allclose(whole["per_example"], entries.sum(1) * ROWS, rtol=1e-4)


@pytest.mark.parametrize("framework", ["pytorch", "jax"])
@pytest.mark.parametrize(
    "loss", ["mean_squared_error", "mean_absolute_error", "sigmoid_cross_entropy"]
)
def test_labels_that_are_nan_under_a_zero_weight_change_nothing(framework, loss):
    labels, outputs, there = TARGETS[:, :, 0].copy(), OUTPUTS[:, :, 0], ENTRIES[:, :3]
    expected = compute("numpy", loss, labels, outputs, there)["summed"]
    labels[there == 0] = np.nan
    if framework == "pytorch":
        z = torch.tensor(outputs, requires_grad=True)
        made = masked_loss(
            loss, TorchOps(), torch.tensor(labels), z, torch.tensor(there)
        )
        made["summed"].backward()
        summed, gradient = made["summed"].item(), z.grad.numpy()
    else:

        def summed_of(z):
            return masked_loss(loss, JaxOps(), labels, z, jnp.asarray(there))["summed"]

        summed, gradient = jax.value_and_grad(summed_of)(jnp.asarray(outputs))
    assert float(summed) == pytest.approx(float(expected), rel=1e-5)
    assert np.isfinite(gradient).all()
    assert not np.asarray(gradient)[there == 0].any()
    assert np.asarray(gradient)[there == 1].all()


# Of a family's own, by their dotted names.
huber = Loss(
    lambda ops, targets, outputs, smoothing: abs(outputs - targets),
    LossType.MEAN_ABSOLUTE_ERROR,
    reduce="sum",
)
middle = Metric(
    lambda seen: [float(x) for x in seen.outputs[seen.weights != 0].max(-1)],
    lambda kept: float(np.median(kept)),
    maximize=True,
)


def test_a_family_brings_its_own_loss_and_metric():
    row = definition(
        loss=f"{__name__}.huber",
        evaluations=(Evaluate((f"{__name__}.middle", "accuracy")),),
        target_metric_name="middle",
    )
    assert row.loss_type is LossType.MEAN_ABSOLUTE_ERROR
    assert find(f"{__name__}.huber") is huber
    with pytest.raises(ValueError, match="There is no loss 'huber'"):
        find("huber")
    with pytest.raises(ValueError, match="Found Metric by the name"):
        find(f"{__name__}.middle")


def test_states_merge_in_any_order_to_the_same_number():
    size = 300
    outputs = RANDOM.standard_normal((size, 3)).astype(np.float32)
    batch = {
        "targets": RANDOM.integers(0, 3, size).astype(np.int32),
        "weights": (RANDOM.random(size) < 0.9).astype(np.float32),
    }

    def state(metric, numbers):
        part = {name: value[numbers] for name, value in batch.items()}
        return metric.update(Seen(outputs[numbers], part, "softmax_cross_entropy"))

    order = RANDOM.permutation(size)
    for metric in (METRICS["accuracy"], METRICS["loss"], METRICS["ppl"], middle):
        whole = metric.final(state(metric, np.arange(size)))
        for count in (3, size):
            parts = [state(metric, part) for part in np.array_split(order, count)]
            merged = functools.reduce(operator.add, parts)
            assert metric.final(merged) == pytest.approx(whole, rel=1e-12)


def test_perplexity_is_that_of_all_tokens():
    seen = Seen(
        LOGITS, {"targets": TOKENS, "weights": ENTRIES}, "softmax_cross_entropy"
    )
    mean = (nll() * ENTRIES).sum() / ENTRIES.sum()
    found = METRICS["ppl"].final(METRICS["ppl"].update(seen))
    assert found == pytest.approx(math.exp(mean), rel=1e-6)
    assert METRICS["ppl"].final(np.array([1e9, 1.0])) == 1e9  # no overflow, and large


def token_dataset(size):
    """Returns sequences of several lengths, whose reader gives the weights."""
    random = np.random.default_rng(size)
    examples = [
        {
            "inputs": random.standard_normal((T, V)).astype(np.float32),
            "targets": random.integers(0, V, T).astype(np.int32),
            "weights": (np.arange(T) < random.integers(1, T + 1)).astype(np.float32),
        }
        for _ in range(size)
    ]
    return Dataset(examples, lambda row, rng: row, dict)


SIZES = {"eval_train": 23, "validation": 17, "test": 11}


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_weights_of_a_reader_are_kept_and_metrics_have_their_passes(batch_size):
    row = definition(
        evaluations=(
            Evaluate(("loss", "ppl")),
            Evaluate(("accuracy",), how="other", splits=("validation",)),
        )
    )
    asked = []

    def predict(batch, how):
        asked.append(how)
        assert batch["weights"].shape == (batch_size, T)
        return batch["inputs"] if how == "" else -batch["inputs"]

    found = evaluation.evaluate(
        row, lambda split: token_dataset(SIZES[split]), predict, batch_size=batch_size
    )
    assert "train/accuracy" not in found
    assert set(asked) == {"", "other"}
    examples = token_dataset(SIZES["validation"]).examples
    weights = np.stack([example["weights"] for example in examples])
    right = np.stack([e["inputs"].argmin(-1) == e["targets"] for e in examples])
    accuracy = (right * weights).sum() / weights.sum()
    assert found["validation/accuracy"] == pytest.approx(accuracy, rel=1e-12)
    assert found["validation/ppl"] == pytest.approx(math.exp(found["validation/loss"]))


def test_a_dict_as_a_field_is_a_sentence_in_data_and_in_definitions():
    examples = [{"inputs": {"a": np.zeros(3)}, "targets": np.int32(0)}]
    dataset = Dataset(examples, lambda row, rng: row, dict)
    with pytest.raises(DataError, match="Found a dict as field 'inputs'"):
        evaluation.evaluate(
            definition(), lambda split: dataset, lambda *_: None, batch_size=2
        )
    with pytest.raises(ValueError, match="'toy' has dict as field 'inputs'"):
        definition(fields={"inputs": {"a": Field((3,), "float32")}})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": "hinge"}, "names the loss 'hinge'; there are softmax_cross_entropy,"),
        ({"target_metric_name": "bleu"}, "'bleu', which none of its evaluations comp"),
        ({"scale": "tiny"}, "has the scale 'tiny'; use one of full, mini"),
        ({"editions": {"0.7": {}}}, "of the edition 0.7; use 0.5, 0.6, 2026"),
    ],
)
def test_definitions_that_contradict_themselves(changes, words):
    with pytest.raises(ValueError, match=words):
        definition(**changes)


def test_editions_change_constants_by_name():
    row = definition(editions={"2026": {"step_hint": 7}})
    assert row.in_edition("2026").step_hint == 7
    assert row.in_edition("0.6") == row
    assert variants(row, {"a": {}})["toy_a"].in_edition("2026").step_hint == 7
    assert dataclasses.replace(row, editions={}).in_edition("2026").step_hint == 100
