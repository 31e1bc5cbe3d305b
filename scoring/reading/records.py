"""Read `run.json` and `hparams.json`, which anybody may have written or edited.

Behind this door a run record holds under every name that scoring uses a value of the
right kind, or nothing; what was there instead is a note.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scoring.reading.files import read_bytes

Record = dict[str, Any]

MOST_BYTES = 16 * 2**20
MOST_DIGITS = 30  # of a whole number; seeds have twenty
DEEPEST = 30  # objects in objects; the runner writes three


def read_record(path: Path, notes: list[str]) -> Record | None:
    """Return the JSON object in `path`, None without one; damage becomes a note."""
    try:
        return parse(read_bytes(path, MOST_BYTES), path.name, notes)
    except FileNotFoundError:
        return None
    except OSError as error:
        notes.append(f"{path.name} cannot be read ({error.strerror}) and is ignored")
    except (ValueError, RecursionError) as error:
        notes.append(f"{path.name} is not JSON ({shorten(str(error))}) and is ignored")
    except TypeError as error:
        notes.append(f"{path.name} {error} and is ignored")
    return None


def parse(data: bytes, name: str, notes: list[str]) -> Record:
    """Return the JSON object in `data`, with a note on keys that stand twice.

    Numbers of more than 30 digits become floats. Raises TypeError with the end of a
    sentence for what is no object or too deep, ValueError and RecursionError as json
    does.
    """
    twice: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> Record:
        found = dict(pairs)
        if len(found) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            twice.extend(sorted(key for key, count in counts.items() if count > 1))
        return found

    record = json.loads(data, parse_int=_integer, object_pairs_hook=unique)
    if not isinstance(record, dict):
        raise TypeError("is not a JSON object")
    brackets = data.count(b"{") + data.count(b"[")
    if brackets > DEEPEST and _depth(record) > DEEPEST:
        raise TypeError(f"is nested deeper than {DEEPEST} levels")
    if twice:
        listed = shorten(", ".join(twice))
        notes.append(f"{name} gives twice: {listed}; the last one counts")
    return record


def checked_run(run: Record, notes: list[str]) -> Record:
    """Return a run record without the values that are not of their kind."""
    checked = _checked(run, RUN, "run.json", notes)
    targets = checked.get("targets")
    if targets is not None:
        before = len(notes)
        targets = _checked(targets, TARGETS, "run.json: targets", notes)
        lost = [key for key in NEEDED if targets.get(key) is None]
        if lost and len(notes) == before:
            notes.append(f"run.json: targets lack {', '.join(lost)} and are ignored")
        checked["targets"] = None if lost else targets
    return checked


def shorten(text: str, most: int = 80) -> str:
    """Return text for a message, cut if it is long."""
    return text if len(text) <= most else f"{text[:most]}..."


def number(value: Any) -> bool:
    """Tell whether a value is a finite number; true and false are none."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def _one_of(*words: str) -> tuple[str, Callable[[Any], bool]]:
    return " or ".join(words), lambda value: isinstance(value, str) and value in words


_TEXT = "text", lambda value: isinstance(value, str)
_OBJECT = "an object", lambda value: isinstance(value, dict)
_NUMBER = "a finite number", number
Kinds = dict[str, tuple[str, Callable[[Any], bool]]]

RUN: Kinds = {
    "scale": _one_of("full", "mini"),
    "tuning_ruleset": _one_of("external", "self"),
    "benchmark_version": _TEXT,
    "status": _TEXT,
    "stop_reason": _TEXT,
    "hyperparameters": _OBJECT,
    "versions": _OBJECT,
    "hardware": _OBJECT,
    "targets": _OBJECT,
    "budget_seconds": ("a number above 0", lambda v: number(v) and v > 0),
    "seed": ("a whole number", lambda v: number(v) and isinstance(v, int)),
}
NEEDED = ("metric", "maximize", "validation")
TARGETS: Kinds = {
    "metric": _TEXT,
    "maximize": ("true or false", lambda value: isinstance(value, bool)),
    "validation": _NUMBER,
    "test": _NUMBER,
}


def _checked(record: Record, kinds: Kinds, where: str, notes: list[str]) -> Record:
    """Return a record without values of the wrong kind; null is as good as nothing."""
    wrong = [
        key
        for key, (_, fits) in kinds.items()
        if record.get(key) is not None and not fits(record[key])
    ]
    for key in wrong:
        found = shorten(json.dumps(record[key]))
        notes.append(f"{where}: {key} is {found}, not {kinds[key][0]}, and is ignored")
    return {key: value for key, value in record.items() if key not in wrong}


def _integer(digits: str) -> int | float:
    """Return a whole number, a float if it is so long that nothing counts it."""
    return int(digits) if len(digits) <= MOST_DIGITS else float(digits)


def _depth(value: Any) -> int:
    """Return how many objects and lists stand in one another."""
    level, depth = [value], 0
    while level:
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        depth += bool(inner) or any(isinstance(i, dict | list) for i in level)
        level = inner
    return depth
