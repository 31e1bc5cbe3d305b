"""Layers from and to other projects: their own values before, beside and after."""

import dataclasses
import math

import bn_layers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen, nnx

from algorithmic_efficiency.nn.batch_norm import jax as jax_bn
from algorithmic_efficiency.nn.batch_norm import pytorch as torch_bn
from algorithmic_efficiency.nn.batch_norm.interchange import read, write
from algorithmic_efficiency.nn.batch_norm.layouts import LAYOUTS

SPLIT = 5  # the vectors have an evaluation here, and two updates after it


def state_of(project, arrays, step):
    """Returns the arrays of a vector's layer after a step, in the project's layout."""
    at = f"t{step:02}/"
    values = {
        "scale": arrays["w"],
        "bias": arrays["b"],
        "mean": arrays[at + "rm"],
        "var": arrays[at + "rv"],
        "count": arrays.get(at + "nbt", arrays.get(at + "counter")),
        "first": arrays.get(at + "counter"),
    }
    layout, tree = LAYOUTS[project], {}
    for name, value in values.items():
        path = getattr(layout, name)
        if path is not None:
            *folder, leaf = path.split(".")
            (tree.setdefault(folder[0], {}) if folder else tree)[leaf] = value
    return tree


def ours(framework, norm):
    """Returns our layer of a framework with everything of the record."""
    settings = {"momentum": norm.momentum, "epsilon": norm.epsilon}
    layer = bn_layers.LAYERS[framework](
        norm.scale, norm.bias, variance=norm.variance, **settings
    )
    bn_layers.set_state(layer, norm.mean, norm.var)
    return layer


VECTORS = [
    ("torch", "torch/bn2d", 0.1, "jax"),
    ("torch", "torch/bn2d", 0.1, "pytorch"),
    ("linen", "flax/linen_m09", 0.9, "pytorch"),
    ("nnx", "flax/nnx_default", 0.99, "pytorch"),
    ("equinox", "equinox/batch_m09_nc", 0.9, "pytorch"),
    ("equinox", "equinox/batch_m09_nchw", 0.9, "pytorch"),
    ("equinox", "equinox/batch_m09_nchw", 0.9, "jax"),
]


@pytest.mark.parametrize(("project", "case", "momentum", "framework"), VECTORS)
def test_a_layer_goes_on_here_as_it_would_there(project, case, momentum, framework):
    arrays, _ = bn_layers.golden(case)
    norm = read(project, state_of(project, arrays, SPLIT - 1), momentum=momentum)
    axis = -1 if case.startswith("flax") else 1
    shown = norm.debiased(as_equinox=True) if project == "equinox" else norm
    assert arrays["mode"][SPLIT] == "EVAL"
    x, y, dy = (
        np.moveaxis(arrays[f"t{SPLIT:02}/{key}"], axis, -1) for key in ("x", "y", "dy")
    )
    found, *_ = ours(framework, shown)(x, dy, update=False, use_running_average=True)
    np.testing.assert_allclose(found, y, rtol=1e-5, atol=1e-5)
    layer = ours(framework, norm)
    updates = 0
    for step in range(SPLIT, 10):
        if arrays["update"][step]:
            x = np.moveaxis(arrays[f"t{step:02}/x"], axis, -1)
            layer(x, x, update=True, use_running_average=False)
            updates += 1
    assert updates == 2
    for found, key in zip(layer.state, ("rm", "rv"), strict=False):
        np.testing.assert_allclose(found, arrays[f"t09/{key}"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", ["equinox/ema_m09_nc", "equinox/ema_m09_nchw"])
def test_equinox_s_ema_evaluates_here_as_it_does_there(case):
    arrays, _ = bn_layers.golden(case)
    norm = read("equinox_ema", state_of("equinox_ema", arrays, SPLIT - 1), momentum=0.9)
    x, y = (np.moveaxis(arrays[f"t{SPLIT:02}/{key}"], 1, -1) for key in ("x", "y"))
    layer = ours("pytorch", norm)
    found, *_ = layer(x, x, update=False, use_running_average=True)
    np.testing.assert_allclose(found, y, rtol=1e-5, atol=1e-5)
    assert norm.start == 0
    np.testing.assert_array_equal(norm.debiased().var, norm.var)
    again, settings = write("equinox_ema", norm)
    assert not again["first_time"] and settings["momentum"] == pytest.approx(0.9)
    np.testing.assert_array_equal(again["mean"], arrays["t04/rm"])


def test_equinox_s_ema_before_its_first_step_holds_nothing():
    garbage = np.full(3, 7.0, np.float32)
    state = {"mean": garbage, "var": garbage, "first_time": np.array(True)}
    norm = read("equinox_ema", state)
    np.testing.assert_array_equal(norm.mean, 0)
    np.testing.assert_array_equal(norm.var, 1)
    assert norm.count == 0 and norm.start == 1


def test_equinox_s_batch_statistics_without_their_start():
    arrays, _ = bn_layers.golden("equinox/batch_m09_nc")
    norm = read("equinox", state_of("equinox", arrays, 0), momentum=0.9)
    rows = arrays["t00/x"]
    exact = norm.debiased()
    np.testing.assert_allclose(exact.mean, rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(exact.var, rows.var(0), rtol=1e-5)
    wrong = norm.debiased(as_equinox=True)
    np.testing.assert_allclose(wrong.var, rows.var(0) + 9, rtol=1e-5)


@pytest.mark.parametrize("case", ["op14_nc_m09", "op14_nchw_m05"])
def test_onnx_inputs_evaluate_and_move_here_as_there(case):
    arrays, config = bn_layers.golden(f"onnx/{case}")
    at = {k[4:]: v for k, v in arrays.items() if k.startswith("t01/")}
    state = {"scale": arrays["w"], "B": arrays["b"]}
    state |= {"input_mean": at["rm_in"], "input_var": at["rv_in"]}
    norm = read("onnx", state, momentum=config["momentum"])
    x, y = (np.moveaxis(at[key], 1, -1) for key in ("x", "y_infer"))
    layer = ours("pytorch", norm)
    found, *_ = layer(x, x, update=False, use_running_average=True)
    np.testing.assert_allclose(found, y, rtol=1e-5, atol=2e-5)
    layer(x, x, update=True, use_running_average=False)
    for found, key in zip(layer.state, ("rm", "rv"), strict=False):
        np.testing.assert_allclose(found, at[key], rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def trained():
    """Returns torch's, linen's and nnx's own layers after 4 updates by equal batches.

    Also how many values per channel a batch had.
    """
    batches = np.random.default_rng(0).normal(1, 2, (4, 3, 2, 2, 5)).astype(np.float32)
    theirs = torch.nn.BatchNorm2d(5, momentum=0.25, eps=1e-3)
    layer = linen.BatchNorm(momentum=0.75, epsilon=1e-3, use_fast_variance=False)
    variables = layer.init(jax.random.key(0), batches[0], use_running_average=False)
    other = nnx.BatchNorm(5, momentum=0.75, epsilon=1e-3, rngs=nnx.Rngs(0))
    for batch in batches:
        theirs(torch.tensor(np.moveaxis(batch, -1, 1)))
        _, moved = layer.apply(
            variables, batch, use_running_average=False, mutable=["batch_stats"]
        )
        variables = {**variables, **moved}
        other(jnp.asarray(batch), use_running_average=False)
    states = {
        "torch": theirs.state_dict(),
        "linen": variables,
        "nnx": nnx.to_pure_dict(nnx.state(other)),
    }
    return states, batches[0].size // 5


@pytest.mark.parametrize("target", ["linen", "nnx", "torch"])
@pytest.mark.parametrize("source", ["linen", "nnx", "torch"])
def test_frameworks_own_layers_become_each_other(trained, source, target):
    states, values = trained
    momentum = {"torch": 0.25}
    norm = read(
        source,
        states[source],
        momentum=momentum.get(source, 0.75),
        epsilon=1e-3,
        count=4,
    )
    arrays, settings = write(target, norm, values=values)
    assert settings["momentum"] == momentum.get(target, 0.75)
    assert settings["eps" if target == "torch" else "epsilon"] == 1e-3
    for found, wanted in zip(
        leaves(arrays, target), leaves(states[target], target), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    if (source == "torch") != (target == "torch"):  # the estimators differ by 1 / 11
        kept, _ = write(target, norm, values=math.inf)
        change = np.abs(leaves(kept, target)[3] - leaves(states[target], target)[3])
        assert change.min() > 0.01


def leaves(tree, project):
    """Returns scale, bias, mean and variance of a layer in a project's layout."""
    norm = read(project, tree)
    return norm.scale, norm.bias, norm.mean, norm.var


@pytest.mark.parametrize("project", LAYOUTS)
@pytest.mark.parametrize("zero_centered", [False, True])
def test_writing_and_reading_give_the_layer_back(project, zero_centered):
    c = np.arange(1, 4, dtype=np.float32)
    source = {"weight": c, "bias": -c, "running_mean": 2 * c, "running_var": 3 * c}
    source["num_batches_tracked"] = np.array(40)
    norm = read("ours_pytorch", source, momentum=0.125, variance="population")
    arrays, settings = write(project, norm, zero_centered_scale=zero_centered, values=8)
    rest = {"zero_centered_scale": zero_centered, "count": 40}
    if LAYOUTS[project].variance is None:
        rest["variance"] = settings["variance"]
    back = read(project, arrays, momentum=settings["momentum"], **rest)
    back = back.with_variance("population", 8)
    for field in ("scale", "bias", "mean", "var"):
        np.testing.assert_allclose(
            getattr(back, field), getattr(norm, field), rtol=1e-6
        )
    assert back.momentum == norm.momentum
    old = LAYOUTS[project].convention != "pytorch"
    assert settings["momentum"] == (0.875 if old else 0.125)


def test_our_own_layers_take_what_is_written(trained):
    states, values = trained
    norm = read("torch", states["torch"], momentum=0.25, epsilon=1e-3)
    arrays, settings = write("ours_pytorch", norm, zero_centered_scale=True)
    layer = torch_bn.BatchNorm(5, **settings)
    layer.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})
    variables, settings = write(
        "ours_jax", norm, variance="population", zero_centered_scale=True, values=values
    )
    other = jax_bn.BatchNorm(**settings)
    x = np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32)
    batch_stats = variables["batch_stats"]
    assert batch_stats["count"].dtype == np.int32 and batch_stats["count"] == 4
    layer.eval()
    found = layer(torch.tensor(x)).detach().numpy()
    wanted = other.apply(variables, x, use_running_average=True)
    spread = np.sqrt((norm.var + 1e-3) / (batch_stats["var"] + 1e-3))
    np.testing.assert_allclose(found * spread, wanted, rtol=1e-5, atol=1e-5)


def test_the_other_estimator_with_cumulative_momentum(trained):
    states, _ = trained
    norm = read("torch", states["torch"], momentum=None)
    assert norm.start == 0
    found = norm.with_variance("population", 12).var
    np.testing.assert_allclose(found, norm.var * 11 / 12, rtol=1e-6)
    with pytest.raises(ValueError, match="cumulative; onnx has no such setting"):
        write("onnx", norm, values=12)


def test_layers_without_scale_and_bias():
    state = {"running_mean": np.zeros(2), "running_var": np.ones(2)}
    norm = read("torch", state, count=3)
    assert norm.scale is None and norm.bias is None
    arrays, _ = write("onnx", norm, values=math.inf)
    np.testing.assert_array_equal(arrays["scale"], 1)
    np.testing.assert_array_equal(arrays["B"], 0)
    assert set(write("linen", norm, values=10)[0]) == {"batch_stats"}


def test_a_bfloat16_layer_of_torch_and_parameters_with_gradients():
    layer = torch.nn.BatchNorm1d(3, dtype=torch.bfloat16)
    norm = read("torch", dict(layer.named_parameters()) | dict(layer.named_buffers()))
    assert {norm.scale.dtype, norm.var.dtype} == {np.dtype("float32")}


def test_what_is_missing_is_named():
    state = {"weight": np.ones(2), "running_mean": np.zeros(2)}
    with pytest.raises(ValueError, match="Found no 'running_var' among"):
        read("torch", state)
    with pytest.raises(ValueError, match="Found project 'keras'; known are"):
        read("keras", state)
    state["running_var"] = np.ones(3)
    with pytest.raises(ValueError, match=r"Found var of shape \(3,\)"):
        read("torch", state)
    state["running_var"] = np.ones(2)
    norm = read("torch", state)
    with pytest.raises(ValueError, match="Found values=None; the running variance is"):
        write("linen", norm)
    with pytest.raises(ValueError, match="Found no number of updates, which the exact"):
        write("linen", norm, values=8)
    with pytest.raises(ValueError, match="Found no number of updates; torch keeps it"):
        write("torch", norm)
    with pytest.raises(ValueError, match="the weight of the start is not known"):
        norm.debiased()
    assert write("torch", dataclasses.replace(norm, count=2))[0]
