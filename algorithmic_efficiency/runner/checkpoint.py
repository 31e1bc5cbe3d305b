"""Checkpoints: everything that a trial needs to go on as if it had not stopped.

The arrays are the backend's business; here are the file's place, its atomic writing and
the rest of the state: progress, clock, position in the data and global generators.
"""

import dataclasses
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from algorithmic_efficiency.backends.base import Backend
from algorithmic_efficiency.errors import StorageError
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.records import atomic
from algorithmic_efficiency.runner.trial import Progress

_PREFIX = "checkpoint_"


def save(
    folder: Path,
    backend: Backend,
    state: Mapping[str, Any],
    meta: Mapping[str, Any],
    *,
    keep_all: bool,
) -> Path:
    """Writes `checkpoint_<step>`; the older one goes only when it is complete.

    Args:
      folder: of the trial.
      backend: writes the arrays.
      state: params, model_state and optimizer_state.
      meta: what `describe` returned.
      keep_all: keep the older checkpoints too.
    """
    path = folder / f"{_PREFIX}{meta['progress']['step']}"
    older = existing(folder)
    with atomic(path) as temporary:
        backend.save(temporary, state, json.dumps(meta))
    if not keep_all:
        for checkpoint in older:
            if checkpoint != path:
                checkpoint.unlink()
    return path


def existing(folder: Path) -> list[Path]:
    """Returns the complete checkpoints of a trial, the oldest first."""
    found = [p for p in folder.glob(f"{_PREFIX}*") if p.name[len(_PREFIX) :].isdigit()]
    return sorted(found, key=lambda path: int(path.name[len(_PREFIX) :]))


def load(
    path: Path, backend: Backend, state: Mapping[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Returns (state, meta) of a checkpoint.

    Raises:
      StorageError: the file is damaged or of another submission.
    """
    try:
        restored, text = backend.load(path, state)
        return restored, json.loads(text)
    except StorageError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged file may raise anything
        raise StorageError(
            f"The checkpoint {path} cannot be read ({type(error).__name__}: {error}). "
            "Delete it to go on from the one before, or start a new experiment."
        ) from error


def describe(progress: Progress, clock: Clock, **more: Any) -> dict[str, Any]:
    """Returns the JSON part of a checkpoint."""
    return {
        "progress": dataclasses.asdict(progress),
        "clock": dict(clock.seconds),
        "python_random": random.getstate(),
        "numpy_random": _listed(np.random.get_state(legacy=True)),
        **more,
    }


def restore(meta: Mapping[str, Any]) -> tuple[Progress, dict[str, float]]:
    """Sets the global generators; returns progress and the clock's seconds."""
    version, words, gauss = meta["python_random"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(tuple(meta["numpy_random"]))
    progress = Progress(**meta["progress"])
    progress.evals = [(step, result) for step, result in progress.evals]
    return progress, dict(meta["clock"])


def _listed(state: Any) -> list[Any]:
    return [x.tolist() if isinstance(x, np.ndarray) else x for x in state]
