"""The trial loop: pure, it knows no framework, no files, no flags; time is injected.

On the clock: data selection, `update_params` and `prepare_for_eval`, including the wait
for the device. Off the clock: evaluation, records and checkpoints.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from algorithmic_efficiency.errors import TrainingCompleteError
from algorithmic_efficiency.runner.clock import Clock

Result = dict[str, float]
INTERRUPTED = "interrupted"


@dataclasses.dataclass(frozen=True)
class Rules:
    """What ends a trial and what is evaluated when.

    Attributes:
      budget_seconds: on the submission clock.
      eval_period_seconds: on the submission clock.
      max_global_steps: None means no limit.
      skip_evals: train to the end of the budget and evaluate never.
      period_grows: an evaluation that takes longer than the period postpones the next
        one: the period is then as long as it (mini scale only).
    """

    budget_seconds: float
    eval_period_seconds: float
    max_global_steps: int | None = None
    skip_evals: bool = False
    period_grows: bool = False


@dataclasses.dataclass
class Progress:
    """How far a trial has come; part of every checkpoint.

    Attributes:
      score: submission seconds at the first evaluation that reached the validation
        target, or inf.
      last_eval_time: submission seconds at the last evaluation.
      last_eval_seconds: how long that took, by the wall.
      evals: (global step, metrics) of every evaluation; submissions see this list.
      diverged: what was not finite, or None; a score reached before stays.
      prepared: the submission has prepared an evaluation that was not made.
      logged_rows: of measurements.csv when this was saved; None if it is not known.
    """

    step: int = 0
    score: float = math.inf
    validation_goal_reached: bool = False
    test_goal_reached: bool = False
    training_complete: bool = False
    last_eval_time: float = 0.0
    last_eval_seconds: float = 0.0
    preemption_count: int = 0
    diverged: str | None = None
    prepared: bool = False
    logged_rows: int | None = None
    evals: list[tuple[int, Result]] = dataclasses.field(default_factory=list)


class Trainer(Protocol):
    """The side of a trial that knows the framework and the submission."""

    def step(self, progress: Progress, train_state: Mapping[str, Any]) -> None:
        """Selects a batch and updates; returns when the device has finished.

        Raises:
          TrainingCompleteError: the submission is done; its old state is kept.
        """

    def prepare_for_eval(self, progress: Progress) -> None:
        """Lets the submission prepare; returns when the device has finished."""

    def evaluate(self, progress: Progress) -> Result:
        """Returns all metrics of all splits."""

    def reached(self, result: Result) -> tuple[bool, bool]:
        """Says whether the validation and the test target are reached."""

    def diverged(self, result: Result | None) -> str | None:
        """Names what is not finite: a target's metric, without a result a parameter."""


class Recorder(Protocol):
    """The side of a trial that knows its files and who looks on."""

    def record(self, progress: Progress, clock: Clock) -> None:
        """Writes the last evaluation and a checkpoint."""

    def announce(self, what: str, progress: Progress, clock: Clock) -> None:
        """Says that the first 'step', or an 'evaluation', begins; off the clock."""

    def show(self, progress: Progress, clock: Clock) -> None:
        """Refreshes the progress line; called after every step, must cost nothing."""


class NoRecords:
    """A recorder of a trial that leaves nothing behind, as one that is only timed."""

    def record(self, progress: Progress, clock: Clock) -> None:
        """Writes nothing."""

    def announce(self, what: str, progress: Progress, clock: Clock) -> None:
        """Says nothing."""

    def show(self, progress: Progress, clock: Clock) -> None:
        """Shows nothing."""


def stop_reason(progress: Progress, submission_seconds: float, rules: Rules) -> str:
    """Returns why the trial ends now, or '' while it goes on."""
    if progress.diverged:
        return "diverged"
    if progress.validation_goal_reached and progress.test_goal_reached:
        return "targets_reached"
    if submission_seconds >= rules.budget_seconds:
        return "budget_exhausted"
    if progress.training_complete:
        return "training_complete"
    if rules.max_global_steps is not None and progress.step >= rules.max_global_steps:
        return "max_global_steps"
    return ""


def eval_due(progress: Progress, submission_seconds: float, rules: Rules) -> bool:
    """Says whether to evaluate now.

    An evaluation is due when a period has passed on the submission clock since the last
    one, and once more when training ends by itself with time remaining.
    """
    if rules.skip_evals:
        return False
    ends = stop_reason(progress, submission_seconds, rules)
    if ends in ("training_complete", "max_global_steps"):
        return True
    period = rules.eval_period_seconds
    if rules.period_grows:
        period = max(period, progress.last_eval_seconds)
    return not ends and submission_seconds - progress.last_eval_time >= period


def run_trial(
    trainer: Trainer,
    recorder: Recorder,
    clock: Clock,
    rules: Rules,
    progress: Progress,
    stop_requested: Callable[[], bool] = lambda: False,
) -> str:
    """Trains until the targets are reached or something else ends the trial.

    Args:
      trainer: what is run.
      recorder: what is told of it.
      clock: new, or restored from a checkpoint.
      rules: when to evaluate and to stop.
      progress: new, or restored from a checkpoint; brought up to date.
      stop_requested: asked between steps.

    Returns:
      The reason why the trial ended, or INTERRUPTED where a stop was requested. It then
      goes on from this state as if nothing had been, an evaluation that was due first.
    """
    done = progress.evals[-1][0] if progress.evals else 0
    if progress.step > done and eval_due(progress, clock.submission, rules):
        _evaluate(trainer, recorder, clock, rules, progress)
    if not stop_reason(progress, clock.submission, rules):
        recorder.announce("step", progress, clock)
    while not (reason := stop_reason(progress, clock.submission, rules)):
        if stop_requested():
            return INTERRUPTED
        clock.switch("submission")
        try:
            trainer.step(progress, train_state(progress, clock, rules))
        except TrainingCompleteError:
            progress.training_complete = True
        clock.switch("logging")
        progress.step += 1
        recorder.show(progress, clock)
        clock.switch("other")
        if eval_due(progress, clock.submission, rules):
            if stop_requested():
                return INTERRUPTED
            _evaluate(trainer, recorder, clock, rules, progress)
    return reason


def _evaluate(
    trainer: Trainer,
    recorder: Recorder,
    clock: Clock,
    rules: Rules,
    progress: Progress,
) -> None:
    """Prepares on the clock, then evaluates off the clock if time remains."""
    if not progress.prepared:
        clock.switch("submission")
        trainer.prepare_for_eval(progress)
        clock.switch("other")
        progress.prepared = True
    if clock.submission >= rules.budget_seconds:
        return
    clock.switch("evaluation")
    begin = clock.seconds["evaluation"]
    recorder.announce("evaluation", progress, clock)
    progress.diverged = trainer.diverged(None)
    result = {} if progress.diverged else trainer.evaluate(progress)
    progress.prepared = False
    progress.last_eval_time = clock.submission
    if not progress.diverged:
        progress.diverged = trainer.diverged(result)
    if not progress.diverged:
        _note_goals(progress, trainer.reached(result), clock.submission)
    clock.switch("logging")
    progress.last_eval_seconds = clock.seconds["evaluation"] - begin
    progress.evals.append((progress.step, {**result, **times(clock)}))
    recorder.record(progress, clock)
    clock.switch("other")


def _note_goals(progress: Progress, reached: tuple[bool, bool], seconds: float) -> None:
    validation, test = reached
    if validation and not progress.validation_goal_reached:
        progress.score = seconds
    progress.validation_goal_reached |= validation
    progress.test_goal_reached |= test


def times(clock: Clock) -> Result:
    """Returns the clocks under the names of the public benchmark's records."""
    return {
        "score": clock.submission,
        "total_duration": clock.total,
        "accumulated_submission_time": clock.submission,
        "accumulated_eval_time": clock.seconds["evaluation"],
        "accumulated_logging_time": clock.seconds["logging"],
    }


def train_state(progress: Progress, clock: Clock, rules: Rules) -> Mapping[str, Any]:
    """Returns the read-only view of the trial that a submission may ask for."""
    return MappingProxyType(
        {
            "validation_goal_reached": progress.validation_goal_reached,
            "test_goal_reached": progress.test_goal_reached,
            "is_time_remaining": clock.submission < rules.budget_seconds,
            "last_eval_time": progress.last_eval_time,
            "training_complete": progress.training_complete,
            "accumulated_submission_time": clock.submission,
            "accumulated_eval_time": clock.seconds["evaluation"],
            "accumulated_logging_time": clock.seconds["logging"],
            "last_step_end_time": clock.submission,
        }
    )
