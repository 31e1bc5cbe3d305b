"""The numbers that a submission passes, in whatever form it holds them.

A hyperparameter may be a Python number, a NumPy scalar, an array of the framework, or a
traced value of jax.jit, jax.grad or jax.vmap. What is known becomes a Python float, so
that a layer can leave out what a rate of 0 makes needless; the rest stays as it is, and
no code may ask for its truth value.
"""

import numbers
from collections.abc import Mapping
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


def with_rates(arguments: Mapping[str, Any], main: Any, aux: Any) -> dict[str, Any]:
    """Returns a model's arguments with other dropout rates.

    Args:
      arguments: have `dropout_rate` and `aux_dropout_rate`, the second None where it is
        as the first, or only the first, or neither.
      main, aux: the two rates, known ones; None leaves what the arguments say.

    Raises:
      ValueError: a rate is no number from 0 to 1.
    """
    model = dict(arguments)
    given = {"dropout_rate": main, "aux_dropout_rate": aux}
    given = {key: value for key, value in given.items() if value is not None}
    if given and model.get("aux_dropout_rate", 0.0) is None:
        model["aux_dropout_rate"] = model["dropout_rate"]
    for name, value in given.items():
        rate = float(dropout(name, value))
        if name in model:
            model[name] = rate
    return model


def of_pass(given: Any, own: Any, own_aux: Any) -> tuple[Any, Any]:
    """Returns the rates of a pass in the layers and after the subsampling.

    Args:
      given: that of the call, which holds everywhere; None leaves the model's own.
      own: the model's rate in the layers.
      own_aux: the model's rate after the subsampling; None means `own`.
    """
    if given is not None:
        return given, given
    return own, own if own_aux is None else own_aux


def is_known(value: Any, expected: float) -> bool:
    """Says whether a value that `number` returned is known to be `expected`."""
    return isinstance(value, int | float) and value == expected
