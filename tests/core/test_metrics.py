import math

import numpy as np
import pytest

from algorithmic_efficiency.metrics import METRICS, Seen

SOFTMAX = "softmax_cross_entropy"
OUTPUTS = np.array([[0.1, 0.9, 0.0], [5.0, 1.0, 2.0], [0.0, 1.0, 2.0], [9.0, 8.0, 7.0]])
TARGETS = np.array([1, 2, 2, 0])


def update(name, weights, outputs=OUTPUTS, targets=TARGETS):
    batch = {"targets": targets, "weights": np.array(weights, np.float32)}
    seen = Seen(outputs.astype(np.float32), batch, SOFTMAX)
    return METRICS[name].update(seen).tolist()


@pytest.mark.parametrize(
    ("weights", "total"),
    [([1, 1, 1, 1], 3), ([1, 1, 0, 0], 1), ([0, 1, 0, 0], 0), ([0, 0, 0, 0], 0)],
)
def test_accuracy_counts_right_answers_with_weight(weights, total):
    assert update("accuracy", weights) == [total, sum(weights)]


def test_loss_is_a_sum_of_nats_in_float64():
    z = OUTPUTS.astype(np.float32).astype(np.float64)
    nll = np.log(np.exp(z).sum(1)) - z[np.arange(4), TARGETS]
    total, weight = update("loss", [1, 0, 1, 1])
    assert total == pytest.approx(nll[[0, 2, 3]].sum(), rel=1e-12)
    assert (weight, type(total), type(weight)) == (3.0, float, float)


def test_float64_sums_of_many_float32_outputs():
    rows = 200_000
    outputs = np.tile(np.array([[0.0, 1e-3]], np.float32), (rows, 1))
    batch = {"targets": np.zeros(rows, np.int32), "weights": np.ones(rows, np.float32)}
    total, weight = METRICS["loss"].update(Seen(outputs, batch, SOFTMAX))
    each = math.log(1.0 + math.exp(float(np.float32(1e-3))))
    assert total == pytest.approx(each * rows, rel=1e-12)
    assert weight == rows


@pytest.mark.parametrize("name", ["accuracy", "loss"])
def test_padding_counts_nowhere_even_if_it_is_nan(name):
    dirty = OUTPUTS.copy()
    dirty[[1, 3]] = np.nan
    assert update(name, [1, 0, 1, 0], dirty) == update(name, [1, 0, 1, 0])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_row_of_nan_is_no_right_answer_and_no_finite_loss(value):
    dirty = OUTPUTS.copy()
    dirty[3] = value  # argmax would be 0, which is its target
    assert update("accuracy", [1, 1, 1, 1], dirty) == [2.0, 4.0]
    assert math.isnan(update("loss", [1, 1, 1, 1], dirty)[0])


@pytest.mark.parametrize(
    ("name", "good", "bad"), [("accuracy", 0.8, 0.7), ("loss", 0.7, 0.8)]
)
def test_better_is_strict_and_never_true_of_nan(name, good, bad):
    reaches = METRICS[name].reaches
    assert reaches(good, bad)
    assert not reaches(bad, good)
    assert reaches(good, good)
    assert not reaches(math.nan, bad)
    assert not reaches(good, math.nan)
