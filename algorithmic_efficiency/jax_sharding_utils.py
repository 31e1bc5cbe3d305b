"""Where arrays live: replicated, or split along their first axis, over all devices.

The names are those of the public AlgoPerf API; public submissions import them.
"""

import logging
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "batch"


def device_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """Returns the one-dimensional mesh, axis "batch", of all local or given devices."""
    return Mesh(np.asarray(devices or jax.local_devices()), (AXIS,))


def get_replicate_sharding(mesh: Mesh | None = None) -> NamedSharding:
    """Returns the sharding of an array that every device holds whole."""
    return NamedSharding(mesh or device_mesh(), PartitionSpec())  # type: ignore[no-untyped-call]


def get_batch_dim_sharding(mesh: Mesh | None = None) -> NamedSharding:
    """Returns the sharding of an array that is split along its first axis."""
    return NamedSharding(mesh or device_mesh(), PartitionSpec(AXIS))  # type: ignore[no-untyped-call]


def replicate(x: Any) -> Any:
    """Places every array of a tree whole on every device."""
    return jax.device_put(x, get_replicate_sharding())


def shard_along_batch_dim(x: Any) -> Any:
    """Splits every array of a tree along its first axis over the devices.

    Raises:
      ValueError: the axis is not divisible by the number of devices.
    """
    return jax.device_put(x, get_batch_dim_sharding())


def display_shard_info(x: jax.Array) -> None:
    """Logs which part of an array lies on which device."""
    logging.info("shape: %s, sharding: %s", x.shape, x.sharding)
    for shard in x.addressable_shards:
        logging.info("%s: %s, %s", shard.device, shard.index, shard.data.shape)


get_batch_sharding = get_batch_dim_sharding  # its older public name
