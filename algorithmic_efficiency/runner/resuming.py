"""What a resumed run finds of a trial, and where the trial goes on."""

import sys
from pathlib import Path
from typing import Any

from algorithmic_efficiency.errors import StorageError, UsageError
from algorithmic_efficiency.runner import checkpoint, records, tuning
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.config import RunConfig
from algorithmic_efficiency.runner.run_record import FINISHED
from algorithmic_efficiency.runner.trainer import Trainer
from algorithmic_efficiency.runner.trial import Progress
from algorithmic_efficiency.text import show

# Reasons of a failure that is not the submission's: what was wrong may be mended.
RETRIED = ("bad_data",)


def left_to_do(run: dict[str, Any], config: RunConfig) -> str:
    """Returns what a resumed run has to do with a trial: 'run', or why nothing.

    Args:
      run: run.json of the trial, {} where there is none.
      config: of the resumed run. A later --max_global_steps goes on with a trial that
        an earlier one has ended; --retry_failed runs one that has failed.

    Returns:
      'run', 'finished' or 'failed'.
    """
    status, reason = run.get("status"), run.get("stop_reason")
    if reason == "max_global_steps" and status in FINISHED:
        limit, step = config.max_global_steps, run.get("global_step")
        done = isinstance(step, int) and limit is not None and step >= limit
        return "finished" if done else "run"
    if status in FINISHED:
        return "finished"
    given_up = status == "failed" and reason not in RETRIED
    return "failed" if given_up and not config.retry_failed else "run"


def restore(folder: Path, trainer: Trainer) -> tuple[Progress, Clock, int]:
    """Returns (progress, clock, position in the data) of the newest checkpoint.

    Also sets the trainer's state, its bad examples and the global generators. Where
    there is no checkpoint the trial begins.

    Raises:
      StorageError: no checkpoint is whole, or the newest does not fit.
      UsageError: it was written with another seed.
    """
    found = checkpoint.newest_whole(
        folder, trainer.backend, trainer.state, trainer.origin
    )
    if found is None:
        return Progress(), Clock(), 0
    for note in found.notes:
        show(note, sys.stderr)
    meta = found.meta
    if meta["seed"] != trainer.seed:
        raise UsageError(
            f"{found.path} was written with another --rng_seed. Resume with the "
            "same seed, or without the flag."
        )
    trainer.state = found.state
    trainer.workload.bad_examples.update(meta["bad_examples"])
    progress, seconds = checkpoint.restore(meta)
    progress.preemption_count += 1
    show(f"Resuming from {found.path}.", sys.stderr)
    return progress, Clock(seconds=seconds), int(meta["position"])


def recorded_point(folder: Path) -> dict[str, Any]:
    """Returns the hyperparameters of a trial that has begun before, {} without any.

    Raises:
      StorageError: hparams.json is damaged.
    """
    path = folder / "hparams.json"
    point = records.read_json(path)
    try:
        tuning.namedtuple(point)
    except ValueError as error:
        raise StorageError(f"{path} is damaged: {error}.") from error
    return point


def preemptions(folder: Path, run: dict[str, Any]) -> int:
    """Returns how often a trial has begun already, by all that it has left."""
    counts = [run.get("preemption_count")] if run else []
    counts += [int(p.stem.split("_")[1]) for p in folder.glob("flags_[0-9]*.json")]
    return max((count + 1 for count in counts if isinstance(count, int)), default=0)
