"""Runs the trials of all studies one after the other and says what came of them."""

import math
import statistics
import sys
from pathlib import Path

from algorithmic_efficiency.errors import RunInterrupted, UsageError
from algorithmic_efficiency.runner import experiments
from algorithmic_efficiency.runner.config import RunConfig
from algorithmic_efficiency.runner.isolation import Signals, run_trial_apart
from algorithmic_efficiency.runner.outcome import Outcome
from algorithmic_efficiency.runner.resuming import left_to_do
from algorithmic_efficiency.runner.run_record import read_run
from algorithmic_efficiency.text import show


def run_study(config: RunConfig) -> int:
    """Runs every trial of the plan, prints the score and returns the exit code.

    A trial that fails is recorded so, and the next one runs.

    Returns:
      0; 1 if a trial failed; 2 if all failed, each by a mistake of the user.

    Raises:
      UsageError: something that concerns all trials is impossible.
      RunInterrupted: a signal has ended the run.
    """
    experiments.check_folders(config)
    plan, outcomes = config.plan(), list[Outcome]()
    with Signals().caught() as signals:
        for number, (study, trial) in enumerate(plan, start=1):
            if len(plan) > 1:
                show(f"--- Tuning run {number}/{len(plan)} ---", sys.stderr)
            outcome = _earlier(config, config.trial_folder(study, trial))
            if outcome is None:
                outcome = run_trial_apart(config, study, trial, signals)
            outcomes.append(outcome)
            if outcome.kind == "refused":
                raise UsageError(outcome.message)
            if signals.number and (outcome.kind == "interrupted" or number < len(plan)):
                begun = bool(experiments.trials_in(config))
                raise RunInterrupted(signals.number, begun=begun)
    show(f"Final {config.workload} score: {_score(config):.6g}")
    return exit_code(outcomes)


def _earlier(config: RunConfig, folder: Path) -> Outcome | None:
    """Returns how a trial ended that a resumed run leaves as it is, else None."""
    if not config.resume:
        return None
    run = read_run(folder)
    left = left_to_do(run, config)
    if left == "run":
        return None
    if left == "finished":
        show(f"{folder} is finished already.", sys.stderr)
        return Outcome("ended")
    error = str(run.get("error") or "no reason is recorded")
    show(
        f"{folder} has failed before ({error}); --retry_failed runs it again.",
        sys.stderr,
    )
    return Outcome("failed")


def exit_code(outcomes: list[Outcome]) -> int:
    """Returns the exit code of a run by how its trials ended."""
    failed = [outcome for outcome in outcomes if outcome.kind == "failed"]
    if not failed:
        return 0
    mistakes = all(outcome.mistake for outcome in failed)
    return 2 if mistakes and len(failed) == len(outcomes) else 1


def _score(config: RunConfig) -> float:
    """Returns the median over studies of the least time to target among the trials."""
    best = []
    for study in range(config.studies):
        trials = range(config.first_trial, config.end_trial)
        runs = [read_run(config.trial_folder(study, trial)) for trial in trials]
        best.append(min(map(_seconds, runs)))
    return statistics.median(best)


def _seconds(run: dict[str, object]) -> float:
    score = run.get("score")
    return float(score) if isinstance(score, int | float) else math.inf
