"""From times to scores, exactly or as the public tool does it.

Times are arrays [..., submissions, workloads] of seconds or steps to the target, inf
where it was not reached and NaN where nothing was run. Every function maps over the
leading axes, so one call scores one table or ten thousand resampled ones.

    r = t / min over submissions of t              the ratio to the fastest
    rho(tau) = share of workloads with r <= tau    the performance profile
    score = integral of rho over [1, r_max] / (r_max - 1)
          = mean over workloads of max(0, r_max - r) / (r_max - 1)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GRID_POINTS = 100  # of the public tool's trapezoid


@dataclass(frozen=True)
class Rules:
    """How a table of times becomes scores: `base` and `variants` are column numbers."""

    base: tuple[int, ...]
    variants: tuple[tuple[int, int], ...] = ()
    r_max: float = 4.0
    published: bool = False

    @property
    def grid(self) -> Floats:
        """The public tool's values of tau."""
        return np.linspace(1.0, self.r_max, GRID_POINTS)


def make_rules(
    columns: Sequence[str],
    counted: Sequence[str],
    held_out: Mapping[str, str],
    r_max: float,
    published: bool,
) -> Rules:
    """Return the rules for a table with these columns, of which `counted` score."""
    place = {name: column for column, name in enumerate(columns)}
    pairs = tuple((place[v], place[b]) for v, b in held_out.items() if v in place)
    return Rules(tuple(place[name] for name in counted), pairs, r_max, published)


def counted_times(times: Floats, rules: Rules) -> Floats:
    """Return [..., submissions, counted workloads] after the rules that cancel times.

    In the order of the public tool: a held-out variant counts only with its base
    workload; a time over r_max times the fastest of its column is a miss; a base
    workload counts only with its held-out variant.
    """
    times = np.where(np.isnan(times), np.inf, times)
    for variant, base in rules.variants:
        lost = np.isinf(times[..., base])
        times[..., variant] = np.where(lost, np.inf, times[..., variant])
    best = times.min(axis=-2, keepdims=True)
    times = np.where(times > rules.r_max * best, np.inf, times)
    for variant, base in rules.variants:
        lost = np.isinf(times[..., variant])
        times[..., base] = np.where(lost, np.inf, times[..., base])
    return times[..., list(rules.base)]


def ratios(times: Floats) -> Floats:
    """Return times over the fastest of their column, inf for a miss."""
    best = times.min(axis=-2, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(times == best, 1.0, times / best)
    return np.where(np.isinf(times), np.inf, ratio)


def credits(ratio: Floats, rules: Rules) -> Floats:
    """Return each workload's contribution in [0, 1] to the score.

    The public tool's trapezoid is a function of the first grid point >= r: that point
    and all later ones count 1, but for half a step at either end.
    """
    if not rules.published:
        return np.clip((rules.r_max - ratio) / (rules.r_max - 1.0), 0.0, 1.0)
    first = np.searchsorted(rules.grid, ratio)
    area = (GRID_POINTS - 0.5 - first) / (GRID_POINTS - 1)
    return np.where(first == 0, 1.0, np.maximum(area, 0.0))


def scores(times: Floats, rules: Rules) -> Floats:
    """Return the score [..., submissions] of a table of times."""
    ratio = ratios(counted_times(times, rules))
    # Alone, a submission has ratios of 1 only, and the mean is free of rounding errors.
    if not rules.published or ratio.shape[-2] == 1:
        return np.asarray(credits(ratio, rules).mean(axis=-1))
    # The public tool's table is in column order, which decides the last digit.
    area = np.trapezoid(np.asfortranarray(profile(ratio, rules.grid)), rules.grid)
    return np.asarray(area / (rules.grid[-1] - rules.grid[0]))


def profile(ratio: Floats, taus: Floats) -> Floats:
    """Return rho [..., submissions, taus]: the share of workloads with r <= tau.

    `taus` ascend. One workload after the other, as the mask of all would be large.
    """
    first = np.searchsorted(taus, ratio)  # the first tau that is not below r
    counts = np.zeros((*ratio.shape[:-1], len(taus)), np.int64)
    for workload in range(ratio.shape[-1]):
        counts += first[..., workload, None] <= np.arange(len(taus))
    return np.asarray(counts / ratio.shape[-1])


def ranks(score: Floats) -> Floats:
    """Return ranks [..., submissions] from 1; equal scores share the better rank."""
    better = score[..., None, :] > score[..., :, None]
    return np.asarray(1.0 + better.sum(axis=-1))


def log_times(times: Floats, penalty: Floats) -> Floats:
    """Return the mean logarithm [..., submissions] of the times, misses penalised.

    `penalty` [workloads] stands for a miss: the budget and one second, says the public
    tool. The geometric mean of t_ref / t_s is exp(log_times[ref] - log_times[s]).
    """
    filled = np.where(np.isfinite(times), times, penalty)
    mean = np.log(np.maximum(filled, np.finfo(float).tiny)).mean(axis=-1)
    return np.asarray(mean)
