"""Runs the trials of a study, each in a fresh process where there are several."""

import contextlib
import math
import multiprocessing
import statistics
import sys
import traceback
from pathlib import Path

from algorithmic_efficiency.errors import StorageError, UsageError, UserError
from algorithmic_efficiency.runner import records
from algorithmic_efficiency.runner.config import RunConfig
from algorithmic_efficiency.runner.session import Session, read_run
from algorithmic_efficiency.text import show


def run_study(config: RunConfig) -> int:
    """Runs every trial of the plan, prints the score and returns the exit code."""
    plan = config.plan()
    for study, trial in plan:
        _check_folder(config, config.trial_folder(study, trial))
    for number, (study, trial) in enumerate(plan, start=1):
        if len(plan) > 1:
            show(f"--- Tuning run {number}/{len(plan)} ---", sys.stderr)
            code = _run_in_fresh_process(config, study, trial)
        else:
            code = run_one(config, study, trial)
        if code:
            return code
    score = _score(config)
    show(f"Final {config.workload} score: {score:.6g}")
    return 0


def run_one(config: RunConfig, study: int, trial: int) -> int:
    """Runs one trial in this process; returns its exit code.

    A user's mistake ends it with one sentence; anything else leaves its traceback in
    the trial's folder.
    """
    folder = config.trial_folder(study, trial)
    try:
        Session(config, study, trial).run()
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - recorded, then reported
        return _report_failure(folder, error)
    return 0


def _run_in_fresh_process(config: RunConfig, study: int, trial: int) -> int:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_child, args=(config, study, trial))
    process.start()
    process.join()
    return process.exitcode if process.exitcode is not None else 1


def _child(config: RunConfig, study: int, trial: int) -> None:
    try:
        sys.exit(run_one(config, study, trial))
    except UserError as error:
        show(f"Error: {error}", sys.stderr)
        sys.exit(2)


def _report_failure(folder: Path, error: Exception) -> int:
    path = folder / "traceback.txt"
    with contextlib.suppress(OSError, StorageError):
        records.write_text(path, "".join(traceback.format_exception(error)))
    last = traceback.extract_tb(error.__traceback__)[-1]
    show(
        f"The trial failed: {type(error).__name__}: {error} ({last.filename}, line "
        f"{last.lineno}). The whole traceback is in {path}.",
        sys.stderr,
    )
    return 1


def _check_folder(config: RunConfig, folder: Path) -> None:
    recorded = (folder / "run.json").exists()
    if not recorded or config.resume or config.overwrite:
        return
    raise UsageError(
        f"{folder} exists already. Give another --experiment_name, continue it with "
        "--resume_last_run, or replace it with --overwrite."
    )


def _score(config: RunConfig) -> float:
    """Returns the median over studies of the least time to target among the trials."""
    best = []
    for study in range(config.studies):
        trials = range(config.first_trial, config.end_trial)
        runs = [read_run(config.trial_folder(study, trial)) for trial in trials]
        best.append(min(math.inf if r["score"] is None else r["score"] for r in runs))
    return statistics.median(best)
