"""Cases 41 to 46: the state in JAX, and both switches in both frameworks."""

import itertools

import bn_models as models
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from bn_models import EVAL, TRAIN, random_state, snapshot

from algorithmic_efficiency.nn.batch_norm import resolve

KEY = jax.random.key(3)


def net(dropout=0.0):
    model, batch = models.JaxNet(dropout=dropout), models.batch()
    return model, models.jax_variables(model, batch), batch


@pytest.mark.parametrize("mode, running", [(TRAIN, None), (TRAIN, False), (EVAL, None)])
def test_case_41_a_frozen_call_returns_the_same_state_object(mode, running):
    model, variables, batch = net()
    _, stats = models.jax_model_fn(
        model, variables, batch, mode, KEY, update=False, running=running
    )
    assert stats is variables["batch_stats"]


def test_case_42_the_state_is_a_fixed_point_of_an_update():
    model, variables, batch = net()
    start = model.init(KEY, batch["inputs"], train=False, use_running_average=True)

    def step(stats, _):
        state = {"params": variables["params"], "batch_stats": stats}
        return models.jax_model_fn(model, state, batch, TRAIN, KEY, update=True)[::-1]

    stats, _ = jax.lax.scan(step, start["batch_stats"], jnp.arange(3))
    described = [
        jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)
        for tree in (stats, start["batch_stats"])
    ]
    assert described[0] == described[1]
    assert stats["bn0"]["count"] == 3


ALL = list(itertools.product((TRAIN, EVAL), (False, True), (None, False, True)))
ALLOWED = [row for row in ALL if row[:2] != (EVAL, True)]


def test_case_43_resolve_states_all_twelve_combinations():
    table = {
        (TRAIN, True, None): (False, True),
        (TRAIN, True, False): (False, True),
        (TRAIN, True, True): (True, False),
        (TRAIN, False, None): (False, False),
        (TRAIN, False, False): (False, False),
        (TRAIN, False, True): (True, False),
        (EVAL, False, None): (True, False),
        (EVAL, False, False): (False, False),
        (EVAL, False, True): (True, False),
    }
    for row in ALL:
        if row in table:
            assert resolve(*row) == table[row]
        else:
            with pytest.raises(ValueError, match="EVAL with update_batch_norm=True"):
                resolve(*row)


@pytest.mark.parametrize("mode, update, running", ALLOWED)
def test_case_43_normaliser_and_update_are_independent_in_jax(mode, update, running):
    model, variables, batch = net()
    expected_running, moves = resolve(mode, update, running)
    outputs, stats = models.jax_model_fn(
        model, variables, batch, mode, KEY, update=update, running=running
    )
    z = (outputs[:4] - variables["params"]["bn1"]["bias"]).reshape(-1, 3)
    z = z / variables["params"]["bn1"]["scale"]
    is_batch = np.allclose(z.mean(0), 0, atol=1e-4)
    assert is_batch is not expected_running
    assert (stats is not variables["batch_stats"]) is moves
    if moves:
        assert stats["bn0"]["count"] == variables["batch_stats"]["bn0"]["count"] + 1


@pytest.mark.parametrize("mode, update, running", ALLOWED)
def test_case_43_normaliser_and_update_are_independent_in_pytorch(
    mode, update, running
):
    model = random_state(models.TorchNet(dropout=0.0))
    expected_running, moves = resolve(mode, update, running)
    before = snapshot(model)[0]
    outputs = models.torch_model_fn(
        model, models.torch_batch(), mode, update=update, use_running_average_bn=running
    ).detach()
    z = (outputs[:4] - model.bn1.bias) / model.bn1.weight
    is_batch = torch.allclose(z.mean((0, 1)), torch.zeros(3), atol=1e-4)
    assert is_batch is not expected_running
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, before[name]) is not moves


@pytest.mark.parametrize("running", [None, False, True])
def test_case_44_eval_never_drops_out(running):
    model, variables, batch = net(dropout=0.9)
    without = models.JaxNet(dropout=0.0)
    torch_model = random_state(models.TorchNet(dropout=0.9)).train()
    for other in (model, without):
        outputs, _ = models.jax_model_fn(
            other, variables, batch, EVAL, KEY, update=False, running=running
        )
        np.testing.assert_array_equal(
            outputs,
            models.jax_model_fn(
                without, variables, batch, EVAL, KEY, update=False, running=running
            )[0],
        )
    first, second = (
        models.torch_model_fn(
            torch_model,
            models.torch_batch(),
            EVAL,
            update=False,
            use_running_average_bn=running,
        )
        for _ in range(2)
    )
    assert torch.equal(first, second)
    dropped, _ = models.jax_model_fn(model, variables, batch, TRAIN, KEY, update=False)
    kept, _ = models.jax_model_fn(without, variables, batch, TRAIN, KEY, update=False)
    assert not np.allclose(dropped, kept)  # the dropout of this model does something


# Case 45 is in test_bn_devices.py.


def test_case_46_init_does_not_touch_the_statistics():
    model, _, batch = net()
    for train, running in itertools.product((True, False), repeat=2):
        variables = model.init(
            {"params": KEY, "dropout": KEY},
            batch["inputs"],
            train=train,
            use_running_average=running,
        )
        assert variables.keys() == {"params", "batch_stats"}
        for layer in variables["batch_stats"].values():
            assert not layer["mean"].any()
            assert (layer["var"] == 1).all()
            assert layer["count"] == 0
