"""CTC in three tensor libraries against the enumeration of all alignments."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from algorithmic_efficiency import ctc as losses
from algorithmic_efficiency.backends.jax import JaxOps
from algorithmic_efficiency.backends.pytorch import TorchOps
from algorithmic_efficiency.losses import masked_loss
from algorithmic_efficiency.numpy_ops import NumpyOps

LIBRARIES = {
    "numpy": (NumpyOps(), np.asarray, 1e-12),
    "pytorch": (TorchOps(), torch.tensor, 2e-6),
    "jax": (JaxOps(), jnp.asarray, 2e-6),
}
V = 4  # blank and three labels
# Frames and labels of each example; the last four do not fit or are empty.
CASES = [
    (5, [1, 2]),
    (5, [1, 1, 3]),  # exactly: five frames for three labels and a blank
    (4, [3]),
    (3, [2, 1, 2]),
    (5, []),
    (1, [3]),
    (0, []),
    (2, [1, 2, 3]),  # more labels than frames
    (4, [2, 2, 2]),  # the blanks between equal labels do not fit
    (0, [1]),
]
FITTING = np.array([1, 1, 1, 1, 1, 1, 1, 0, 0, 0], np.float32)
TOKENS = np.array([2, 3, 1, 3, 0, 1, 0, 0, 0, 0], np.float32)


def batch(cases, frames, labels, seed=0, scale=2.0):
    """Returns (labels, paddings), (logits, paddings); padding holds noise."""
    random = np.random.default_rng(seed)
    size = len(cases)
    logits = (scale * random.standard_normal((size, frames, V))).astype(np.float32)
    tokens = random.integers(0, V, (size, labels)).astype(np.float32)
    paddings = np.ones((size, frames), np.float32)
    label_paddings = np.ones((size, labels), np.float32)
    for row, (length, text) in enumerate(cases):
        tokens[row, : len(text)] = text
        paddings[row, :length] = 0
        label_paddings[row, : len(text)] = 0
    return (tokens, label_paddings), (logits, paddings)


TARGETS, OUTPUTS = batch(CASES, frames=5, labels=3)


def enumerated(logits, text):
    """Returns -log of the summed probability of every path that spells the text."""
    z = logits.astype(np.float64)
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    total = 0.0
    for path in itertools.product(range(V), repeat=len(p)):
        spelt = [label for label, _ in itertools.groupby(path) if label]
        if spelt == list(text):
            total += np.prod(p[np.arange(len(p)), list(path)])
    return -np.log(total)


@functools.cache
def expected():
    """Returns the loss of each case; 0 where the text does not fit."""
    return np.array(
        [
            enumerated(logits[:length], text) if fit else 0.0
            for logits, (length, text), fit in zip(
                OUTPUTS[0], CASES, FITTING, strict=True
            )
        ]
    )


def compute(library, targets, outputs, mask=None):
    ops, tensor, _ = LIBRARIES[library]
    targets, outputs = (tuple(map(tensor, pair)) for pair in (targets, outputs))
    mask = None if mask is None else tensor(mask)
    return masked_loss("ctc", ops, targets, outputs, mask, 0.1)


@pytest.mark.parametrize("library", LIBRARIES)
def test_loss_is_the_sum_over_all_alignments(library):
    loss = compute(library, TARGETS, OUTPUTS)
    rtol = LIBRARIES[library][2]
    got = np.asarray(loss["per_example"])
    np.testing.assert_allclose(got, expected(), rtol=rtol, atol=rtol)
    assert float(loss["summed"]) == pytest.approx(expected().sum(), rel=1e-5)
    assert float(loss["n_valid_examples"]) == TOKENS.sum()
    assert (got[FITTING == 0] == 0).all()


@pytest.mark.parametrize("library", LIBRARIES)
def test_examples_that_do_not_fit_are_known(library):
    _, tensor, _ = LIBRARIES[library]
    targets, outputs = (tuple(map(tensor, pair)) for pair in (TARGETS, OUTPUTS))
    np.testing.assert_array_equal(losses.fits(targets, outputs), FITTING == 1)
    np.testing.assert_array_equal(losses.tokens(targets, outputs), TOKENS)


@pytest.mark.parametrize("library", LIBRARIES)
def test_more_padding_changes_nothing(library):
    targets, outputs = batch(CASES, frames=9, labels=7, seed=1)
    targets[0][:, :3], outputs[0][:, :5] = TARGETS[0], OUTPUTS[0]
    loss = compute(library, targets, outputs)
    rtol = LIBRARIES[library][2]
    got = np.asarray(loss["per_example"])
    np.testing.assert_allclose(got, expected(), rtol=rtol, atol=rtol)
    assert float(loss["n_valid_examples"]) == TOKENS.sum()


MASK = np.array([1, 0, 0.5, 1, 0, 1, 1, 1, 0, 1], np.float32)


def dirty():
    """Returns the batch with masked rows as evaluation and a fault leave them."""
    targets = tuple(x.copy() for x in TARGETS)
    outputs = tuple(x.copy() for x in OUTPUTS)
    outputs[0][1], outputs[0][4], outputs[0][8] = np.nan, np.inf, 0
    targets[0][1] = 0  # a row of zeros: blanks as labels, and no padding
    targets[1][1] = outputs[1][1] = 0
    return targets, outputs


@pytest.mark.parametrize("library", LIBRARIES)
def test_masked_examples_count_nowhere_whatever_they_hold(library):
    loss = compute(library, *dirty(), MASK)
    rtol = LIBRARIES[library][2]
    got = np.asarray(loss["per_example"])
    np.testing.assert_allclose(got, expected() * MASK, rtol=rtol, atol=rtol)
    assert float(loss["n_valid_examples"]) == (TOKENS * MASK).sum()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_batch_without_tokens_divides_by_one(library):
    for mask in (np.zeros(len(CASES), np.float32), (FITTING == 0).astype(np.float32)):
        loss = compute(library, TARGETS, OUTPUTS, mask)
        assert float(loss["summed"]) == 0.0
        assert float(loss["n_valid_examples"]) == 1.0


def torch_gradient(targets, outputs, mask):
    z = torch.tensor(outputs[0], requires_grad=True)
    loss = masked_loss(
        "ctc",
        TorchOps(),
        tuple(map(torch.tensor, targets)),
        (z, torch.tensor(outputs[1])),
        None if mask is None else torch.tensor(mask),
    )
    loss["summed"].backward()
    return z.grad.numpy()


def jax_gradient(targets, outputs, mask):
    @jax.jit
    @jax.grad
    def gradient(z):
        loss = masked_loss(
            "ctc",
            JaxOps(),
            tuple(map(jnp.asarray, targets)),
            (z, jnp.asarray(outputs[1])),
            None if mask is None else jnp.asarray(mask),
        )
        return loss["summed"]

    return np.asarray(gradient(jnp.asarray(outputs[0])))


GRADIENTS = pytest.mark.parametrize(
    "gradient", [torch_gradient, jax_gradient], ids=["pytorch", "jax"]
)


@functools.cache
def expected_gradient():
    """Returns central differences of the enumerated loss, float64."""
    gradient = np.zeros(OUTPUTS[0].shape)
    step = 1e-5
    for row, (length, text) in enumerate(CASES):
        if not FITTING[row]:
            continue
        for t, v in itertools.product(range(length), range(V)):
            sides = []
            for sign in (step, -step):
                moved = OUTPUTS[0][row, :length].astype(np.float64)
                moved[t, v] += sign
                sides.append(enumerated(moved, text))
            gradient[row, t, v] = (sides[0] - sides[1]) / (2 * step)
    return gradient


@GRADIENTS
def test_gradients_are_those_of_the_enumeration(gradient):
    got = gradient(TARGETS, OUTPUTS, None)
    np.testing.assert_allclose(got, expected_gradient(), rtol=1e-4, atol=2e-6)
    assert (got[FITTING == 0] == 0).all()  # so a text that does not fit harms nobody


@GRADIENTS
def test_gradients_of_masked_examples_are_zero_whatever_they_hold(gradient):
    got = gradient(*dirty(), MASK)
    expected = expected_gradient() * MASK[:, None, None]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=2e-6)


def long_batch():
    """Returns three utterances of up to 400 frames, 1,024 pieces and 60 labels."""
    random = np.random.default_rng(2)
    shape = (3, 400, 1024)
    logits = random.standard_normal(shape).astype(np.float32)
    tokens = random.integers(1, shape[2], (3, 60)).astype(np.float32)
    frames, labels = np.array([400, 251, 130]), np.array([60, 41, 17])
    paddings = (np.arange(shape[1]) >= frames[:, None]).astype(np.float32)
    label_paddings = (np.arange(60) >= labels[:, None]).astype(np.float32)
    return (tokens, label_paddings), (logits, paddings)


def test_long_utterances_agree():
    targets, outputs = long_batch()
    exact = compute("numpy", targets, outputs)["per_example"]
    for library in ("pytorch", "jax"):
        got = np.asarray(compute(library, targets, outputs)["per_example"])
        np.testing.assert_allclose(got, exact, rtol=1e-6)


def test_gradients_of_long_utterances_agree():
    targets, outputs = long_batch()
    exact = torch_gradient(targets, (outputs[0].astype(np.float64), outputs[1]), None)
    for gradient in (torch_gradient, jax_gradient):
        got = gradient(targets, outputs, None)
        # Both add up 400 frames in float32 logarithms; measured 8e-4 and 4e-4.
        assert np.linalg.norm(got - exact) < 2e-3 * np.linalg.norm(exact)


def confident(frames, text, certainty):
    """Returns a batch of one example whose logits spell the text, then blanks."""
    logits = np.zeros((1, frames, V), np.float32)
    for frame in range(frames):
        at, within = divmod(frame, 2)
        label = text[at] if at < len(text) and within == 0 else 0
        logits[0, frame, label] = certainty
    labels = np.array([text], np.float32)
    return (labels, np.zeros_like(labels)), (logits, np.zeros((1, frames), np.float32))


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_loss_is_never_negative(library):
    ops, tensor, _ = LIBRARIES[library]
    for frames, text in ((2, [1]), (60, [1, 2, 3] * 10)):
        cases = [confident(frames, text, certainty) for certainty in (14, 17, 20, 30)]
        case = jax.tree.map(lambda *rows: np.vstack(rows), *cases)
        targets, outputs = jax.tree.map(tensor, case)
        loss = masked_loss("ctc", ops, targets, outputs)["per_example"]
        assert (np.asarray(loss) >= 0).all()
        true = masked_loss("ctc", NumpyOps(), *case)["per_example"]
        np.testing.assert_allclose(np.asarray(loss), true, rtol=0.05, atol=2e-5)


@GRADIENTS
def test_rounding_below_0_does_not_touch_other_gradients(gradient):
    targets, (logits, paddings) = confident(2, [1], 17.0)
    twice = (np.vstack([logits, logits / 17.0]), np.vstack([paddings, paddings]))
    targets = tuple(np.vstack([each, each]) for each in targets)
    both = gradient(targets, twice, None)
    assert np.isfinite(both).all()
    assert np.abs(both[0]).max() < 1e-6 < np.abs(both[1]).max()
    targets, twice = (tuple(x[1:] for x in each) for each in (targets, twice))
    alone = gradient(targets, twice, None)
    np.testing.assert_allclose(both[1], alone[0], rtol=1e-6)


@pytest.mark.parametrize("library", ["pytorch", "jax"])
def test_a_loss_that_is_nan_stays_so(library):
    ops, tensor, _ = LIBRARIES[library]
    targets, (logits, paddings) = confident(4, [1], 3.0)
    logits[0, 1] = np.nan
    case = jax.tree.map(tensor, (targets, (logits, paddings)))
    assert np.isnan(float(masked_loss("ctc", ops, *case)["summed"]))
