"""What the data cannot tell: intervals, paired comparisons, groups, missing studies.

The bootstrap makes, for each submission and workload apart, as many studies as there
are, each of as many trials as it has, drawn with replacement from the trials of all
studies together: trials of one search space are one sample, whatever study they stand
in. Where all studies ran the same hyperparameter points the trials are a fixed list,
not a sample, and whole studies are drawn. One study says nothing about its own spread:
then there is no interval (NaN), rather than one of width zero.

An interval is of the mean score of repetitions, each with as many studies and trials as
there are; decision 018 has what it is not of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from scoring.rules.scores import (
    Floats,
    Rules,
    counted_times,
    log_times,
    ranks,
    ratios,
    scores,
)
from scoring.rules.table import Table, median

LEVEL = 0.95
Z = 1.959963984540054  # the normal quantile of 97.5 %
Z_POWER = 0.8416212335729143  # the normal quantile of 80 %, the usual power of a design
CHUNK = 100  # resamples at a time; the draws stay in the processor's cache


@dataclass(frozen=True)
class Bootstrap:
    """Resampled quantities: `times` [resamples, submissions, workloads] and scores."""

    times: Floats
    scores: Floats
    ranks: Floats
    log_times: Floats
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class Pair:
    """How two submissions compare; `better` is the chance that `first` scores more.

    `speedup` is t_second / t_first, geometric mean over workloads: above 1, `first` is
    faster. `more_studies` is None where more studies would not help to tell.
    """

    first: int
    second: int
    difference: float
    low: float = np.nan
    high: float = np.nan
    better: float = np.nan
    p_value: float = 1.0
    resolved: bool = False
    speedup: float = np.nan
    speedup_low: float = np.nan
    speedup_high: float = np.nan
    more_studies: int | None = None


def bootstrap(
    table: Table,
    rules: Rules,
    fixed: NDArray[np.bool_],
    penalty: Floats,
    draw: tuple[int, int],
) -> Bootstrap:
    """Return resampled tables and what they score.

    `fixed` [submissions, workloads] tells where trials are a fixed list of points;
    `draw` is (number of resamples, seed).
    """
    resamples, seed = draw
    generator = np.random.default_rng(seed)
    base = list(rules.base)
    times = np.empty((resamples, *table.times.shape[:2]))
    score, rank, log_mean = np.empty((3, *times.shape[:2]))
    for start in range(0, resamples, CHUNK):
        chunk = slice(start, start + CHUNK)
        part = times[chunk]
        part[:] = _draw(table, fixed, len(part), generator)
        score[chunk] = scores(part, rules)
        rank[chunk] = ranks(score[chunk])
        log_mean[chunk] = log_times(part[..., base], penalty)
    used = table.studies[:, base]
    known = ((used >= 2) | (used == 0)).all(axis=1) & (used > 0).any(axis=1)
    return Bootstrap(times, score, rank, log_mean, known)


def interval(samples: Floats) -> tuple[Floats, Floats]:
    """Return the percentile interval of 95 % over the first axis; inf is allowed."""
    if samples.ndim > 2:  # part by part, which takes much less memory
        ends = [interval(samples[:, part]) for part in range(samples.shape[1])]
        return np.stack([low for low, _ in ends]), np.stack([high for _, high in ends])
    last = len(samples) - 1
    low = int(last * (1.0 - LEVEL) / 2.0)
    ordered = np.partition(samples, (low, last - low), axis=0)
    return ordered[low], ordered[last - low]


def profile_band(
    boot: Bootstrap, rules: Rules, taus: Floats, resamples: int = 1_000
) -> tuple[Floats, Floats]:
    """Return the 95 % band of the performance profiles at `taus` [submissions, points].

    The first resamples tell enough for a picture.
    """
    ratio = ratios(counted_times(boot.times[:resamples], rules))
    low, high = np.empty((2, *taus.shape))
    for column, tau in enumerate(taus.T):
        share = (ratio <= tau[:, None]).mean(axis=-1)
        low[:, column], high[:, column] = interval(share)
    return low, high


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a probability seen `hits` of `count` times."""
    if count == 0:
        return 0.0, 1.0
    share, z2 = hits / count, Z * Z / count
    middle = (share + z2 / 2.0) / (1.0 + z2)
    spread = Z * np.sqrt(share * (1.0 - share) / count + z2 / (4.0 * count))
    half = float(spread) / (1.0 + z2)
    return max(0.0, middle - half), min(1.0, middle + half)


def compare_all(
    score: Floats, mean_log: Floats, boot: Bootstrap, studies: int
) -> list[Pair]:
    """Compare every two submissions on the same resamples, the better one first.

    p values are two-sided and adjusted for the number of pairs (Holm 1979).
    """
    places = combinations(np.argsort(-score, kind="stable").tolist(), 2)
    drawn = np.ascontiguousarray([boot.scores.T, boot.log_times.T])
    pairs = []
    for a, b in places:
        speedup = float(np.exp(mean_log[b] - mean_log[a]))
        pair = Pair(a, b, float(score[a] - score[b]), speedup=speedup)
        known = boot.known[a] and boot.known[b]
        pairs.append(_resampled(pair, drawn, studies) if known else pair)
    order = sorted(range(len(pairs)), key=lambda place: pairs[place].p_value)
    adjusted = 0.0
    for position, place in enumerate(order):
        pair = pairs[place]
        adjusted = max(adjusted, min(1.0, (len(pairs) - position) * pair.p_value))
        pairs[place] = replace(pair, p_value=adjusted, resolved=adjusted < 1.0 - LEVEL)
        if pairs[place].resolved:
            pairs[place] = replace(pairs[place], more_studies=0)
    return pairs


def groups(score: Floats, pairs: list[Pair]) -> list[str]:
    """Return letters: submissions that share one are not resolved by these data.

    Neighbours in the leaderboard form a group as long as no two in it are resolved.
    """
    order = np.argsort(-score, kind="stable")
    resolved = {frozenset((p.first, p.second)) for p in pairs if p.resolved}
    letters = [""] * score.size
    last = -1
    letter = 0
    for start in range(order.size):
        stop = start
        while stop + 1 < order.size and not any(
            frozenset((order[stop + 1], order[i])) in resolved
            for i in range(start, stop + 1)
        ):
            stop += 1
        if stop > last:
            for place in order[start : stop + 1]:
                letters[place] += _letter(letter)
            letter, last = letter + 1, stop
    return letters


def more_studies(difference: float, spread: float, studies: int) -> int | None:
    """Return how many studies more would resolve a difference; None if none would.

    The spread of a mean-like quantity falls with the root of the number of studies; the
    answer gives a two-sided test at 5 % a power of 80 %. It is an extrapolation.
    """
    if spread == 0.0:
        return 0 if difference else None
    if difference == 0.0 or not np.isfinite(spread):
        return None
    needed = studies * ((Z + Z_POWER) * spread / difference) ** 2
    return max(0, int(np.ceil(needed)) - studies)


def _draw(
    table: Table, fixed: NDArray[np.bool_], count: int, generator: np.random.Generator
) -> Floats:
    """Return `count` resampled tables of medians [count, submissions, workloads].

    Every submission, workload and study has a draw of its own.
    """
    pool, size, each = _pool(table, fixed)
    luck = 1.0 - generator.random((count, *each.shape), dtype=np.float32)
    # The first of m draws from n ordered trials, by one draw u from (0, 1]:
    # P(rank > j) is ((n - 1 - j) / n) ** m, which floor(n (1 - u ** (1 / m))) has.
    # Single precision keeps this below n: 24 random bits times n round downwards.
    power = (1.0 / each).astype(np.float32)
    rank = (size[..., None] * (1.0 - luck**power)).astype(np.intp)
    cell = np.arange(size.size).reshape(size.shape)[..., None]
    times = pool.take(cell * pool.shape[-1] + rank)
    absent = np.arange(each.shape[-1]) >= table.studies[..., None]
    if absent.any():
        times[:, absent] = np.nan
    return median(times, table.studies)


def _pool(
    table: Table, fixed: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.float32], NDArray[np.intp]]:
    """Return what is drawn from, in the order in which the rules choose.

    That is: times [submissions, workloads, places], how many of them there are
    [submissions, workloads], and how many each study draws, 1 where it has none. Of a
    fixed list only the first trial of each study, which is the study's, is drawn.
    """
    whole = fixed[..., None, None] & (np.arange(table.times.shape[-1]) > 0)
    key = np.where(whole, np.nan, table.times if table.order is None else table.order)
    key = key.reshape(*fixed.shape, -1)
    place = np.argsort(key, axis=-1, kind="stable")  # NaN last
    pool = np.take_along_axis(table.times.reshape(key.shape), place, -1)
    size = (~np.isnan(key)).sum(axis=-1).astype(np.float32)
    each = np.where(fixed[..., None], 1, np.maximum(table.trials, 1))
    return pool, size, each


def _resampled(pair: Pair, drawn: Floats, studies: int) -> Pair:
    """Return a pair with what its resamples tell, before Holm's adjustment.

    `drawn` [2, submissions, resamples] holds scores and mean logarithms of times.
    """
    score, mean_log = drawn
    gap = score[pair.first] - score[pair.second]
    gain = mean_log[pair.second] - mean_log[pair.first]
    wins, ties = np.count_nonzero(gap > 0), np.count_nonzero(gap == 0)
    tail = min(gap.size - wins, wins + ties) + 1
    (low, high), gains = interval(gap), np.exp(interval(gain))
    return replace(
        pair,
        low=float(low),
        high=float(high),
        better=(wins + ties / 2.0) / gap.size,
        p_value=min(1.0, 2.0 * tail / (gap.size + 1)),
        speedup_low=float(gains[0]),
        speedup_high=float(gains[1]),
        more_studies=more_studies(pair.difference, float(gap.std()), studies),
    )


def _letter(number: int) -> str:
    """Return a, b, ..., z, a1, b1, ... for 0, 1, ..."""
    return chr(ord("a") + number % 26) + (str(number // 26) if number > 25 else "")
