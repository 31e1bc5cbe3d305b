"""Why a target was missed: from the run record, otherwise from the shape of the curve.

missing, unreadable       no evaluations that could be used
out of memory, bad data,
crashed, interrupted      the run record says so
running, stopped early    the run ended well before its budget
diverged                  the last value is not finite, or most progress was lost
too slow                  it still came closer in the last third of its time
plateau                   it did not, or by no more than its ups and downs, or no longer
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scoring.reading.benchmark import Workload
from scoring.reading.trials import NO_FILE, Floats, Trial
from scoring.rules.table import hit_index

LOST_SHARE = 0.5  # diverged: less than half of the best progress is left at the end
TAIL = 2.0 / 3.0  # the last third of a run tells whether it still comes closer
LEAST_GAIN = 0.005  # of the way, in that third; less only counts close to the target
NOISE = 2.0  # standard errors of the slope that chance explains
LATE_SHARE = (
    0.15  # of the gain that a rising curve still has at the end; a line has 0.5
)
RECORDED = {
    "out_of_memory": "out of memory",
    "bad_data": "bad data",
    "diverged": "diverged",
    "interrupted": "interrupted",
    "failed": "crashed",
    "running": "running",
}


def progress(trial: Trial, workload: Workload) -> Floats:
    """Return how much of the way to the target each evaluation has made; 1 is there."""
    values = trial.column(f"validation/{workload.metric}")
    origin = 0.0 if workload.origin is None else workload.origin
    way = workload.validation - origin
    return (values - origin) / way if way else np.full(values.size, np.nan)


def closest(trials: Sequence[Trial], workload: Workload) -> Trial | None:
    """Return the trial that reached the target first, or else came closest to it."""

    def distance(trial: Trial) -> tuple[bool, float]:
        hit = hit_index(trial, workload)
        if hit >= 0:
            return False, float(trial.seconds[hit])
        return True, -_best(progress(trial, workload))

    return min(trials, key=distance, default=None)


def trial_reason(trial: Trial, workload: Workload, budget: float) -> str:
    """Return why one trial missed the target, '' if it reached it."""
    if hit_index(trial, workload) >= 0:
        return ""
    for key in ("stop_reason", "status"):
        if reason := RECORDED.get(str(trial.run.get(key))):
            return reason
    if trial.run.get("diverged") is True:
        return "diverged"
    if trial.unusable == NO_FILE:
        return "missing"
    made = progress(trial, workload)
    if trial.unusable or not made.size:
        return "unreadable"
    ended = trial.run.get("stop_reason") == "budget_exhausted"
    return _curve_reason(trial.seconds, made, 0.0 if ended else budget)


def cell_reason(
    studies: Sequence[Sequence[Trial]], workload: Workload, budget: float
) -> str:
    """Return why a submission missed a workload: the reason of its closest trial.

    Where some studies reached the target, the closest trial of the others speaks.
    """
    lost = [
        trials
        for trials in studies
        if all(hit_index(trial, workload) < 0 for trial in trials)
    ]
    nearest = closest([trial for trials in lost for trial in trials], workload)
    if nearest is None:
        return "" if studies else "missing"
    reason = trial_reason(nearest, workload, budget)
    if len(lost) == len(studies):
        return reason
    return f"{reason} in {len(lost)} of {len(studies)} studies"


def _curve_reason(seconds: Floats, made: Floats, budget: float) -> str:
    """Return the reason that the curve of a run shows."""
    best, last = _best(made), made[-1]
    if not np.isfinite(last) or last < LOST_SHARE * best:
        return "diverged"
    period = np.diff(seconds).max(initial=0.0)
    if seconds[-1] + 2.0 * period < 0.95 * budget:
        return "stopped early"
    again = budget if 0.0 < budget < np.inf else float(seconds[-1])
    tail = (seconds >= TAIL * seconds[-1]) & np.isfinite(made)
    rising = _rising(seconds[tail], made[tail], 1.0 - best, again)
    return "too slow" if rising else "plateau"


def _rising(seconds: Floats, made: Floats, rest: float, again: float) -> bool:
    """Tell whether the end of a run still came closer, beyond its ups and downs.

    Fits a line to it. What is gained must be worth something, or at least lead over
    the `rest` of the way in as much time `again`; and it must not have come to a stop.
    Too few evaluations to tell anything else count as rising.
    """
    x, y = seconds - seconds.mean(), made - made.mean()
    if seconds.size < 2 or (square := float(x @ x)) == 0.0:
        return True
    slope = float(x @ y) / square
    left = y - slope * x
    error = np.sqrt(float(left @ left) / max(x.size - 2, 1) / square)
    gains = slope * float(np.ptp(x)) >= LEAST_GAIN or slope * again >= rest
    if slope <= NOISE * error or not gains:
        return False
    if seconds.size < 6:
        return True
    third = seconds.size // 3
    parts = made[:third], made[third:-third], made[-third:]
    first, middle, last = (np.sort(part)[part.size // 2] for part in parts)
    return bool(last - middle >= LATE_SHARE * (last - first))


def _best(made: Floats) -> float:
    """Return the most progress of a run, -inf without any."""
    finite = made[np.isfinite(made)]
    return float(finite.max()) if finite.size else -np.inf
