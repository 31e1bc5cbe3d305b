"""The losses in three tensor libraries against one formula in float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from algorithmic_efficiency.backends.jax import JaxOps
from algorithmic_efficiency.backends.pytorch import TorchOps
from algorithmic_efficiency.losses import masked_loss
from algorithmic_efficiency.numpy_ops import NumpyOps

SOFTMAX, SIGMOID = "softmax_cross_entropy", "sigmoid_cross_entropy"
LIBRARIES = {
    "numpy": (NumpyOps(), np.asarray, 1e-12),
    "pytorch": (TorchOps(), torch.tensor, 2e-6),
    "jax": (JaxOps(), jnp.asarray, 2e-6),
}
B, C = 6, 5
RANDOM = np.random.default_rng(0)
LOGITS = (3.0 * RANDOM.standard_normal((B, C))).astype(np.float32)
LOGITS[1] += 80.0  # exp overflows float32 without the usual shift
LOGITS[2] -= 80.0
INDEX = np.array([0, 4, 2, 2, 1, 3], np.int32)
ONE_HOT = np.eye(C, dtype=np.float32)[INDEX]
SOFT = RANDOM.dirichlet(np.ones(C), B).astype(np.float32)
BITS = (RANDOM.random((B, C)) < 0.4).astype(np.float32)
MASK = np.array([1, 0, 1, 1, 0, 1], np.float32)


def reference(loss_type, targets, logits, smoothing):
    """Returns the loss per example by the formula in the facts sheet, float64."""
    z = logits.astype(np.float64)
    if loss_type == SOFTMAX:
        y = np.eye(C)[targets] if targets.ndim == 1 else targets.astype(np.float64)
        y = y * (1 - smoothing) + smoothing / C
        z = z - z.max(1, keepdims=True)
        return -(y * (z - np.log(np.exp(z).sum(1, keepdims=True)))).sum(1)
    y = targets.astype(np.float64) * (1 - smoothing) + smoothing / 2
    # max(z, 0) - z y + log(1 + exp(-|z|)), the stable form of binary cross-entropy.
    terms = np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))
    return terms.reshape(len(z), -1).sum(1)


CASES = {
    "index": (SOFTMAX, INDEX, LOGITS),
    "one hot": (SOFTMAX, ONE_HOT, LOGITS),
    "soft targets": (SOFTMAX, SOFT, LOGITS),
    "sigmoid": (SIGMOID, BITS, LOGITS),
    "sigmoid of one output": (SIGMOID, BITS[:, 0], LOGITS[:, 0]),
    "sigmoid, int targets": (SIGMOID, BITS.astype(np.int32), LOGITS),
}


def compute(library, loss_type, targets, logits, mask=None, smoothing=0.0):
    ops, tensor, _ = LIBRARIES[library]
    mask = None if mask is None else tensor(mask)
    return masked_loss(loss_type, ops, tensor(targets), tensor(logits), mask, smoothing)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_loss_is_the_formula(library, case, smoothing):
    loss_type, targets, logits = CASES[case]
    expected = reference(loss_type, targets, logits, smoothing)
    loss = compute(library, loss_type, targets, logits, smoothing=smoothing)
    rtol = LIBRARIES[library][2]
    got = np.asarray(loss["per_example"])
    assert got.shape == (B,)
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=1e-5 * (rtol > 1e-9))
    np.testing.assert_allclose(float(loss["summed"]), expected.sum(), rtol=1e-5)
    assert float(loss["n_valid_examples"]) == B


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_masked_examples_count_nowhere_whatever_they_hold(library, case):
    loss_type, targets, logits = CASES[case]
    expected = reference(loss_type, targets, logits, 0.1) * MASK
    dirty = logits.copy()
    dirty[1], dirty[4] = np.nan, np.inf
    loss = compute(library, loss_type, targets, dirty, MASK, smoothing=0.1)
    got = np.asarray(loss["per_example"])
    rtol = LIBRARIES[library][2]
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=1e-5 * (rtol > 1e-9))
    assert got[1] == got[4] == 0.0
    np.testing.assert_allclose(float(loss["summed"]), expected.sum(), rtol=1e-5)
    assert float(loss["n_valid_examples"]) == 4.0


@pytest.mark.parametrize("library", LIBRARIES)
def test_weights_between_0_and_1_scale_an_example(library):
    weights = np.array([0.5, 1, 0.25, 0, 2, 1], np.float32)
    loss = compute(library, SOFTMAX, INDEX, LOGITS, weights)
    expected = reference(SOFTMAX, INDEX, LOGITS, 0.0) * weights
    np.testing.assert_allclose(
        np.asarray(loss["per_example"]), expected, rtol=1e-5, atol=1e-5
    )
    assert float(loss["n_valid_examples"]) == 4.75


@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.bool_])
@pytest.mark.parametrize("library", LIBRARIES)
def test_masks_of_any_type(library, dtype):
    loss = compute(library, SOFTMAX, INDEX, LOGITS, MASK.astype(dtype))
    expected = (reference(SOFTMAX, INDEX, LOGITS, 0.0) * MASK).sum()
    assert float(loss["summed"]) == pytest.approx(expected, rel=1e-5)
    assert float(loss["n_valid_examples"]) == 4.0


@pytest.mark.parametrize("library", ["numpy", "pytorch", "jax"])
def test_a_batch_without_valid_examples_sums_to_zero(library):
    loss = compute(library, SOFTMAX, INDEX, LOGITS, np.zeros(B, np.float32))
    assert float(loss["summed"]) == float(loss["n_valid_examples"]) == 0.0


def torch_gradient(loss_type, targets, logits, mask, smoothing):
    z = torch.tensor(logits, requires_grad=True)
    mask = None if mask is None else torch.tensor(mask)
    loss = masked_loss(loss_type, TorchOps(), torch.tensor(targets), z, mask, smoothing)
    loss["summed"].backward()
    return z.grad.numpy()


def jax_gradient(loss_type, targets, logits, mask, smoothing):
    mask = None if mask is None else jnp.asarray(mask)

    @jax.jit
    @jax.grad
    def gradient(z):
        loss = masked_loss(
            loss_type, JaxOps(), jnp.asarray(targets), z, mask, smoothing
        )
        return loss["summed"]

    return np.asarray(gradient(jnp.asarray(logits)))


def reference_gradient(loss_type, targets, logits, smoothing):
    """Returns softmax(z) - y or sigmoid(z) - y, float64."""
    z = logits.astype(np.float64)
    if loss_type == SOFTMAX:
        y = np.eye(C)[targets] if targets.ndim == 1 else targets.astype(np.float64)
        e = np.exp(z - z.max(1, keepdims=True))
        p = e / e.sum(1, keepdims=True)
        return p - (y * (1 - smoothing) + smoothing / C)
    y = targets.astype(np.float64) * (1 - smoothing) + smoothing / 2
    return 1 / (1 + np.exp(-z)) - y


GRADIENTS = pytest.mark.parametrize(
    "gradient", [torch_gradient, jax_gradient], ids=["pytorch", "jax"]
)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("case", ["index", "soft targets", "sigmoid"])
@GRADIENTS
def test_gradients_are_the_formula(gradient, case, smoothing):
    loss_type, targets, logits = CASES[case]
    logits = np.clip(logits, -20, 20)
    expected = reference_gradient(loss_type, targets, logits, smoothing)
    got = gradient(loss_type, targets, logits, None, smoothing)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    got = gradient(loss_type, targets, logits, MASK, smoothing)
    np.testing.assert_allclose(got, expected * MASK[:, None], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", ["index", "sigmoid"])
@GRADIENTS
def test_gradients_of_masked_examples_are_zero_whatever_they_hold(gradient, case):
    loss_type, targets, logits = CASES[case]
    dirty = np.clip(logits, -20, 20)
    expected = reference_gradient(loss_type, targets, dirty, 0.1) * MASK[:, None]
    dirty[1], dirty[4] = np.nan, np.inf
    got = gradient(loss_type, targets, dirty, MASK, 0.1)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
