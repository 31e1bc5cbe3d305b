"""Micro-batches that count as one batch, in both frameworks."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen
from torch import nn

from algorithmic_efficiency.nn.batch_norm import jax_moments
from algorithmic_efficiency.nn.batch_norm.accumulated import (
    AccumulateBatchNorm,
    update_stats,
)
from algorithmic_efficiency.nn.batch_norm.jax import BatchNorm as JaxBatchNorm
from algorithmic_efficiency.nn.batch_norm.jax_accumulated import (
    AccumulateBatchNorm as JaxAccumulated,
)
from algorithmic_efficiency.nn.batch_norm.jax_accumulated import (
    update_stats as jax_update_stats,
)
from algorithmic_efficiency.nn.batch_norm.lockstep import exact_batch
from algorithmic_efficiency.nn.batch_norm.moments import accumulate
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm, batch_norm_mode

PARTS = (4, 1, 3)  # the second has one value per channel


def parts(seed, offset=0.0):
    rng = np.random.default_rng(seed)
    return [rng.normal(offset, 1, (n, 3)).astype(np.float32) for n in PARTS]


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_the_forums_class_is_right_where_the_original_is_not(offset):
    layer, plain = AccumulateBatchNorm(3), nn.BatchNorm1d(3)
    for seed in range(2):
        batch = [torch.tensor(part) for part in parts(seed, offset)]
        before = layer.running_var.clone()
        for part in batch:
            layer(part)
        assert torch.equal(layer.running_var, before)
        with batch_norm_mode(layer, update=False):
            layer(batch[0] + 9)
        layer.eval()(batch[0] + 9)
        layer.train().update_stats()
        whole = torch.cat(batch).double()
        plain.double()(whole)
        torch.testing.assert_close(layer.running_mean, plain.running_mean.float())
        torch.testing.assert_close(
            layer.running_var, plain.running_var.float(), rtol=1e-6, atol=1e-6
        )
    layer.update_stats()  # nothing was collected
    assert layer.num_batches_tracked == plain.num_batches_tracked == 2


def test_what_was_collected_is_saved_and_holds_no_graph():
    layer = AccumulateBatchNorm(3, automatic=True)
    first, second, third = (torch.tensor(part) for part in parts(0))
    layer(first.requires_grad_())
    resumed = AccumulateBatchNorm(3, automatic=True)
    resumed.load_state_dict(copy.deepcopy(layer.state_dict()))
    for each in (layer, resumed):
        each(second)
        each(third)
    plain = BatchNorm(3)
    plain(torch.cat([first, second, third]))
    torch.testing.assert_close(layer.running_var, plain.running_var)
    assert layer.num_batches_tracked == 1
    for name, buffer in resumed.named_buffers():
        assert torch.equal(buffer, layer.get_buffer(name))
        assert not buffer.requires_grad
    update_stats(layer)
    layer(first)
    assert layer.num_batches_tracked == 2


@pytest.mark.parametrize("automatic", [False, True])
def test_jax_micro_batches_are_the_whole_batch(automatic):
    kind = JaxAccumulated if automatic else JaxBatchNorm
    layer, plain = kind(momentum=0.9), BatchNorm(3, momentum=0.9)
    x = jnp.zeros((4, 3))
    variables = layer.init(jax.random.key(0), x, use_running_average=True)
    state = {"batch_stats": variables["batch_stats"]}

    @jax.jit
    def forward(state, params, x):
        moving = ["moments"] if "moments" in state else ["batch_stats"]
        _, new = layer.apply(
            {"params": params, **state}, x, use_running_average=False, mutable=moving
        )
        return {**state, **new}

    for seed in range(2):
        batch = parts(seed, 1e4)
        state = state if automatic else jax_moments.start_accumulating(state)
        for part in batch[::2]:
            state = forward(state, variables["params"], part)
        end = jax_update_stats if automatic else jax_moments.finish_accumulating
        state = end(state)
        plain(torch.tensor(np.concatenate(batch[::2])))
        stats = state["batch_stats"]
        np.testing.assert_allclose(stats["mean"], plain.running_mean, rtol=1e-6)
        np.testing.assert_allclose(stats["var"], plain.running_var, rtol=1e-5)
        assert int(stats["count"]) == plain.num_batches_tracked
    assert "moments" not in state
    same = jax_moments.finish_accumulating(jax_moments.start_accumulating(state))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), same, state))


def test_one_value_per_channel_is_a_micro_batch():
    layer, whole = BatchNorm(3), torch.tensor(np.concatenate(parts(3)))
    plain = BatchNorm(3)
    plain(whole)
    with accumulate(layer):
        for row in whole:
            assert torch.equal(layer(row[None]), layer.bias.expand(1, 3))
    torch.testing.assert_close(layer.running_mean, plain.running_mean)
    torch.testing.assert_close(layer.running_var, plain.running_var)


def test_lockstep_gives_outputs_and_gradients_of_the_big_batch():
    torch.manual_seed(0)
    ours = nn.Sequential(
        BatchNorm(3), nn.Linear(3, 4), nn.Tanh(), BatchNorm(4), nn.Linear(4, 2)
    )
    big, whole = copy.deepcopy(ours), torch.randn(9, 3)
    outputs = exact_batch(ours, ours, whole.split([4, 2, 3]))
    expected = big(whole)
    torch.testing.assert_close(torch.cat(outputs), expected, rtol=1e-5, atol=1e-6)
    for y in (torch.cat(outputs), expected):
        y.square().sum().backward()
    for a, b in zip(ours.parameters(), big.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-5)
    for a, b in zip(ours.buffers(), big.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)

    def failing(x):
        y = ours[0](x)
        if len(x) == 2:
            raise RuntimeError("the second")
        return ours[3](ours[1](y))

    with pytest.raises(RuntimeError, match="the second"):
        exact_batch(ours, failing, whole.split([4, 2, 3]))
    assert ours(whole).shape == (9, 2)  # nothing is left of it


class Net(linen.Module):
    """Two batch norms with a dense layer between them."""

    @linen.compact
    def __call__(self, x):
        x = JaxBatchNorm(name="bn0")(x, use_running_average=False)
        x = jnp.tanh(linen.Dense(4, name="fc")(x))
        return JaxBatchNorm(name="bn1")(x, use_running_average=False)


def test_vmapped_micro_batches_are_the_big_batch():
    net, whole = Net(), jax.random.normal(jax.random.key(1), (8, 3))
    variables = net.init(jax.random.key(0), whole)
    state = {"batch_stats": variables["batch_stats"]}

    def outputs(params, x):
        return net.apply({"params": params, **state}, x, mutable=["batch_stats"])

    def ours(params):
        y, new = jax_moments.exact_batch(
            lambda x: outputs(params, x), whole.reshape(4, 2, 3)
        )
        return jnp.sum(jnp.sin(y)), new

    def big(params):
        y, new = outputs(params, whole)
        return jnp.sum(jnp.sin(y)), new

    found = [
        jax.jit(jax.value_and_grad(f, has_aux=True))(variables["params"])
        for f in (ours, big)
    ]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *found
    )
