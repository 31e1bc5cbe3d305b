"""JAX: a run that is stopped in the middle goes on bit for bit, on two devices too."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import flax.core
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from state_round_trip import Trip

from algorithmic_efficiency import state as states
from algorithmic_efficiency.backends.jax import JaxBackend

KINDS = JaxBackend.kinds


def params():
    return {"fc": {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.ones(3)}}


def inject():
    return optax.inject_hyperparams(optax.adamw)(
        learning_rate=optax.cosine_decay_schedule(0.1, 20), weight_decay=0.01
    )


def chain():
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.masked(
            optax.add_decayed_weights(0.1), {"fc": {"kernel": True, "bias": False}}
        ),
        optax.sgd(0.1, momentum=0.9),
    )


OPTIMIZERS = {
    "inject_hyperparams": inject,
    "chain": chain,
    "ema": lambda: optax.chain(
        optax.ema(0.9), optax.adam(optax.linear_schedule(1, 0, 9))
    ),
    "accumulated": lambda: optax.MultiSteps(
        optax.nadamw(0.1), 2
    ).gradient_transformation(),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_bit_for_bit(name):
    def start(params):
        transform = OPTIMIZERS[name]()
        return {"state": transform.init(params), "update": jax.jit(transform.update)}

    trip = Trip(KINDS, start, params)

    def train(state, steps):
        for seed in steps:
            old = state["optimizer_state"]
            shifted = jax.tree.map(jnp.add, state["params"], seeds(seed))
            grads = jax.tree.map(jnp.sin, shifted)
            updates, new = old["update"](grads, old["state"], state["params"])
            old["state"] = new
            state["params"] = optax.apply_updates(state["params"], updates)

    trip.save(lambda state: train(trip.state, range(3)))
    assert trip.problems == []
    train(trip.state, range(3, 7))
    back = trip.load()
    train(back, range(3, 7))
    compiled = back["optimizer_state"].pop("update")
    trip.state["optimizer_state"].pop("update")
    assert compiled._cache_size() <= 1  # a second one would be another start
    assert jax.tree.structure(back) == jax.tree.structure(trip.state)
    for one, other in zip(*map(jax.tree.leaves, (trip.state, back)), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.aval == other.aval  # shape, dtype and weak type


def seeds(seed):
    return jax.tree.map(lambda x: jnp.full(x.shape, float(seed)), params())


class Memory(NamedTuple):
    step: int
    values: Any


@flax.struct.dataclass
class Struct:
    x: jax.Array
    function: Any = flax.struct.field(pytree_node=False, default=None)


def test_values_of_all_kinds():
    values = {
        "memory": Memory(3, [jnp.ones(2)]),
        "struct": Struct(jnp.ones(3)),
        "frozen": flax.core.freeze({"a": {"b": jnp.zeros(2)}}),
        "text": ["adam", None, True],
        "key": jax.random.key(3),
        "keys": jax.random.split(jax.random.key(3, impl="rbg"), 2),
        "raw": jax.random.PRNGKey(1),
        "bfloat16": jnp.arange(3, dtype=jnp.bfloat16),
        "int4": jnp.arange(3, dtype=jnp.int4),
        "float8": jnp.arange(3, dtype=jnp.float8_e4m3fn),
        "weak": jnp.asarray(2.0),
        "weak int": jnp.full((2,), 3),
        "empty": jnp.zeros((0, 2)),
        "numpy": np.arange(3.0),
        "host bfloat16": np.arange(3).astype(jnp.bfloat16),
        "masked": optax.MaskedNode(),
        "nothing": optax.EmptyState(),
        "dtype": [jnp.dtype("bfloat16"), jnp.bfloat16],
    }
    back = Trip(KINDS, dict).run(lambda state: state.update(values))
    assert jax.tree.structure(back) == jax.tree.structure(values)
    pairs = zip(*map(jax.tree.leaves, (values, back)), strict=True)
    for one, other in pairs:
        assert type(one) is type(other)
        if isinstance(one, jax.Array):
            assert (one.aval, one.committed) == (other.aval, other.committed)
        if isinstance(one, jax.Array) and jnp.issubdtype(
            one.dtype, jax.dtypes.prng_key
        ):
            assert jax.random.key_impl(one) == jax.random.key_impl(other)
            one, other = map(jax.random.key_data, (one, other))  # noqa: PLW2901
        np.testing.assert_array_equal(one, other)
    assert back["dtype"] == values["dtype"]


def test_leaves_are_matched_by_path():
    """By place, `a` would get what was saved of the first new key."""

    def start():
        return {"m": {"a": jnp.zeros(2), "z": jnp.zeros(2)}, "loss": 0, "best": None}

    def train(state):
        state["m"] = {"z": jnp.full(2, 2.0), "b": jnp.ones(2), "a": jnp.full(2, 3.0)}
        state |= {"loss": 0.5, "best": jnp.ones(1), "name": "x"}

    back = Trip(KINDS, start).run(train)
    assert back["loss"] == 0.5
    assert back["name"] == "x"
    assert {k: float(v[0]) for k, v in back["m"].items()} == {"z": 2, "b": 1, "a": 3}
    assert back["best"].tolist() == [1]


def test_the_public_pair_of_state_and_function():
    def start(params):
        transform = optax.adam(0.1)
        return {"pair": (transform.init(params), transform.update)}

    def train(state):
        inner, update = state["pair"]
        state["pair"] = (jax.tree.map(lambda x: x + 1, inner), update)

    trip = Trip(KINDS, start, params)
    trip.save(train)
    assert trip.problems == []
    inner, update = trip.load()["optimizer_state"]["pair"]
    assert callable(update)
    assert int(inner[0].count) == 1


def test_an_array_that_was_donated_is_named():
    def train(state):
        x = jnp.ones(3)
        state["gone"] = x
        x.delete()

    trip = Trip(KINDS, dict)
    trip.save(train)
    assert "donated" in str(trip.problems[0])


def test_a_compiled_function_made_in_training_is_lost():
    trip = Trip(KINDS, dict)
    trip.save(lambda state: state.update(step=jax.jit(lambda x: x)))
    assert [p.path for p in trip.problems] == ["optimizer_state['step']"]


def test_another_model_names_the_parameter():
    trip = Trip(KINDS, lambda params: {}, params)
    trip.save(lambda state: None)
    trip._params = lambda: {"fc": {"kernel": jnp.zeros((2, 4)), "bias": jnp.ones(3)}}
    with pytest.raises(states.Misfit, match=r"\['kernel'\] is .*\[2, 3\].*\[2, 4\]"):
        trip.load()


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from state_round_trip import Trip
from algorithmic_efficiency import jax_sharding_utils as utils
from algorithmic_efficiency.backends.jax import JaxBackend

assert jax.device_count() == 2
values = {
    "free": jnp.ones(4),
    "replicated": utils.replicate(jnp.arange(4.0)),
    "split": utils.shard_along_batch_dim(jnp.arange(4.0)),
    "second": jax.device_put(jnp.arange(3.0), jax.devices()[1]),
    "pmap": jax.pmap(lambda x: x + 1)(jnp.arange(2.0)),
}
back = Trip(JaxBackend.kinds, dict).run(lambda state: state.update(values))
for name, value in values.items():
    np.testing.assert_array_equal(value, back[name], err_msg=name)
    assert value.committed == back[name].committed, name
    assert value.sharding == back[name].sharding, name
jax.jit(lambda a, b: a + b)(back["free"], back["replicated"])
"""


def test_shardings_come_back():
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path.cwd())]),
    }
    done = subprocess.run(
        [sys.executable, "-c", SHARDED], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
