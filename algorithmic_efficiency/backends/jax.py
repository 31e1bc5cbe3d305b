"""JAX: one mesh over all local devices, parameters replicated, batches sharded."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax

from algorithmic_efficiency import jax_sharding_utils
from algorithmic_efficiency import params as parameters
from algorithmic_efficiency.backends.base import Pass, import_model
from algorithmic_efficiency.backends.compilation_caches import turn_off_jax
from algorithmic_efficiency.backends.jax_ops import JaxOps as JaxOps
from algorithmic_efficiency.backends.jax_waiting import Barrier
from algorithmic_efficiency.definition import Definition, Field
from algorithmic_efficiency.nn.batch_norm.jax import recalibrate
from algorithmic_efficiency.state import jax as state
from algorithmic_efficiency.state import kinds


def make() -> "JaxBackend":
    """Returns the backend over all local devices, without JAX's cache on disk."""
    turn_off_jax()
    return JaxBackend()


class JaxBackend:
    """See `backends.base.Backend`."""

    name = "jax"
    kinds = kinds(state.ARRAYS, state.CODE)
    compiles = True

    def __init__(self) -> None:
        self.ops = JaxOps()
        self._barrier = Barrier()
        self._rules = parameters.RULES

    @property
    def device_count(self) -> int:
        """The number of local devices."""
        return int(jax.local_device_count())

    def build(self, definition: Definition) -> Any:
        """Returns the Flax module."""
        self._rules = tuple(dict.fromkeys((*definition.rules, *self._rules)))
        return import_model(definition, self.name)(**definition.model)

    def shapes(self, model: Any, definition: Definition) -> dict[str, tuple[int, ...]]:
        """Returns canonical names and shapes; traces the model, computes nothing."""
        tree = _variable_shapes(model, _example_batch(definition))
        return parameters.shapes_from_jax(tree["params"], self._rules)

    def init(self, model: Any, definition: Definition, seed: tuple[int, int]) -> Any:
        """Returns (params tree, {'batch_stats': tree} or {}) on all devices."""
        tree = _variable_shapes(model, _example_batch(definition))
        shapes = parameters.shapes_from_jax(tree["params"], self._rules)
        values = parameters.initial(definition.initial, shapes, seed)
        params = parameters.to_jax(values, self._rules)
        state = {}
        if "batch_stats" in tree:
            state["batch_stats"] = parameters.initial_statistics(tree["batch_stats"])
        return jax_sharding_utils.replicate((params, state))

    def tree(self, function: Any, shapes: Mapping[str, Any]) -> Any:
        """Returns function(name, JAX's shape) as a tree like the parameters'."""
        made = {}
        for name, shape in shapes.items():
            own = parameters.shape_in_jax(name, shape, self._rules)
            made[name] = function(name, own)
        return parameters.tree_like_jax(made, self._rules)

    def adopt(self, optimizer_state: Any) -> Any:
        """Returns the state with arrays that are on no mesh yet on all devices.

        That is where the first step leaves them. The type of an array tells its mesh by
        now, so the second step would be compiled anew.
        """
        return jax.tree.map(_on_mesh, optimizer_state)

    def forward(
        self, model: Any, params: Any, batch: Any, model_state: Any, how: Pass
    ) -> tuple[Any, Any]:
        """Returns (outputs, new state); the very same state where nothing moves."""
        moves, draws = how.update and bool(model_state), how.rng is not None
        try:
            result = model.apply(
                {"params": params, **(model_state or {})},
                dict(batch),
                train=how.train,
                use_running_average=how.use_running_average,
                rngs={"dropout": how.rng} if how.train and draws else None,
                mutable=[_moving(model_state)] if moves else False,
                **how.options,
            )
        except flax.errors.InvalidRngError as error:
            raise ValueError(
                "Found rng=None in mode TRAIN; this model draws random numbers, as for "
                "dropout, from it. Pass the rng of update_params, or another key."
            ) from error
        if not moves:
            return result, model_state
        outputs, moved = result
        return outputs, {**model_state, **moved}

    def recalibrate(
        self, model: Any, params: Any, model_state: Any, batches: Iterable[Any]
    ) -> Any:
        """Returns a new state with exact running statistics over the batches."""
        state = flax.core.unfreeze(model_state)
        if "batch_stats" not in state:
            return model_state

        def forward(moments: Any, batch: Any) -> Any:
            variables = {"params": params, **state, "moments": moments}
            return _moments(model, variables, dict(batch))

        exact = recalibrate(forward, state["batch_stats"], batches)
        return {**state, "batch_stats": exact}

    def predict(
        self,
        model: Any,
        params: Any,
        model_state: Any,
        batch: Any,
        how: Callable[..., Any] | None = None,
    ) -> Any:
        """Returns the outputs with running statistics, or what `how` returns."""
        variables = {"params": params, **(model_state or {})}
        outputs = _predict(model, how or _outputs, variables, dict(batch))
        return jax.tree.map(np.asarray, outputs)

    def place(self, batch: Mapping[str, Any], fields: Mapping[str, Any]) -> Any:
        """Returns the batch sharded over the devices along its first axis."""
        del fields
        return jax_sharding_utils.shard_along_batch_dim(dict(batch))

    def make_rng(self, pair: tuple[int, int]) -> jax.Array:
        """Returns a key, uint32 [2]."""
        return jnp.asarray(np.array(pair, np.uint32))

    def seed_from(self, rng: Any) -> tuple[int, int]:
        """Returns the pair of a key, raw or typed."""
        if jnp.issubdtype(rng.dtype, jax.dtypes.prng_key):
            rng = jax.random.key_data(rng)
        first, second = np.asarray(rng)[-2:]
        return int(first), int(second)

    def seed_globals(self, pair: tuple[int, int]) -> None:
        """Does nothing: JAX has no global generator."""

    def wait(self) -> None:
        """Blocks until every device is idle; see `jax_waiting`."""
        self._barrier.wait()

    def keep_settings(self) -> None:
        """Does nothing: the compilation cache cannot be turned on again."""

    def nonfinite(self, params: Any) -> str | None:
        """Returns the name of a parameter that holds NaN or inf, or None."""
        leaves = jax.tree_util.tree_leaves_with_path(_nonfinite_leaves(params))
        bad = (path for path, is_bad in leaves if bool(is_bad))
        return next((".".join(key.key for key in path) for path in bad), None)

    def canonical(self, params: Any, model_state: Any) -> dict[str, Any]:
        """Returns parameters and running statistics as canonical NumPy arrays."""
        flat = parameters.from_jax(jax.device_get(params), self._rules)
        statistics = jax.device_get((model_state or {}).get("batch_stats", {}))
        return {**flat, **parameters.statistics_from_jax(statistics)}

    def generators(self) -> None:
        """Returns None: JAX has no global generator."""

    def set_generators(self, states: Any) -> None:
        """Does nothing."""

    def describe(self) -> dict[str, Any]:
        """Returns versions and devices."""
        return {
            "jax": jax.__version__,
            "flax": flax.__version__,
            "optax": optax.__version__,
            "devices": [device.device_kind for device in jax.local_devices()],
        }


def _moving(model_state: Any) -> str:
    """Returns the collection that an update moves; see `batch_norm.jax_moments`."""
    return "moments" if "moments" in model_state else "batch_stats"


def _example_batch(definition: Definition) -> Any:
    """Returns shapes and dtypes of a batch of one example."""
    return jax.tree.map(
        lambda field: jax.ShapeDtypeStruct((field.rows, *field.shape), field.dtype),
        dict(definition.fields),
        is_leaf=lambda x: isinstance(x, Field),
    )


@functools.lru_cache(maxsize=4)
def _variable_shapes_of(model: Any, leaves: tuple[Any, ...], structure: Any) -> Any:
    initialize: Callable[..., Any] = functools.partial(
        model.init, train=False, use_running_average=True
    )
    batch = jax.tree.unflatten(structure, leaves)
    return jax.eval_shape(initialize, jax.random.key(0), batch)


def _variable_shapes(model: Any, batch: Any) -> Any:
    leaves, structure = jax.tree.flatten(batch)
    return _variable_shapes_of(model, tuple(leaves), structure)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _predict(
    model: Any, how: Callable[..., Any], variables: Any, batch: dict[str, Any]
) -> Any:
    return how(model, variables, batch)


def _outputs(model: Any, variables: Any, batch: dict[str, Any]) -> Any:
    return model.apply(variables, batch, train=False, use_running_average=True)


@functools.partial(jax.jit, static_argnums=0)
def _moments(model: Any, variables: Any, batch: Any) -> Any:
    """Returns the moments of the batch statistics after one more batch."""
    _, new = model.apply(
        variables, batch, train=False, use_running_average=False, mutable=["moments"]
    )
    return new["moments"]


@jax.jit
def _nonfinite_leaves(params: Any) -> Any:
    return jax.tree.map(lambda x: ~jnp.isfinite(x).all(), params)


def _on_mesh(leaf: Any) -> Any:
    free = isinstance(leaf, jax.Array) and not leaf.committed
    return jax_sharding_utils.replicate(leaf) if free else leaf
