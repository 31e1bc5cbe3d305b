"""Keep what was read of a tree in one file, and read it again without the tree."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from algorithmic_efficiency.errors import UsageError
from scoring.reading.files import read_bytes, storing
from scoring.reading.records import checked_run, parse, shorten
from scoring.reading.trials import TOTALS, Trial

MOST_BYTES = 2**30  # unpacked; 4,000 trials with their curves take 0.01 of it
TEXT = ("submission", "study", "workload", "framework", "path", "unusable")


def save_trials(path: Path, trials: Sequence[Trial]) -> None:
    """Write what was read, one JSON line per trial, compressed if the name ends so."""
    rows = []
    for trial in trials:
        columns = {name: values.tolist() for name, values in trial.columns.items()}
        rows.append(json.dumps({**trial.__dict__, "columns": columns}))
    data = ("\n".join(rows) + "\n").encode()
    with storing(path):
        path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def load_trials(path: Path) -> list[Trial]:
    """Return what `save_trials` wrote; raises UsageError for anything else."""
    try:
        data = read_bytes(path, MOST_BYTES)
        text = _unpacked(data) if path.suffix == ".gz" else data
        return [_trial(line) for line in text.splitlines() if line.strip()]
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or str(error)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        why = str(error)
    except (RecursionError, OverflowError) as error:
        why = f"its values are out of all bounds ({error})"
    raise UsageError(
        f"{path} cannot be read as results saved with --save_results_to_filename: "
        f"{shorten(why, 200)}."
    )


def _unpacked(data: bytes) -> bytes:
    """Return the content of a gzip file, which must not be larger than all is."""
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise ValueError(f"it unpacks to more than {MOST_BYTES:,} bytes")
    return text


def _trial(line: bytes) -> Trial:
    """Return the trial in one line; raises ValueError or TypeError if it is none."""
    notes: list[str] = []
    trial = Trial(**parse(line, "a line", notes))
    for name in TEXT:
        _check(trial, name, str)
    _check(trial, "trial", int)
    _check(trial, "run", dict)
    _check(trial, "totals", dict)
    _check(trial, "notes", list)
    _check(trial, "failed", bool)
    if not isinstance(trial.hyperparameters, dict | None):
        raise TypeError("hyperparameters are no object")
    trial.notes = [str(note) for note in trial.notes] + notes
    trial.run = checked_run(trial.run, trial.notes)
    trial.columns = {k: np.array(v, float) for k, v in trial.columns.items()}
    if len({values.shape for values in trial.columns.values()}) > 1 or any(
        values.ndim != 1 for values in trial.columns.values()
    ):
        raise ValueError(f"the columns of {trial.path} are not of one length")
    for name in TOTALS:  # in files of earlier versions
        if name in trial.columns:
            trial.totals[name] = float(trial.columns.pop(name)[-1])
    trial.totals = {key: float(value) for key, value in trial.totals.items()}
    return trial


def _check(trial: Trial, name: str, kind: type) -> None:
    """Raise TypeError if a field of a trial is of another kind."""
    value: Any = getattr(trial, name)
    if not isinstance(value, kind):
        found = shorten(json.dumps(value))
        raise TypeError(f"{name} is {found}, not of the kind {kind.__name__}")
