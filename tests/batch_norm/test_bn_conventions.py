"""Cases 47 to 51: what other projects' settings and formulas mean here."""

import contextlib

import bn_layers
import numpy as np
import pytest
import torch
from bn_models import random_state, same, snapshot
from torch import nn

from algorithmic_efficiency.nn.batch_norm import momentum_from
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm, batch_norm_mode

UPDATE = {"update": True, "use_running_average": False}


def layer_for(framework, arrays, **settings):
    return bn_layers.LAYERS[framework](arrays["w"], arrays["b"], **settings)


def test_case_47_the_two_variances_differ_by_the_stated_sum():
    arrays, _ = bn_layers.golden("torch/bn2d_n1")  # one image
    unbiased = layer_for("pytorch", arrays)
    population = layer_for("jax", arrays, variance="population")
    difference, steps, a = 0.0, 4, 0.1
    n = arrays["t00/x"].size // 3
    for i in range(steps):
        x = np.moveaxis(arrays[f"t{i:02}/x"], 1, -1)
        for layer in (unbiased, population):
            layer(x, x, **UPDATE)
        v = x.reshape(n, 3).var(0)
        difference += a * (1 - a) ** (steps - 1 - i) * v / (n - 1)
    np.testing.assert_allclose(unbiased.state[0], population.state[0], rtol=1e-5)
    found = unbiased.state[1] - population.state[1]
    np.testing.assert_allclose(found, difference, rtol=1e-5)
    kept = (1 - a) ** steps
    converted = (unbiased.state[1] - kept) * (n - 1) / n + kept
    np.testing.assert_allclose(converted, population.state[1], rtol=1e-6)


@pytest.mark.parametrize("project", ["flax", "equinox", "onnx"])
@pytest.mark.parametrize("theirs, ours", [(0.0, 1.0), (1.0, 0.0), (0.9, 0.1)])
def test_case_48_momentum_of_projects_that_weigh_the_old_value(project, theirs, ours):
    assert momentum_from(project, theirs) == pytest.approx(ours, abs=1e-12)


@pytest.mark.parametrize("project", ["pytorch", "composer"])
@pytest.mark.parametrize("momentum", [0.0, 0.1, 1.0, None])
def test_case_48_momentum_of_projects_that_weigh_the_new_batch(project, momentum):
    assert momentum_from(project, momentum) == momentum


def test_case_48_an_unknown_project_is_named():
    with pytest.raises(ValueError, match="Found project 'keras'; known are"):
        momentum_from("keras", 0.9)


@pytest.mark.parametrize("framework", bn_layers.FRAMEWORKS)
@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_case_48_both_ends_of_momentum(framework, momentum):
    arrays, _ = bn_layers.golden("torch/bn1d_nc")
    layer = layer_for(framework, arrays, momentum=momentum)
    x = arrays["t00/x"]
    layer(x, x, **UPDATE)
    expected = (x.mean(0), x.var(0, ddof=1)) if momentum else (0 * x[0], 0 * x[0] + 1)
    np.testing.assert_allclose(layer.state[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(layer.state[1], expected[1], rtol=1e-6)
    x = x * np.inf
    layer(x, x, **UPDATE)  # momentum 0 writes nothing, not 0 * inf
    assert np.isfinite(layer.state[0]).all() is np.bool_(momentum == 0)


def debiased(stored, start, kept):
    """Removes the weight `kept` of the initial value from a running statistic."""
    return (stored - kept * start) / (1 - kept) if kept < 1 else stored


@pytest.mark.parametrize("case", ["equinox/batch_m09_nc", "equinox/batch_m09_nchw"])
@pytest.mark.parametrize("framework", bn_layers.FRAMEWORKS)
def test_case_49_equinox_batch_mode_and_its_exact_debiasing(case, framework):
    arrays, config = bn_layers.golden(case)
    momentum = momentum_from("equinox", config["momentum"])
    layer = layer_for(framework, arrays, momentum=momentum, variance="population")
    assert (debiased(layer.state[1], 1, 1.0) == 1).all()  # untrained: the identity
    x = np.moveaxis(arrays["t00/x"], 1, -1)
    y, *_ = layer(x, x, **UPDATE)
    np.testing.assert_allclose(y, np.moveaxis(arrays["t00/y"], 1, -1), atol=2e-5)
    np.testing.assert_allclose(layer.state[0], arrays["t00/rm"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.state[1], arrays["t00/rv"], rtol=1e-5)
    rows = x.reshape(-1, 3)
    mean = debiased(layer.state[0], 0, 1 - momentum)
    var = debiased(layer.state[1], 1, 1 - momentum)
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(var, rows.var(0), rtol=1e-5)


@pytest.mark.parametrize("case", ["op14_nc_m09", "op15_nchw_m09"])
@pytest.mark.parametrize("framework", bn_layers.FRAMEWORKS)
def test_case_50_onnx_training_mode(case, framework):
    arrays, config = bn_layers.golden(f"onnx/{case}")
    momentum = momentum_from("onnx", config["momentum"])
    layer = layer_for(framework, arrays, momentum=momentum, variance="population")
    bn_layers.set_state(layer, arrays["rm_init"], arrays["rv_init"])
    for i in range(4):
        at = {k[4:]: v for k, v in arrays.items() if k.startswith(f"t{i:02}/")}
        x, dy = (np.moveaxis(at[key], 1, -1) for key in ("x", "dy"))
        y, dx, dw, db = layer(x, dy, **UPDATE)
        for found, expected in (
            (y, np.moveaxis(at["y_train"], 1, -1)),
            (dx, np.moveaxis(at["dx"], 1, -1)),
            (dw, at["dw"]),
            (db, at["db"]),
            (layer.state[0], at["rm"]),
            (layer.state[1], at["rv"]),
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)
        r = at["saved_inv_std"]
        xhat = (x - at["saved_mean"]) * r
        axes = tuple(range(x.ndim - 1))
        centred = dy - dy.mean(axes) - xhat * (dy * xhat).mean(axes)
        np.testing.assert_allclose(arrays["w"] * r * centred, dx, rtol=1e-3, atol=2e-5)


class Ghost(nn.Module):
    """Chunks of a batch through one layer at momentum / chunks, as Composer does."""

    def __init__(self, layer, size):
        super().__init__()
        self.layer, self.size = layer, size

    @contextlib.contextmanager
    def shared_momentum(self, chunks):
        momentum = self.layer.momentum
        self.layer.momentum = momentum / chunks
        try:
            yield
        finally:
            self.layer.momentum = momentum

    def forward(self, x):
        chunks = x.chunk(-(-len(x) // self.size))
        with self.shared_momentum(len(chunks)):
            return torch.cat([self.layer(chunk) for chunk in chunks])

    def vectorised(self, x):
        """The same for chunks of equal size in one kernel, without an update."""
        chunks = -(-len(x) // self.size)
        folded = torch.stack(x.chunk(chunks), 1).flatten(1, 2)
        weight, bias = self.layer.weight.repeat(chunks), self.layer.bias.repeat(chunks)
        y = nn.functional.batch_norm(folded, None, None, weight, bias, True)
        return y.unflatten(1, (chunks, -1)).transpose(0, 1).flatten(0, 1)


GHOSTS = {"ghost/bn2d_B10_g4": 4, "ghost/bn2d_B7_g3_tail1": 3, "ghost/bn1d_B8_g4": 4}


def ghost(case, make):
    arrays, _ = bn_layers.golden(case)
    wrapper = Ghost(make(3), GHOSTS[case])
    wrapper.layer.weight.data = torch.tensor(arrays["w"])
    wrapper.layer.bias.data = torch.tensor(arrays["b"])
    return wrapper, arrays


@pytest.mark.parametrize("case", GHOSTS)
@pytest.mark.parametrize("ours", [False, True])
def test_case_51_ghost_batches_through_the_switch(case, ours):
    dimensions = nn.BatchNorm2d if "bn2d" in case else nn.BatchNorm1d
    wrapper, arrays = ghost(case, BatchNorm if ours else dimensions)
    for i, (mode, update) in enumerate(
        zip(arrays["mode"], arrays["update"], strict=True)
    ):
        with batch_norm_mode(
            wrapper, update=bool(update), use_running_average=mode == "EVAL"
        ):
            y = wrapper(torch.tensor(arrays[f"t{i:02}/x"]))
        np.testing.assert_allclose(y.detach(), arrays[f"t{i:02}/y"], atol=2e-5)
        state = snapshot(wrapper)[0].values()
        for found, key in zip(state, ("rm", "rv", "nbt"), strict=True):
            np.testing.assert_allclose(found, arrays[f"t{i:02}/{key}"], rtol=1e-5)
    assert wrapper.layer.momentum == 0.1


def test_case_51_vectorised_ghost_batches_are_the_loop():
    wrapper, arrays = ghost("ghost/bn1d_B8_g4", nn.BatchNorm1d)
    x = torch.tensor(arrays["t00/x"])
    with batch_norm_mode(wrapper, update=False):
        assert torch.equal(wrapper(x), wrapper.vectorised(x))


def test_case_51_an_exception_between_chunks_restores_the_momentum():
    wrapper = random_state(Ghost(nn.BatchNorm1d(3), 2))
    before = snapshot(wrapper)
    with pytest.raises(ValueError), batch_norm_mode(wrapper, update=False):
        wrapper(torch.randn(3, 3))  # chunks of 2 and of 1, which the kernel refuses
    assert same(before, snapshot(wrapper))
