"""The numbers that a submission passes, in whatever form it holds them.

A hyperparameter may be a Python number, a NumPy scalar, an array of the framework, or a
traced value of jax.jit, jax.grad or jax.vmap. What is known becomes a Python float, so
that a layer can leave out what a rate of 0 makes needless; the rest stays as it is, and
no code may ask for its truth value.
"""

import numbers
from typing import Any

import numpy as np


def number(name: str, value: Any) -> Any:
    """Returns a float where the value is known on the host, else an array of shape ().

    Raises:
      ValueError: the value is no single number.
    """
    if isinstance(value, numbers.Real):
        return float(value)
    shape = getattr(value, "shape", None)
    if shape is None or any(size != 1 for size in shape):
        found = repr(value) if shape is None else f"an array of shape {tuple(shape)}"
        raise ValueError(f"Found {name}={found}; expected one number.")
    value = value.reshape(())
    return float(value) if isinstance(value, np.ndarray | np.generic) else value


def dropout(name: str, value: Any) -> Any:
    """Returns `number(name, value)` of a dropout rate.

    Raises:
      ValueError: the value is no number, or known and not in [0, 1].
    """
    rate = number(name, value)
    if isinstance(rate, float) and not 0.0 <= rate <= 1.0:
        raise ValueError(
            f"Found {name}={rate}; expected the probability with which an entry is "
            "dropped, from 0 to 1."
        )
    return rate


def is_known(value: Any, expected: float) -> bool:
    """Says whether a value that `number` returned is known to be `expected`."""
    return isinstance(value, float) and value == expected
