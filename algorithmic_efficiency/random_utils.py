"""Random keys under the names of the public API, for submissions that draw by them.

In JAX they are those of `jax.random`. In PyTorch a key is two int32 of NumPy, made as
the public benchmark makes them, value for value. The harness itself uses `seeds`.
"""

import sys
from typing import Any

import numpy as np

_LIMIT = 2**31 - 1
_framework = "pytorch"


def use(framework: str) -> None:
    """Sets whose keys `PRNGKey` makes; called where a backend is made."""
    global _framework  # noqa: PLW0603 - one framework runs in a process
    _framework = framework


def PRNGKey(seed: Any) -> Any:  # noqa: N802 - the public API's name
    """Returns a key made from an integer, or in PyTorch from another key."""
    if _framework == "jax":
        return _jax_random().key_data(_jax_random().key(seed))
    return split(seed, 2)[0]


def split(seed: Any, num: int = 2) -> Any:
    """Returns `num` new keys: in PyTorch int32 [num, 2], in JAX a key array."""
    if _is_jax(seed):
        return _jax_random().split(seed, num)
    return _generator(seed).randint(0, _LIMIT, (num, 2), np.int32)


def fold_in(seed: Any, data: Any) -> Any:
    """Returns a key made from a key and an integer: in PyTorch two int32."""
    if _is_jax(seed):
        return _jax_random().fold_in(seed, data)
    return np.array([_generator(seed).randint(0, _LIMIT, dtype=np.int32), data])


def _generator(seed: Any) -> np.random.RandomState:
    return np.random.RandomState(np.asarray(seed, np.int64) % _LIMIT)


def _is_jax(seed: Any) -> bool:
    jax: Any = sys.modules.get("jax")
    return jax is not None and isinstance(seed, jax.Array)


def _jax_random() -> Any:
    import jax  # noqa: PLC0415 - only where JAX runs

    return jax.random
