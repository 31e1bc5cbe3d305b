"""Waits for all that JAX computes in this process, whoever holds the results.

A submission may keep an array in an object that is no pytree, in a module, a closure or
a cache, or drop it while it is still computed; all of this is work of the step.
"""

from typing import Any

import jax
import numpy as np
from jax.extend import backend as platforms


@jax.jit
def _next_mark(mark: Any) -> Any:
    return mark + 1


class Barrier:
    """Waits until every device of this process is idle.

    Two things are waited for. A device takes what a thread gives it in turn, so a tiny
    computation comes after all that was asked before, whether or not anybody holds the
    results. Work that other threads have asked for is waited for where its results are
    held, which JAX lists. What another thread asks for and drops stays unseen.

    With 1,000 arrays alive it costs 0.16 ms, of which the list is nearly all.
    """

    def __init__(self) -> None:
        self._marks = [
            jax.device_put(np.float32(0), device)
            for client in platforms.backends().values()
            for device in client.local_devices()
        ]
        self.wait()  # so that the marks are compiled

    def wait(self) -> None:
        """Returns when everything has been computed.

        Raises:
          RuntimeError: a computation failed; JAX tells only who waits for it.
        """
        marks = [_next_mark(mark) for mark in self._marks]
        jax.effects_barrier()
        jax.block_until_ready(marks)
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
