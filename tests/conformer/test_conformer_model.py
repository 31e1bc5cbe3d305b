"""The Conformer against NumPy float64, and what its padding must not change."""

import collections

import jax
import numpy as np
import pytest
import torch
from conformer_reference import Reference
from parity import pairs

from algorithmic_efficiency import params, registry
from algorithmic_efficiency.nn import jax as jax_nn
from algorithmic_efficiency.nn import pytorch as torch_nn

FRAMEWORKS = ("pytorch", "jax")
MINI = "librispeech_conformer_mini"
VARIANTS = [
    name
    for name in registry.definitions()
    if name.startswith("librispeech_conformer") and registry.is_mini(name)
]
LENGTHS = (7_000, 4_801, 6_400)


def sounds():
    random = np.random.default_rng(2)
    return [np.round(500 * random.standard_normal(n)) for n in LENGTHS]


def batch_of(utterances, samples):
    """Returns a batch of these utterances; one or two rows beyond them have weight 0.

    The rows are shared by two devices in JAX.
    """
    rows = 2 * (len(utterances) // 2) + 2
    audio = np.full((rows, samples), 777.0, np.float32)  # to be hidden by paddings
    paddings = np.ones((rows, samples), np.float32)
    for i, sound in enumerate(utterances):
        audio[i, : len(sound)] = sound
        paddings[i, : len(sound)] = 0
    labels = np.random.default_rng(3).integers(1, 9, (rows, 4)).astype(np.float32)
    weights = (np.arange(rows) < len(utterances)).astype(np.float32)
    return {
        "inputs": (audio, paddings),
        "targets": (labels, np.zeros_like(labels)),
        "weights": weights,
    }


def run(framework, batch, mode, name=MINI, dropout_rate=None):
    """Returns (logits of the valid frames of each row, new statistics)."""
    made, parameters, state = pairs.with_weights(name, framework)
    (logits, paddings), state = made.model_fn(
        parameters,
        made.place(batch),
        state,
        mode,
        made._backend.make_rng((1, 2)),
        update_batch_norm=mode is pairs.TRAIN,
        dropout_rate=dropout_rate,
    )
    if framework == "pytorch":
        logits, paddings = logits.detach(), paddings.detach()
    valid = np.asarray(paddings) == 0
    rows = [x[shown] for x, shown in zip(np.asarray(logits), valid, strict=True)]
    flat = made._backend.canonical(parameters, state)
    kinds = ("running_mean", "running_var")
    return rows, {k: v.copy() for k, v in flat.items() if k.endswith(kinds)}


def reference(name=MINI, keep=1.0):
    made, parameters, state = pairs.with_weights(name, "pytorch")
    weights = made._backend.canonical(parameters, state)
    return Reference(weights, made.definition.model, keep)


def check(found, expected, tolerance):
    """Compares utterances; rows beyond them must show nothing."""
    assert all(len(row) == 0 for row in found[len(expected) :])
    for one, other in zip(found[: len(expected)], expected, strict=True):
        assert one.shape == other.shape
        scale = np.abs(other).max(initial=1e-6)
        np.testing.assert_allclose(one / scale, other / scale, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_training_is_that_of_the_formula(framework, name):
    model = reference(name)
    expected = model(sounds(), train=True)
    logits, statistics = run(framework, batch_of(sounds(), 7_500), pairs.TRAIN, name)
    check(logits, expected, 2e-4)
    assert statistics.keys() == model.statistics.keys()
    for key, value in model.statistics.items():
        np.testing.assert_allclose(statistics[key], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_evaluation_is_that_of_the_formula(framework):
    expected = reference()(sounds(), train=False)
    logits, _ = run(framework, batch_of(sounds(), 7_500), pairs.EVAL)
    check(logits, expected, 2e-4)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_dropout_is_at_the_input_and_the_residuals_but_the_convolutions(framework):
    expected = reference(keep=0.0)(sounds(), train=True)
    batch = batch_of(sounds(), 7_500)
    logits, _ = run(framework, batch, pairs.TRAIN, dropout_rate=1.0)
    check(logits, expected, 2e-4)
    some, _ = run(framework, batch, pairs.TRAIN, dropout_rate=0.1)
    none, _ = run(framework, batch, pairs.TRAIN, dropout_rate=0.0)
    assert not np.allclose(some[0], none[0], atol=1e-2)
    # An evaluation drops nothing, whatever the rate.
    for rate in (0.0, 0.9):
        logits, _ = run(framework, batch, pairs.EVAL, dropout_rate=rate)
        check(logits, reference()(sounds(), train=False), 2e-4)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_longer_neighbours_do_not_change_an_evaluation(framework):
    together, _ = run(framework, batch_of(sounds(), 30_000), pairs.EVAL)
    for i, sound in enumerate(sounds()):
        alone, _ = run(framework, batch_of([sound], len(sound)), pairs.EVAL)
        check(alone, together[i : i + 1], 1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("samples", [7_300, 9_300])
def test_appended_padding_changes_nothing(framework, samples):
    runs = []
    for size in (7_000, samples):
        made, parameters, state = pairs.with_weights(MINI, framework)
        batch = batch_of(sounds(), size)
        runs.append(pairs.forward_backward(made, parameters, state, batch))
    short, long = runs
    frames = short["outputs"].shape[1]
    check([long["outputs"][:, :frames]], [short["outputs"]], 1e-5)
    assert (long["outputs"][:, frames:, -1] == 1).all()  # the paddings
    check([long["loss"]["per_example"]], [short["loss"]["per_example"]], 1e-5)
    for part in ("gradients", "statistics"):
        for name, value in short[part].items():
            # The keys' bias has no gradient but noise; see tests/parity.
            scale = short[part][name.replace("key.bias", "query.bias")]
            scale = np.abs(scale).max(initial=1e-6)
            error = np.abs(long[part][name] - value).max() / scale
            assert error < 1e-5, (name, error)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_batch_of_nothing_but_padding_is_harmless(framework):
    made, parameters, state = pairs.with_weights(MINI, framework)
    before = made._backend.canonical(parameters, state)
    before = {key: value.copy() for key, value in before.items()}
    batch = batch_of([], 7_000)
    result = pairs.forward_backward(made, parameters, state, batch)
    assert result["loss"]["summed"] == 0
    for value in result["gradients"].values():
        assert (value == 0).all()
    for name, value in result["statistics"].items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_full_size_is_the_published_one():
    definition = registry.get("librispeech_conformer")
    backend = pairs.backend("pytorch")
    shapes = backend.shapes(backend.build(definition), definition)
    assert len(shapes) == 154
    assert shapes["subsample.linear.weight"] == (512, 10_240)
    assert shapes["conformers.3.conv.conv1.weight"] == (512, 1, 5)
    types = collections.Counter(params.parameter_type(name).name for name in shapes)
    # As published for JAX, except that the three dense layers of each convolution
    # block are no convolutions, though the name of the block has "conv" in it.
    assert types == {
        "CONV_WEIGHT": 18 - 12,
        "WEIGHT": 22 + 12,
        "BIAS": 32,
        "LAYER_NORM_SCALE": 21,
        "LAYER_NORM_BIAS": 21,
        "BATCH_NORM_SCALE": 4,
        "BATCH_NORM_BIAS": 4,
        "ATTENTION_Q": 4,
        "ATTENTION_K": 4,
        "ATTENTION_V": 4,
        "ATTENTION_OUT": 4,
        "ATTENTION_BIAS": 16,
    }


def test_layer_norm_is_the_formula_in_both_frameworks():
    random = np.random.default_rng(0)
    x = (5 + 3 * random.standard_normal((4, 6))).astype(np.float32)
    x[1] = 2.0  # no variance
    scale, bias, g = random.standard_normal((3, 6)).astype(np.float32)
    expected = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-6)
    expected = expected * (1 + scale) + bias

    layer = torch_nn.LayerNorm(6)
    layer.load_state_dict(
        {"weight": torch.from_numpy(scale), "bias": torch.from_numpy(bias)}
    )
    inputs = torch.from_numpy(x).requires_grad_()
    y = layer(inputs)
    (y * torch.from_numpy(g)).sum().backward()
    np.testing.assert_allclose(y.detach(), expected, rtol=0, atol=1e-5)

    def objective(tree, x):
        y = jax_nn.LayerNorm().apply({"params": tree}, x)
        return (y * g).sum(), y

    tree = {"scale": scale, "bias": bias}
    gradients, y = jax.grad(objective, (0, 1), has_aux=True)(tree, x)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(gradients[0]["scale"], layer.weight.grad, atol=1e-5)
    np.testing.assert_allclose(gradients[0]["bias"], layer.bias.grad, atol=1e-5)
    varied = np.array(
        [0, 2, 3]
    )  # where there is no variance, the gradient is 1000 times noise
    np.testing.assert_allclose(gradients[1][varied], inputs.grad[varied], atol=1e-5)
