"""Evaluations in the order of their steps, without work that a restart lost."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from scoring.reading.trials import Trial


def check_clock(trial: Trial) -> None:
    """Put evaluations in the order of their steps and see that time makes sense."""
    rising = (np.diff(trial.steps) > 0).all() and (np.diff(trial.seconds) >= 0).all()
    finite = math.isfinite(trial.seconds[-1]) and math.isfinite(trial.steps[-1])
    if rising and finite and trial.seconds[0] >= 0:
        return
    lost = ~(np.isfinite(trial.seconds) & np.isfinite(trial.steps))
    if lost.any():
        trial.notes.append(f"{lost.sum()} evaluation(s) without time or step, left out")
        _take(trial, np.flatnonzero(~lost))
    if (np.diff(trial.steps) <= 0).any():
        _order(trial)
    seconds = trial.seconds
    if not seconds.size:
        trial.unusable = "has no evaluation with a time and a step"
    elif seconds.min() < 0:
        trial.unusable = f"has a negative submission time ({seconds.min():g} s)"
    elif (np.diff(seconds) < 0).any():
        step = trial.steps[np.argmax(np.diff(seconds) < 0)]
        trial.unusable = f"has a clock that runs backwards after step {step:g}"


def _order(trial: Trial) -> None:
    """Order the evaluations by step; of a step that was repeated the last row counts.

    If the run was restarted from a checkpoint (so its preemption count says, or a clock
    that contradicts the steps), evaluations that the restart went back behind are lost
    work and left out.
    """
    backwards = trial.steps[::-1]
    _, last = np.unique(backwards, return_index=True)
    rows = backwards.size - 1 - last
    restarted = trial.totals.get("preemption_count", 0.0) > 0.0
    if restarted or (np.diff(trial.seconds[rows]) < 0).any():
        kept = [
            np.minimum.accumulate(np.append(np.inf, values[::-1][:-1]))[::-1] > values
            for values in (trial.steps, trial.seconds)
        ]
        rows = np.flatnonzero(kept[0] & kept[1])
    left_out = trial.steps.size - rows.size
    trial.notes.append(f"steps repeated or out of order; {left_out} row(s) left out")
    _take(trial, rows)


def _take(trial: Trial, rows: NDArray[np.intp]) -> None:
    """Keep these evaluations, in this order."""
    trial.columns = {name: values[rows] for name, values in trial.columns.items()}
