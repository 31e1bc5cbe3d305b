"""What a submission and the harness owe each other, and sentences where one fails.

What can be seen for nothing is checked in every step. What costs time is looked at only
when an error has come, which it may explain.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from algorithmic_efficiency.definition import Field
from algorithmic_efficiency.errors import SubmissionError
from algorithmic_efficiency.runner.failures import last_own_frame

# How a line of a submission reads hyperparameters, whatever it calls them.
_NAME = r"\b(h\w*p\w*)"


def checked_return(path: Path, function: str, returned: Any, params: Any) -> Any:
    """Returns (optimizer_state, params, model_state) as a submission returned them.

    Args:
      path: of the submission.
      function: that returned them.
      returned: by it.
      params: those before, whose kind the new ones have.

    Raises:
      SubmissionError: it is something else, or in another order.
    """
    order = "it should return (optimizer_state, params, model_state)"
    if not isinstance(returned, tuple | list) or len(returned) != 3:
        found = type(returned).__name__
        if isinstance(returned, tuple | list):
            found += f" of {len(returned)}"
        raise SubmissionError(f"{path}: {function} returned {found}; {order}.")
    if _alike(returned[1], params):
        return returned
    kinds = ", ".join(_kind(value) for value in returned)
    swapped = [k for k in (0, 2) if _alike(returned[k], params)]
    hint = f"; the parameters are at position {swapped[0] + 1}" if swapped else ""
    raise SubmissionError(
        f"{path}: {function} returned ({kinds}){hint}; {order}, and params should be "
        f"{_kind(params)}."
    )


def _alike(value: Any, params: Any) -> bool:
    """Says whether a value can be parameters: a module, or a tree with their keys."""
    if isinstance(params, Mapping):
        return isinstance(value, Mapping) and value.keys() == params.keys()
    return all(callable(getattr(value, name, None)) for name in ("parameters", "train"))


def _kind(value: Any) -> str:
    if not isinstance(value, Mapping):
        return "None" if value is None else type(value).__name__
    keys = [str(key) for key in list(value)[:3]]
    more = ", ..." * (len(value) > 3)
    return f"{type(value).__name__} with {', '.join(keys)}{more}" if keys else "{}"


def fault_of_batch(
    batch: Any, fields: Mapping[str, Field | tuple[Field, ...]], batch_size: int
) -> str | None:
    """Returns what is wrong with a batch that `data_selection` returned, or None."""
    if not isinstance(batch, Mapping):
        return f"returned {_kind(batch)}; a batch is a dict with {', '.join(fields)}"
    lost = [name for name in (*fields, "weights") if name not in batch]
    if lost:
        return f"returned a batch without {', '.join(lost)}"
    for name, field in fields.items():
        parts = batch[name] if isinstance(field, tuple) else (batch[name],)
        for part, one in zip(parts, _tuple(field), strict=False):
            shape = getattr(part, "shape", None)
            if shape is None or not len(shape):
                return f"returned {_kind(part)} as {name!r}, not an array"
            if not _fits(tuple(shape), one.shape, batch_size):
                return (
                    f"returned {name!r} of shape {tuple(shape)}; the batch size is "
                    f"{batch_size} and an example has the shape {tuple(one.shape)}"
                )
    return None


def _tuple(field: Field | tuple[Field, ...]) -> tuple[Field, ...]:
    return field if isinstance(field, tuple) else (field,)


def _fits(shape: tuple[int, ...], example: tuple[int, ...], batch_size: int) -> bool:
    """Says whether a batch has this shape, its axes in any order, cut by devices."""
    return math.prod(shape) == batch_size * math.prod(example)


def explained(
    error: BaseException, hyperparameters: Any, submission: Path
) -> BaseException:
    """Returns a SubmissionError in place of an error whose cause is understood."""
    misread = fault_of_hyperparameters(error, hyperparameters, submission)
    if not misread:
        return error
    sentence = SubmissionError(f"{submission}: {misread}.")
    sentence.__cause__ = error
    return sentence


def fault_of_hyperparameters(
    error: BaseException, hyperparameters: Any, submission: Path
) -> str | None:
    """Returns how a submission misread its hyperparameters, if that is the error."""
    frame = last_own_frame(error, submission)
    line = frame.line if frame is not None and frame.line else ""
    asked = None
    if isinstance(error, AttributeError) and error.obj is hyperparameters:
        found = re.search(rf"{_NAME}\s*\.\s*{re.escape(str(error.name))}\b", line)
        asked = error.name if found or hyperparameters is not None else None
    elif isinstance(error, TypeError) and hyperparameters is None:
        found = re.search(rf"{_NAME}\[\s*['\"]?(\w+)", line)
        asked = found[2] if found and "subscriptable" in str(error) else None
    elif isinstance(error, TypeError) and "tuple indices" in str(error):
        found = re.search(rf"{_NAME}\[\s*['\"](\w+)", line)
        if found:
            return f"hyperparameters are a namedtuple: write {found[1]}.{found[2]}"
    if asked is None:
        return None
    if hyperparameters is None:
        return (
            f"the hyperparameter {asked!r} was asked for, but --tuning_ruleset=self "
            "passes None as hyperparameters; --tuning_ruleset=external would pass a "
            "namedtuple of those in a search space"
        )
    return (
        f"the hyperparameter {asked!r} was asked for; the search space has "
        f"{', '.join(hyperparameters._fields) or 'none'}"
    )
