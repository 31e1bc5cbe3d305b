"""JSON files of a user: read with care, and every fault is a sentence."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from algorithmic_efficiency.errors import UsageError

_MAX_BYTES = 16 * 2**20


def read(path: Path, what: str, advice: str) -> Any:
    """Returns the content of a JSON file.

    Args:
      path: of the file.
      what: the file is, for example 'search space'.
      advice: the sentence that an error ends with, where there is no such file.

    Raises:
      UsageError: it cannot be read, is not JSON, has a key twice in one object, or is
        nested deeper or larger than a file of a person is.
    """
    try:
        if path.is_fifo() or path.is_char_device():  # opening one may wait for ever
            raise UsageError(f"The {what} {path} is not a file; {advice}")
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"The {what} {path} cannot be read ({error.strerror}); {advice}"
        ) from error
    if len(content) > _MAX_BYTES:
        raise UsageError(f"The {what} {path} has more than {_MAX_BYTES} bytes.")
    try:
        return parse(content.decode("utf-8-sig"))
    except RecursionError as error:
        raise UsageError(f"The {what} {path} is nested too deeply.") from error
    except ValueError as error:  # not UTF-8, not JSON, a key twice, a huge integer
        raise UsageError(f"The {what} {path} is not JSON: {error}.") from error


def parse(text: str) -> Any:
    """Returns the content of a JSON text.

    Raises:
      ValueError: it is not JSON, a number is not finite, or a key stands twice.
      RecursionError: it is nested too deeply.
    """
    return json.loads(
        text, object_pairs_hook=_object, parse_constant=_finite, parse_float=_finite
    )


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return content
