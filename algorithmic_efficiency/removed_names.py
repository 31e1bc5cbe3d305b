"""Names that JAX, optax and chex removed since the public benchmark's first version.

Public submissions were written for JAX 0.4.10 and say `jax.tree_map`. Where such a name
has a successor that does the same, it is offered again, once, when a submission first
imports the package; what a submission looks up at a later call is then there as well.
Nothing that still exists is replaced but `jax.numpy.clip`, which takes its former
keywords beside today's.
"""

import functools
import importlib
import inspect
import sys
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

_TREE = ("flatten", "leaves", "map", "structure", "transpose", "unflatten", "all")
_CLIPPING = (
    *("adaptive_grad_clip", "clip", "clip_by_block_rms", "clip_by_global_norm"),
    *("per_example_global_norm_clip",),
)
_LOSSES = (
    *("cosine_similarity", "ctc_loss", "hinge_loss", "huber_loss", "kl_divergence"),
    *("l2_loss", "log_cosh", "sigmoid_binary_cross_entropy", "smooth_labels"),
    *("softmax_cross_entropy", "softmax_cross_entropy_with_integer_labels"),
    *("squared_error",),
)
# Module -> its former names -> where each is now. A module that is gone is made anew.
MOVED: Mapping[str, Mapping[str, str]] = {
    "chex": {
        f"assert_tree_all_{what}": f"chex.assert_trees_all_{what}"
        for what in ("close", "equal_shapes", "equal_structs")
    },
    "jax": {
        **{f"tree_{name}": f"jax.tree_util.tree_{name}" for name in _TREE},
        "tree_reduce": "jax.tree_util.tree_reduce",
        "tree_multimap": "jax.tree_util.tree_map",
        "treedef_is_leaf": "jax.tree_util.treedef_is_leaf",
        "ShapedArray": "jax.core.ShapedArray",
        "linear_util": "jax.extend.linear_util",
    },
    "jax.abstract_arrays": {"ShapedArray": "jax.core.ShapedArray"},
    "jax.config": {"config": "jax._src.config.config"},
    "jax.core": {
        **{
            name: f"jax.extend.core.{name}"
            for name in ("ClosedJaxpr", "Jaxpr", "JaxprEqn", "Literal", "Primitive")
        },
        "Token": "jax.extend.core.Token",
        "Var": "jax.extend.core.Var",
        "jaxpr_as_fun": "jax.extend.core.jaxpr_as_fun",
        "get_aval": "jax.typeof",
        "ConcretizationTypeError": "jax.errors.ConcretizationTypeError",
        "TracerArrayConversionError": "jax.errors.TracerArrayConversionError",
        "TracerIntegerConversionError": "jax.errors.TracerIntegerConversionError",
        "UnexpectedTracerError": "jax.errors.UnexpectedTracerError",
    },
    "jax.experimental": {
        "PartitionSpec": "jax.sharding.PartitionSpec",
        "enable_x64": "jax.enable_x64",
    },
    "jax.experimental.maps": {"Mesh": "jax.sharding.Mesh"},
    "jax.experimental.pjit": {
        "NamedSharding": "jax.sharding.NamedSharding",
        "PartitionSpec": "jax.sharding.PartitionSpec",
        "with_sharding_constraint": "jax.lax.with_sharding_constraint",
    },
    "jax.interpreters.pxla": {
        "Mesh": "jax.sharding.Mesh",
        "PartitionSpec": "jax.sharding.PartitionSpec",
        "ShardedDeviceArray": "jax.Array",
    },
    "jax.interpreters.xla": {
        "DeviceArray": "jax.Array",
        "ShapedArray": "jax.core.ShapedArray",
    },
    "jax.lib.xla_bridge": {
        "default_backend": "jax.default_backend",
        "get_backend": "jax.extend.backend.get_backend",
    },
    "jax.linear_util": {
        "transformation": "jax.extend.linear_util.transformation",
        "transformation_with_aux": "jax.extend.linear_util.transformation_with_aux",
        "wrap_init": "jax.extend.linear_util.wrap_init",
    },
    "jax.nn": {"normalize": "jax.nn.standardize"},
    "jax.numpy": {
        "DeviceArray": "jax.Array",
        "alltrue": "jax.numpy.all",
        "cumproduct": "jax.numpy.cumprod",
        "fix": "jax.numpy.trunc",
        "in1d": "algorithmic_efficiency.removed_names.in1d",
        "product": "jax.numpy.prod",
        "round_": "jax.numpy.round",
        "row_stack": "jax.numpy.vstack",
        "sometrue": "jax.numpy.any",
        "trapz": "jax.numpy.trapezoid",
    },
    "jax.random": {"KeyArray": "jax.Array", "PRNGKeyArray": "jax.Array"},
    "jax.scipy.linalg": {"tril": "jax.numpy.tril", "triu": "jax.numpy.triu"},
    "jax.sharding": {"MeshPspecSharding": "jax.sharding.NamedSharding"},
    "jax.tree_util": {"tree_multimap": "jax.tree_util.tree_map"},
    "jax.util": {
        name: f"jax._src.util.{name}"
        for name in ("partition_list", "safe_map", "safe_zip", "split_list", "unzip2")
    },
    "optax": {
        "additive_weight_decay": "optax.add_decayed_weights",
        "bias_correction": "optax.tree_utils.tree_bias_correction",
        "global_norm": "optax.tree.norm",
        "safe_int32_increment": "optax.safe_increment",
        "update_moment": "optax.tree_utils.tree_update_moment",
    },
    "optax._src.clipping": {name: f"optax.{name}" for name in _CLIPPING},
    "optax._src.loss": {name: f"optax.losses.{name}" for name in _LOSSES},
    "optax._src.numerics": {"safe_int32_increment": "optax.safe_increment"},
    "optax._src.transform": {
        "bias_correction": "optax.tree_utils.tree_bias_correction",
        "safe_int32_increment": "optax.safe_increment",
        "update_infinity_moment": "optax.tree_utils.tree_update_infinity_moment",
        "update_moment": "optax.tree_utils.tree_update_moment",
        "update_moment_per_elem_norm": (
            "optax.tree_utils.tree_update_moment_per_elem_norm"
        ),
    },
    "optax._src.utils": {
        "cast_tree": "optax.tree_utils.tree_cast",
        "global_norm": "optax.tree.norm",
    },
}
_PACKAGES = {module.partition(".")[0] for module in MOVED}


def offer(name: str) -> None:
    """Offers the former names of the package in which this module lies, if it has any.

    What has no successor in the installed version, or still exists, is left alone.
    """
    package = name.partition(".")[0]
    if package in _PACKAGES:
        _offer(package)


@functools.cache
def _offer(package: str) -> None:
    if not _found(package):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module, names in MOVED.items():
            if module.partition(".")[0] == package:
                _complete(module, names)
        if package == "jax":
            _offer_more()


def _offer_more() -> None:
    """Offers what is more than another name of the same thing."""
    import jax  # noqa: PLC0415 - only where a submission imports it
    import jax.numpy as jnp  # noqa: PLC0415 - likewise

    for name in ("device_put_replicated", "device_put_sharded"):
        if not _has(jax, name):
            setattr(jax, name, globals()[name])
    if "a_min" not in inspect.signature(jnp.clip).parameters:
        jnp.clip = clip_with_former_names(jnp.clip)


def clip_with_former_names(clip: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `jax.numpy.clip` that takes `a`, `a_min` and `a_max` as well."""

    @functools.wraps(clip)
    def wrapped(*args: Any, **keywords: Any) -> Any:
        for former, name in (("a", "arr"), ("a_min", "min"), ("a_max", "max")):
            if former in keywords:
                keywords[name] = keywords.pop(former)
        if "arr" in keywords:
            args = (keywords.pop("arr"), *args)
        return clip(*args, **keywords)

    return wrapped


def in1d(ar1: Any, ar2: Any, **keywords: Any) -> Any:
    """Returns whether each entry of the flattened first array is in the second."""
    import jax.numpy as jnp  # noqa: PLC0415 - only where a submission calls it

    return jnp.isin(jnp.ravel(ar1), ar2, **keywords)


def device_put_replicated(x: Any, devices: Any) -> Any:
    """Returns a tree with a copy of each array for each device, [devices, ...]."""
    import jax  # noqa: PLC0415 - only where a submission calls it
    import jax.numpy as jnp  # noqa: PLC0415 - likewise

    count = len(devices)
    copies = jax.tree.map(lambda y: jnp.broadcast_to(y, (count, *jnp.shape(y))), x)
    return jax.device_put(copies, _one_each(devices))


def device_put_sharded(shards: Any, devices: Any) -> Any:
    """Returns a tree of stacked arrays, [devices, ...], one shard on each device."""
    import jax  # noqa: PLC0415 - only where a submission calls it
    import jax.numpy as jnp  # noqa: PLC0415 - likewise

    stacked = jax.tree.map(lambda *each: jnp.stack(each), *shards)
    return jax.device_put(stacked, _one_each(devices))


def _one_each(devices: Any) -> Any:
    from algorithmic_efficiency import jax_sharding_utils  # noqa: PLC0415 - as above

    return jax_sharding_utils.get_batch_dim_sharding(
        jax_sharding_utils.device_mesh(devices)
    )


def _complete(module: str, names: Mapping[str, str]) -> None:
    """Adds what is missing of the names to a module, which is made if it is gone."""
    there = _found(module)
    target = importlib.import_module(module) if there else ModuleType(module)
    for name, place in names.items():
        if not _has(target, name):
            value = _value(place)
            if value is not None:
                setattr(target, name, value)
    if not there:
        sys.modules[module] = target
        owner, _, last = module.rpartition(".")
        if not _has(sys.modules[owner], last):  # jax.config is an object by now
            setattr(sys.modules[owner], last, target)


def _found(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def _has(module: ModuleType, name: str) -> bool:
    try:
        return hasattr(module, name)
    except Exception:  # noqa: BLE001 - a module's own __getattr__ may raise anything
        return False


def _value(place: str) -> Any:
    """Returns what has this dotted name, None where the version has no such thing."""
    module, _, name = place.rpartition(".")
    return getattr(sys.modules.get(module) or _imported(module), name, None)


def _imported(module: str) -> ModuleType | None:
    return importlib.import_module(module) if _found(module) else None
