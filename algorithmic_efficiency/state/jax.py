"""JAX's arrays with their sharding, typed keys and what belongs to compilation."""

from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import (
    AxisType,
    Mesh,
    NamedSharding,
    PartitionSpec,
    SingleDeviceSharding,
)

from algorithmic_efficiency.state import plain
from algorithmic_efficiency.state.functions import Code
from algorithmic_efficiency.state.parts import Block
from algorithmic_efficiency.state.walk import Decoder, Encoder, Kind, Node


class Array:
    """An array on devices; a typed key too."""

    name = "jax array"
    in_place = False
    is_code = False

    def takes(self, cls: type) -> bool:
        """Takes all arrays."""
        return issubclass(cls, jax.Array)

    def encode(self, value: jax.Array, path: str, encoder: Encoder) -> Node:
        """Returns dtype, shape, weakness and sharding, and its block."""
        encoder.forms[path] = (list(value.shape), str(value.dtype))
        if isinstance(value, jax.core.Tracer):
            encoder.lost(value, path, "it belongs to a compiled function; return it")
            return {}
        if value.is_deleted():
            encoder.lost(value, path, "it was donated to a compiled function")
            return {}
        node: Node = {}
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            node["key"] = str(jax.random.key_impl(value))
            value = jax.random.key_data(value)
            encoder.keep(value)
        elif encoder.origin is not None:
            value.copy_to_host_async()
        block = Block(value.nbytes, 0, value.nbytes, lambda a, b: _bytes(value)[a:b])
        return {
            **node,
            "dtype": plain.dtype_name(np.dtype(value.dtype)),
            "shape": list(value.shape),
            "weak": bool(value.weak_type),
            "sharding": _described(value),
            "block": encoder.block(("jax", id(value)), block),
        }

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns a new array: arrays never change."""
        _, data = decoder.blocks[node["block"]]
        host = data.view(plain.dtype_of(node["dtype"])).reshape(node["shape"])
        value = jnp.array(host, copy=True)
        if node["weak"]:
            # An update of a part keeps the weak type of the whole.
            weak = jnp.full(host.shape, host.dtype.type(0).item()).at[...].set(value)
            value = weak if weak.dtype == value.dtype else value
        sharding = _sharding(node["sharding"])
        if sharding is not None:
            value = jax.device_put(value, sharding)
        if "key" in node:
            value = jax.random.wrap_key_data(value, impl=node["key"])
        return value


def _bytes(array: jax.Array) -> np.ndarray:
    host = np.ascontiguousarray(np.asarray(array))
    return host.reshape(-1).view(np.uint8)


def _described(array: jax.Array) -> Any:
    """Returns an array's sharding as JSON; None where it may move freely."""
    sharding: Any = array.sharding
    if not array.committed:
        return None
    if isinstance(sharding, NamedSharding):
        mesh = sharding.mesh
        return {
            "names": list(mesh.axis_names),
            "types": [kind.name for kind in mesh.axis_types],
            "shape": list(mesh.devices.shape),
            "devices": [device.id for device in mesh.devices.flat],
            "spec": [list(part) if isinstance(part, tuple) else part
                     for part in sharding.spec],
            "memory": sharding.memory_kind,
        }  # fmt: skip
    devices: list[int] = sorted(d.id for d in sharding.device_set)
    if len(devices) == 1:
        return {"devices": devices, "memory": sharding.memory_kind}
    # Of an older kind: whole on each device, or shared along the first axis.
    spec = [] if sharding.is_fully_replicated else ["batch"]
    return {
        "names": ["batch"], "types": ["Auto"], "shape": [len(devices)],
        "devices": devices, "spec": spec, "memory": sharding.memory_kind,
    }  # fmt: skip


def _sharding(described: Any) -> Any:
    """Returns the sharding, or None where its devices are not all there."""
    if described is None:
        return None
    known = {device.id: device for device in jax.devices()}
    if not set(described["devices"]) <= known.keys():
        return None
    devices = [known[number] for number in described["devices"]]
    memory = described["memory"]
    if "names" not in described:
        return SingleDeviceSharding(devices[0], memory_kind=memory)
    mesh = Mesh(
        np.array(devices).reshape(described["shape"]),
        tuple(described["names"]),
        axis_types=tuple(AxisType[name] for name in described["types"]),
    )
    parts = [tuple(p) if isinstance(p, list) else p for p in described["spec"]]
    return NamedSharding(mesh, PartitionSpec(*parts), memory_kind=memory)


class JaxCode(Code):
    """Compiled functions, meshes, devices and modules without state."""

    name = "jax code"

    def takes(self, cls: type) -> bool:
        """Takes JAX's own classes and Flax modules."""
        package = cls.__module__.partition(".")[0]
        return package in ("jax", "jaxlib") or issubclass(cls, flax.linen.Module)


ARRAYS: tuple[Kind, ...] = (Array(),)
CODE: tuple[Kind, ...] = (JaxCode(),)
