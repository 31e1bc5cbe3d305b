"""Cases 23 to 33: gradients, and forwards that several passes share."""

import bn_layers
import bn_models as models
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from bn_models import TRAIN, random_state, same, snapshot
from torch import nn

from algorithmic_efficiency.nn.batch_norm.moments import Moments, accumulate
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm, batch_norm_mode

frameworks = pytest.mark.parametrize("framework", bn_layers.FRAMEWORKS)


def layer_and_data(framework, **settings):
    arrays, _ = bn_layers.golden("torch/bn1d_nc")
    layer = bn_layers.LAYERS[framework](arrays["w"], arrays["b"], **settings)
    data = [(arrays[f"t{i:02}/x"], arrays[f"t{i:02}/dy"]) for i in range(3)]
    for x, dy in data[:2]:
        layer(x, dy, update=True, use_running_average=False)
    return layer, *data[2]


@frameworks
@pytest.mark.parametrize("masked", [False, True])
def test_case_23_frozen_gradients_flow_through_batch_statistics(framework, masked):
    layer, x, dy = layer_and_data(framework)
    mask = np.arange(len(x)) != 1 if masked else None
    frozen = layer(x, dy, mask, update=False, use_running_average=False)
    moving = layer(x, dy, mask, update=True, use_running_average=False)
    for one, other in zip(frozen, moving, strict=True):
        np.testing.assert_array_equal(one, other)
    tolerance = 1e-5 * np.abs(frozen[1]).max()
    np.testing.assert_allclose(frozen[1].sum(0), 0, atol=tolerance)


@frameworks
def test_case_24_gradient_of_the_running_normaliser(framework):
    layer, x, dy = layer_and_data(framework)
    arrays, _ = bn_layers.golden("torch/bn1d_nc")
    _, dx, *_ = layer(x, dy, update=False, use_running_average=True)
    expected = arrays["w"] / np.sqrt(layer.state[1] + 1e-5) * dy
    np.testing.assert_allclose(dx, expected, rtol=1e-6)


@pytest.mark.parametrize("running", [False, True])
def test_case_25_no_gradient_touches_the_stored_statistics(running):
    layer, x, _ = layer_and_data("jax")

    def forward(params, stats, x):
        y, new = layer.layer.apply(
            {"params": params, "batch_stats": stats},
            x,
            use_running_average=running,
            mutable=["batch_stats"],
        )
        return jnp.sum(y**3), new["batch_stats"]

    def moved(params, x):
        new = forward(params, layer.stats, x)[1]
        return jnp.sum(new["mean"] ** 2 + new["var"] ** 2)

    stored = {key: layer.stats[key] for key in ("mean", "var")}
    through_stored = jax.grad(
        lambda s: forward(layer.params, {**layer.stats, **s}, x)[0]
    )(stored)
    into_new = jax.grad(moved, argnums=(0, 1))(layer.params, x)
    for gradient in jax.tree.leaves((through_stored, into_new)):
        np.testing.assert_array_equal(gradient, 0)


MAKES = {
    "ours": lambda: BatchNorm(3),
    "masked": lambda: BatchNorm(3, channel_axis=-1),
    "torch": lambda: nn.BatchNorm1d(3),
}


def pending(make, seed=0):
    """A layer with random state, x with gradient and the mask to call it with."""
    layer = random_state(MAKES[make](), seed)
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(seed))
    mask = (torch.tensor([1, 0, 1, 1, 1, 1]),) if make == "masked" else ()
    return layer, x.requires_grad_(), mask


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("running", [False, True], ids=["batch", "running"])
def test_cases_26_and_27_later_forwards_leave_a_pending_backward_alone(make, running):
    layer, x, mask = pending(make)

    def gradient(disturb):
        with batch_norm_mode(layer, update=False, use_running_average=running):
            y = layer(x, *mask)
        if disturb:
            for update in (False, True):
                with batch_norm_mode(layer, update=update):
                    layer(x.detach() * 3 + 1, *mask)
        return torch.autograd.grad((y**2).sum(), [x, layer.weight])

    expected = gradient(disturb=False)
    before = layer.running_var.clone()
    for one, other in zip(expected, gradient(disturb=True), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(before, layer.running_var)


def test_case_28_sam_moves_the_state_in_its_first_pass_only():
    batch = models.torch_batch()
    one, two = (random_state(models.TorchNet(dropout=0.0)) for _ in range(2))
    for model, second_pass in ((one, True), (two, False)):
        models.torch_model_fn(model, batch, TRAIN, update=True).pow(3).sum().backward()
        first = snapshot(model)[0]
        if second_pass:
            with torch.no_grad():
                for p in model.parameters():
                    p += 0.05 * p.grad
            y = models.torch_model_fn(model, batch, TRAIN, update=False)
            # Batch statistics: population variance near 1 before scale and bias.
            z = (y[:4] - model.bn1.bias) / model.bn1.weight
            torch.testing.assert_close(z.var((0, 1), correction=0), torch.ones(3))
        after = snapshot(model)[0]
        assert all(torch.equal(first[key], after[key]) for key in first)
    for a, b in zip(one.buffers(), two.buffers(), strict=True):
        assert torch.equal(a, b)


def test_case_28_sam_in_jax_keeps_the_same_state_object():
    model, batch = models.JaxNet(dropout=0.0), models.batch()
    variables = models.jax_variables(model, batch)
    key = jax.random.key(1)
    _, stats = models.jax_model_fn(model, variables, batch, TRAIN, key, update=True)
    params = jax.tree.map(lambda p: p + 0.1, variables["params"])
    variables = {"params": params, "batch_stats": stats}
    y, again = models.jax_model_fn(model, variables, batch, TRAIN, key, update=False)
    assert again is stats
    z = (y[:4] - params["bn1"]["bias"]) / params["bn1"]["scale"]
    np.testing.assert_allclose(z.var((0, 1)), 1, rtol=1e-3)


def test_case_29_a_line_search_updates_once():
    model, batch = random_state(models.TorchNet()), models.torch_batch()
    once = snapshot(random_state(models.TorchNet()))
    for _ in range(4):
        models.torch_model_fn(model, batch, TRAIN, update=False)
    assert same(once, snapshot(model))
    models.torch_model_fn(model, batch, TRAIN, update=True)
    assert model.bn0.num_batches_tracked == 1


def test_case_30_accumulation_with_one_update_of_four():
    layer = BatchNorm(3)
    for i in range(4):
        with batch_norm_mode(layer, update=i == 3):
            layer(torch.randn(5, 3))
    assert layer.num_batches_tracked == 1


@pytest.mark.parametrize("case", ["accum/bn2d", "accum/bn2d_offset1e4"])
@pytest.mark.parametrize("variance", ["unbiased", "population"])
def test_cases_30_and_31_accumulated_is_the_concatenated_batch(case, variance):
    arrays, config = bn_layers.golden(case)
    layer = BatchNorm(3, momentum=1.0, variance=variance)
    followed = BatchNorm(3, momentum=config["momentum"])
    for step, group in enumerate(config["groups"]):
        at = f"step{step:02}/"
        for each in (layer, followed):
            with accumulate(each):
                for i in range(len(group)):
                    each(torch.tensor(arrays[f"{at}x{i}"]))
        rv = arrays[f"{at}agg_M2"] / (arrays[f"{at}agg_n"] - (variance == "unbiased"))
        np.testing.assert_allclose(layer.running_mean, arrays[f"{at}agg_mean"], 1e-6)
        np.testing.assert_allclose(layer.running_var, rv, rtol=1e-5)
        np.testing.assert_allclose(
            followed.running_mean, arrays[f"{at}full_rm"], rtol=2e-6, atol=1e-6
        )
        np.testing.assert_allclose(
            followed.running_var, arrays[f"{at}full_rv"], rtol=1e-5
        )
    assert layer.num_batches_tracked == len(config["groups"])


def test_case_32_accumulation_counts_updating_forwards_only():
    layer, x = random_state(BatchNorm(3)), torch.randn(6, 3)
    before = snapshot(layer)
    with accumulate(layer):
        with batch_norm_mode(layer, update=False):
            layer(x)
        with batch_norm_mode(layer, update=True, use_running_average=True):
            layer(x)
    assert same(before, snapshot(layer))
    with pytest.raises(RuntimeError), accumulate(layer):
        layer(x)
        raise RuntimeError
    assert same(before, snapshot(layer))
    with accumulate(layer):
        layer(x.requires_grad_())
        assert layer.num_batches_tracked == 0
    assert layer.num_batches_tracked == 1
    assert not layer.running_mean.requires_grad
    assert layer.state_dict().keys() == before[0].keys() | {"weight", "bias"}


def test_case_32_merging_moments_is_associative():
    generator = torch.Generator().manual_seed(0)

    def moments(n, offset):
        x = torch.randn(n, 3, generator=generator, dtype=torch.float64) + offset
        rows = x if n else torch.zeros(1, 3, dtype=torch.float64)
        mean, var = rows.mean(0), rows.var(0, correction=0)
        count = torch.tensor(float(n), dtype=torch.float64)
        return lambda: Moments(count, mean.clone(), var * n)

    a, b, c = moments(5, 1e3), moments(0, 0.0), moments(1, -4.0)
    left, right, tail = a(), a(), b()
    left.merge(b())
    left.merge(c())
    tail.merge(c())
    right.merge(tail)
    torch.testing.assert_close(left.mean, right.mean)
    torch.testing.assert_close(left.m2, right.m2)


def test_case_33_checkpointing_makes_one_update_in_jax():
    layer, x, _ = layer_and_data("jax")

    def loss(params, x, wrap):
        def forward(params, x):
            return layer.layer.apply(
                {"params": params, "batch_stats": layer.stats},
                x,
                use_running_average=False,
                mutable=["batch_stats"],
            )

        y, new = wrap(forward)(params, x)
        return jnp.sum(y**3), new["batch_stats"]

    plain, wrapped = (
        jax.grad(loss, has_aux=True)(layer.params, x, wrap)
        for wrap in (lambda f: f, jax.checkpoint)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5), plain, wrapped)
    assert wrapped[1]["count"] == layer.stats["count"] + 1
