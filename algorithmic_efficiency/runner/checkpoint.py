"""Checkpoints: everything that a trial needs to go on as if it had not stopped.

What a state is made of is the business of `state`; here are the file's place, its
atomic writing and the rest of it: progress, clock, position in the data and generators.
"""

import contextlib
import dataclasses
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from algorithmic_efficiency import state as states
from algorithmic_efficiency.backends.base import Backend
from algorithmic_efficiency.errors import StorageError
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.records import atomic
from algorithmic_efficiency.runner.trial import Progress
from algorithmic_efficiency.state import file

_PREFIX = "checkpoint_"
_SHOWN = 5  # of the parts that are lost
_KEPT = 2  # so that there is one before a damaged one


class Writer:
    """Writes the checkpoints of one trial.

    Args:
      folder: of the trial.
      backend: knows the framework's arrays.
      origin: of the submission's state.
      keep_all: keep the older checkpoints too; otherwise two stay.
      tell: shows a sentence to the user.
    """

    def __init__(
        self,
        folder: Path,
        backend: Backend,
        origin: states.Origin,
        *,
        keep_all: bool,
        tell: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._backend = backend
        self._origin = origin
        self._keep_all = keep_all
        self._tell = tell
        self._told: set[str] = set()

    def save(self, state: Mapping[str, Any], meta: Mapping[str, Any]) -> Path:
        """Writes `checkpoint_<step>`; older ones go only when it is complete.

        Args:
          state: params, model_state and optimizer_state.
          meta: what `describe` returned.

        Raises:
          StorageError: the disk is full or the folder cannot be written.
        """
        path = self._folder / f"{_PREFIX}{meta['progress']['step']}"
        whole = {**state, "generators": self._backend.generators()}
        content, blocks, problems = states.encode(whole, self._origin)
        self._warn(problems)
        with atomic(path) as temporary:
            file.write(
                temporary, {**content, "meta": meta}, blocks, keep=self._keep_all
            )
        if not self._keep_all:
            for older in existing(self._folder)[:-_KEPT]:
                if older != path and not file.is_kept(older):
                    older.unlink()
        return path

    def _warn(self, problems: list[states.Problem]) -> None:
        """Names what cannot be saved, each thing once and each kind in one line."""
        new = [p for p in problems if str(p) not in self._told]
        self._told.update(map(str, new))
        lost = [str(problem) for problem in new if problem.fatal]
        if lost:
            self._tell(
                "WARNING: this trial cannot be resumed, since its checkpoints lack "
                f"{_listing(lost)}. Training goes on."
            )
        alike: dict[str, list[states.Problem]] = {}
        for problem in new:
            if not problem.fatal:
                alike.setdefault(problem.advice, []).append(problem)
        for first, *others in alike.values():
            more = f" The same holds for {len(others)} more." if others else ""
            self._tell(f"WARNING: {first}.{more}")


def _listing(lost: list[str]) -> str:
    more = [f"{len(lost) - _SHOWN} more"] if len(lost) > _SHOWN else []
    return "; ".join([*lost[:_SHOWN], *more])


class Found(NamedTuple):
    """A whole checkpoint, read.

    Attributes:
      state: params, model_state and optimizer_state.
      meta: what `describe` returned.
      path: of the file.
      notes: sentences about newer ones that are damaged.
    """

    state: dict[str, Any]
    meta: dict[str, Any]
    path: Path
    notes: list[str]


def existing(folder: Path) -> list[Path]:
    """Returns the checkpoints of a trial, the oldest first."""
    found = [p for p in folder.glob(f"{_PREFIX}*") if p.name[len(_PREFIX) :].isdigit()]
    return sorted(found, key=lambda path: int(path.name[len(_PREFIX) :]))


def newest_whole(
    folder: Path, backend: Backend, state: Mapping[str, Any], origin: states.Origin
) -> Found | None:
    """Returns the newest checkpoint that is whole, or None where there is none at all.

    A damaged one is set aside as `checkpoint_<step>.damaged`. What a killed process
    left half-written is removed.

    Args:
      folder: of the trial; no other process writes to it.
      backend: knows the framework's arrays.
      state: of a fresh start; its objects are filled.
      origin: of that start.

    Raises:
      StorageError: all are damaged, or the newest whole one is of another submission
        or version, or lacks something that could not be saved.
    """
    for stale in folder.glob(f".{_PREFIX}*.tmp"):
        stale.unlink(missing_ok=True)
    found, notes = existing(folder), []
    for path in reversed(found):
        try:
            restored, meta = load(path, backend, state, origin)
        except file.Damaged as error:
            notes.append(f"{path} is damaged ({error}): going on from the one before.")
            continue
        for damaged in found[found.index(path) + 1 :]:
            with contextlib.suppress(OSError):
                damaged.rename(damaged.with_name(f"{damaged.name}.damaged"))
        return Found(restored, meta, path, notes)
    if not found:
        return None
    raise StorageError(
        f"No checkpoint in {folder} is whole ({', '.join(p.name for p in found)} are "
        "damaged), so the trial cannot be resumed. Start it anew with --overwrite, or "
        "under another --experiment_name."
    )


def load(
    path: Path, backend: Backend, state: Mapping[str, Any], origin: states.Origin
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns (state, meta) of a checkpoint; sets the framework's generators.

    Raises:
      Damaged: its bytes are not those that were written.
      StorageError: it is of another submission, workload or version, or it cannot be
        read.
    """
    try:
        content, blocks = file.read(path)
        restored = states.decode(content, blocks, state, origin)
    except file.OtherVersion as error:
        raise StorageError(
            f"{path} is in the format of another version of this project, which this "
            "one does not read. Resume with that version, or start a new experiment."
        ) from error
    except OSError as error:
        raise StorageError(
            f"{path} cannot be read ({error.strerror or error}). Grant access to it, "
            "then resume again."
        ) from error
    except states.Lost as error:
        raise StorageError(
            f"The trial cannot be resumed from {path}: {error}. Change the submission "
            "and start a new experiment."
        ) from error
    except states.Misfit as error:
        raise StorageError(
            f"The trial cannot be resumed from {path}: {error}. Resume with the same "
            "submission, hyperparameters and workload, or start a new experiment."
        ) from error
    except file.Damaged:
        raise
    except Exception as error:  # noqa: BLE001 - a file of somebody else may hold anything
        raise StorageError(
            f"The checkpoint {path} does not fit the submission's state "
            f"({type(error).__name__}: {error}). Resume with the same files and "
            "hyperparameters, or start a new experiment."
        ) from error
    backend.set_generators(restored.pop("generators"))
    return restored, content["meta"]


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
