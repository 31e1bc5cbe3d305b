"""From trials to a dense table of times to target, the input of the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scoring.reading.benchmark import Workload
from scoring.reading.trials import Floats, Trial

Cells = dict[tuple[str, str], dict[str, list[Trial]]]


@dataclass(frozen=True)
class Table:
    """Times of all trials, dense.

    `times` [submissions, workloads, studies, trials] is inf for a miss and NaN where
    there is no trial; the trials of a study stand in the order in which the rules
    choose, so that the first one is the study's. `studies` [submissions, workloads]
    and `trials` [submissions, workloads, studies] count what there is. `order` is what
    the rules order trials by, in the shape of `times`, where it is not the time.
    """

    submissions: tuple[str, ...]
    workloads: tuple[str, ...]
    times: Floats
    studies: NDArray[np.intp]
    trials: NDArray[np.intp]
    order: Floats | None = None

    @property
    def medians(self) -> Floats:
        """Time [submissions, workloads]: median over studies, NaN without any."""
        return median(self.times[..., 0], self.studies)


def cells_of(trials: Sequence[Trial]) -> Cells:
    """Group trials by (submission, workload), then by study."""
    cells: Cells = {}
    for trial in trials:
        studies = cells.setdefault((trial.submission, trial.workload), {})
        studies.setdefault(trial.study, []).append(trial)
    return cells


def tabulate(  # noqa: PLR0913 - the axes, the data, and the three choices of the rules
    cells: Cells,
    submissions: Sequence[str],
    workloads: Sequence[Workload],
    *,
    clock: str = "submission_time",
    published: bool = False,
    level: float = 1.0,
) -> Table:
    """Return the table of times to `level` of the way to the target.

    `clock` is 'submission_time' (seconds) or 'steps'. The exact rules choose the trial
    of least time in a study, the public tool the one of least evaluation index.
    """
    deepest = max((len(studies) for studies in cells.values()), default=1)
    widest = max(len(ts) for studies in cells.values() for ts in studies.values())
    shape = (len(submissions), len(workloads), deepest, widest)
    times, order = np.full((2, *shape), np.nan)
    for row, submission in enumerate(submissions):
        for column, workload in enumerate(workloads):
            studies = list(cells.get((submission, workload.name), {}).values())
            for place, trials in enumerate(studies):
                hits = [_hit(trial, workload, clock, level) for trial in trials]
                hits.sort(key=lambda hit: hit[not published])
                found = np.array(hits).reshape(-1, 2)
                order[row, column, place, : len(hits)] = found[:, 0]
                times[row, column, place, : len(hits)] = found[:, 1]
    there = ~np.isnan(times)
    return Table(
        tuple(submissions),
        tuple(workload.name for workload in workloads),
        times,
        there.any(axis=-1).sum(axis=-1),
        there.sum(axis=-1),
        order if published else None,
    )


def median(values: Floats, count: NDArray[np.intp]) -> Floats:
    """Return the median of the `count` numbers that are not NaN on the last axis.

    `count` has the shape of the axes before the last one, or of the last of those.
    """
    ordered = _ordered(values)
    result = np.full(values.shape[:-1], np.nan)
    for n in np.unique(count[count > 0]):
        middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2.0
        result = np.where(count == n, middle, result)
    return result


def _ordered(values: Floats) -> list[Floats]:
    """Return the values in order, NaN last, as one array per place on the last axis.

    Exchanges neighbours, which is much faster than np.sort for ten thousand short rows.
    """
    places = list(np.moveaxis(values, -1, 0))
    for turn in range(len(places)):
        for i in range(turn % 2, len(places) - 1, 2):
            low, high = np.fmin(*places[i : i + 2]), np.maximum(*places[i : i + 2])
            places[i], places[i + 1] = low, high
    return places


def hit_index(trial: Trial, workload: Workload, level: float = 1.0) -> int:
    """Return the first evaluation that reaches the target or a level before it; or -1.

    A level of 0.9 is nine tenths of the way from the workload's origin to the target.
    """
    if trial.unusable or trial.failed:
        return -1
    goal = workload.validation
    if level != 1.0 and workload.origin is not None:
        goal = workload.origin + level * (goal - workload.origin)
    values = trial.column(f"validation/{workload.metric}")
    reached = values >= goal if workload.maximize else values <= goal
    return int(reached.argmax()) if reached.any() else -1


def fixed_points(
    cells: Cells, submissions: Sequence[str], workloads: Sequence[str]
) -> NDArray[np.bool_]:
    """Tell for each cell whether all its studies ran the same hyperparameters."""
    return np.array(
        [
            [_same(list(cells.get((s, w), {}).values())) for w in workloads]
            for s in submissions
        ]
    )


def _same(studies: Sequence[Sequence[Trial]]) -> bool:
    """Tell whether every study ran the same hyperparameters, trial by trial.

    Then the points are a fixed list, not a draw from a search space, and only the
    studies are a sample. Studies of one trial without hyperparameters are such too.
    """
    points = [
        sorted(repr(trial.hyperparameters) for trial in trials) for trials in studies
    ]
    known = all(p != "None" for ps in points for p in ps)
    single = all(len(ps) == 1 for ps in points)
    return (known or single) and len(points) > 1 and all(p == points[0] for p in points)


def longest_runs(
    trials: Sequence[Trial], workloads: Sequence[str], clock: str
) -> Floats:
    """Return the steps or seconds of the longest trial of each workload, 0 if none."""
    most = dict.fromkeys(workloads, 0.0)
    for trial in trials:
        values = trial.steps if clock == "steps" else trial.seconds
        longest = most.get(trial.workload, 0.0)
        known = values[np.isfinite(values)]
        most[trial.workload] = float(known.max(initial=longest))
    return np.array([most[name] for name in workloads])


def _hit(
    trial: Trial, workload: Workload, clock: str, level: float
) -> tuple[float, float]:
    """Return (evaluation index, time) of the hit, both inf for a miss."""
    index = hit_index(trial, workload, level)
    if index < 0:
        return np.inf, np.inf
    values = trial.steps if clock == "steps" else trial.seconds
    return float(index), float(values[index])
