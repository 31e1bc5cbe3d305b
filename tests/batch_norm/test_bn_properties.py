"""Any sequence of forwards, against the formulas in NumPy float64."""

import contextlib

import bn_layers
import bn_models as models
import numpy as np
import pytest
import torch
from bn_reference import Reference
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithmic_efficiency.nn.batch_norm.moments import recalibrate
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm, batch_norm_mode

SCALE, BIAS = np.float32([1.5, -0.7, 0.3]), np.float32([0.1, 2.0, -1.0])
STEPS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 99),
        "lengths": st.none() | st.lists(st.integers(0, 5), min_size=3, max_size=3),
        "update": st.booleans(),
        "running": st.booleans(),
        "outer": st.none() | st.booleans(),  # an enclosing block that says otherwise
        "raises": st.booleans(),
    }
)
LAYER = st.fixed_dictionaries(
    {
        "momentum": st.sampled_from([None, 0.0, 0.1, 0.7, 1.0]),
        "variance": st.sampled_from(["unbiased", "population"]),
    }
)


def data(step):
    rng = np.random.default_rng(step["seed"])
    x = np.float32(rng.normal(rng.normal(0, 3), 2, (3, 5, 3)))
    lengths = step["lengths"]
    mask = None if lengths is None else np.arange(5) < np.array(lengths)[:, None]
    return x, np.float32(rng.normal(size=x.shape)), mask


def check(found, expected):
    """Compares y, dx, dscale and dbias, each to 1e-5 of its largest value."""
    for one, other in zip(found, expected, strict=True):
        tolerance = 1e-5 * max(1, np.abs(other).max())
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


class Unexpected(Exception):  # noqa: N818 - it stands for any exception
    pass


def interrupted(layer, step, arguments):
    """Enters and leaves the switch around the layer as the step says."""
    if not isinstance(layer, bn_layers.TorchLayer):
        return
    outer = contextlib.nullcontext()
    if step["outer"] is not None:
        outer = batch_norm_mode(layer.layer, update=step["outer"])
    with (
        contextlib.suppress(Unexpected),
        outer,
        batch_norm_mode(layer.layer, update=False),
    ):
        layer.layer(torch.tensor(arguments[0]))
        if step["raises"]:
            raise Unexpected


@pytest.mark.parametrize("framework", bn_layers.FRAMEWORKS)
@settings(max_examples=40, deadline=None)
@given(options=LAYER, steps=st.lists(STEPS, min_size=1, max_size=5))
def test_any_sequence_of_forwards_is_the_reference(framework, options, steps):
    layer = bn_layers.LAYERS[framework](SCALE, BIAS, **options)
    reference = Reference(SCALE, BIAS, **options)
    for step in steps:
        arguments = data(step)
        interrupted(layer, step, arguments)
        mode = {"update": step["update"], "use_running_average": step["running"]}
        expected = reference(*arguments, **mode)
        check(layer(*arguments, **mode), expected)
        mean, var, count = layer.state
        np.testing.assert_allclose(mean, reference.mean, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(var, reference.var, rtol=1e-5, atol=1e-5)
        assert count == reference.count


@pytest.mark.parametrize("variance", ["unbiased", "population"])
@pytest.mark.parametrize("masked", [False, True])
def test_fifty_random_steps_agree_between_the_frameworks(variance, masked):
    layers = [
        bn_layers.LAYERS[f](SCALE, BIAS, variance=variance) for f in bn_layers.LAYERS
    ]
    reference = Reference(SCALE, BIAS, momentum=0.1, variance=variance)
    rng = np.random.default_rng(5)
    for seed in range(50):
        lengths = list(rng.integers(0, 6, 3)) if masked else None
        arguments = data({"seed": seed, "lengths": lengths})
        kind = rng.integers(0, 4)
        mode = {"update": kind > 0, "use_running_average": kind == 1}
        expected = reference(*arguments, **mode)
        pytorch, jax = (layer(*arguments, **mode) for layer in layers)
        for one, other in ((pytorch, jax), (pytorch, expected), (jax, expected)):
            check(one, other)
        for one, other in zip(layers[0].state, layers[1].state, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
    assert layers[0].state[2] > 10


@pytest.mark.parametrize("variance", ["unbiased", "population"])
def test_recalibrated_statistics_are_those_of_all_values_at_once(variance):
    batches = [data({"seed": seed, "lengths": [5, seed % 6, 0]}) for seed in range(6)]
    values = np.concatenate([x[mask] for x, _, mask in batches]).astype(np.float64)
    layers = [
        bn_layers.LAYERS[f](SCALE, BIAS, variance=variance) for f in bn_layers.LAYERS
    ]
    for layer in layers:
        layer(*batches[0], update=True, use_running_average=False)
        bn_layers.recalibrated(layer, [(x, mask) for x, _, mask in batches])
        mean, var, count = layer.state
        np.testing.assert_allclose(mean, values.mean(0), rtol=1e-6)
        ddof = int(variance == "unbiased")
        np.testing.assert_allclose(var, values.var(0, ddof=ddof), rtol=1e-6)
        assert count == 1


def test_recalibrating_a_model_gives_the_same_in_both_frameworks():
    torch_net, jax_net = models.paired_nets()
    batches = [models.batch(seed) for seed in range(4)]
    stats = models.recalibrated_net(jax_net, batches)
    modes = [layer.training for layer in torch_net.modules()]
    recalibrate(
        torch_net,
        [{key: torch.tensor(value) for key, value in b.items()} for b in batches],
        lambda batch: torch_net(batch["inputs"], batch["weights"]),
    )
    for name in ("bn0", "bn1"):
        layer = getattr(torch_net, name)
        for ours, theirs in (("running_mean", "mean"), ("running_var", "var")):
            np.testing.assert_allclose(
                getattr(layer, ours), stats[name][theirs], rtol=2e-5, atol=2e-6
            )
    assert modes == [layer.training for layer in torch_net.modules()]


def test_recalibrating_torch_layers_and_nothing():
    layer, x = torch.nn.BatchNorm1d(3), torch.randn(12, 3)
    recalibrate(layer, [])
    assert layer.running_var.eq(1).all()
    recalibrate(layer, [x[:5], x[5:]])
    torch.testing.assert_close(layer.running_mean, x.mean(0))
    torch.testing.assert_close(layer.running_var, x.var(0))
    assert layer.num_batches_tracked == 0


def test_the_masked_layer_can_be_differentiated_twice():
    layer = BatchNorm(3, channel_axis=-1).double()
    x = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    assert torch.autograd.gradgradcheck(lambda x: layer(x, mask).pow(2), (x,))
    first = BatchNorm(3).double()
    swapped = x.detach().movedim(-1, 1).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: first(x, mask).pow(2), (swapped,))
