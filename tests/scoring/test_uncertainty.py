"""Intervals, comparisons and groups against what can be worked out by hand."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scoring import Design, measure_coverage
from scoring.rules.scores import Rules, log_times, scores
from scoring.rules.table import Table
from scoring.rules.uncertainty import (
    Bootstrap,
    Pair,
    bootstrap,
    compare_all,
    groups,
    interval,
    more_studies,
    ranks,
    wilson,
)

INF = np.inf
RULES = Rules((0,))
PENALTY = np.array([1000.0])


def table_of(times: np.ndarray) -> Table:
    """Return a table [submissions, workloads, studies, trials] of ordered times."""
    there = ~np.isnan(times)
    return Table(
        tuple("abcdef"[: len(times)]),
        tuple(map(str, range(times.shape[1]))),
        times,
        there.any(axis=-1).sum(axis=-1),
        there.sum(axis=-1),
    )


def draw(times: np.ndarray, fixed: bool, count: int = 20_000, seed: int = 0):
    table = table_of(times)
    cells = np.full(times.shape[:2], fixed)
    return bootstrap(table, RULES, cells, PENALTY, (count, seed))


def share(values: np.ndarray, value: float) -> float:
    return float((values == value).mean())


def test_studies_of_a_fixed_list_are_drawn_with_replacement():
    times = np.array([[[[1.0, 9.0], [2.0, 9.0], [4.0, INF]]]])
    drawn = draw(times, fixed=True).times[:, 0, 0]
    # Of the 27 draws of three studies 7, 13 and 7 have the median 1, 2 and 4.
    for value, expected in ((1.0, 7), (2.0, 13), (4.0, 7)):
        assert share(drawn, value) == pytest.approx(expected / 27, abs=0.012)


def test_trials_of_a_search_space_are_drawn_too():
    times = np.array([[[[1.0, 2.0, INF]]]])
    drawn = draw(times, fixed=False).times[:, 0, 0]
    for value, expected in ((1.0, 19), (2.0, 7), (INF, 1)):
        assert share(drawn, value) == pytest.approx(expected / 27, abs=0.012)


def least(pool: list[float], draws: int) -> dict[float, float]:
    """Return the chances of the least of some draws with replacement."""
    every = list(itertools.product(pool, repeat=draws))
    return {value: sum(min(e) == value for e in every) / len(every) for value in pool}


@pytest.mark.parametrize(
    ("studies", "pool"),
    [
        ([[1.0, 4.0], [2.0, 9.0]], [1.0, 2.0, 4.0, 9.0]),
        ([[1.0, 3.0], [2.0, np.nan], [np.nan, np.nan]], [1.0, 2.0, 3.0]),
    ],
)
def test_studies_draw_as_many_trials_as_they_have_from_all_together(studies, pool):
    times = np.array([[studies]])
    drawn = draw(times, fixed=False).times[:, 0, 0]
    sizes = [int(np.isfinite(study).sum()) for study in studies[:2]]
    expected: dict[float, float] = {}
    first, second = (least(pool, size) for size in sizes)
    for (a, p), (b, q) in itertools.product(first.items(), second.items()):
        middle = (a + b) / 2.0
        expected[middle] = expected.get(middle, 0.0) + p * q
    assert sum(expected.values()) == pytest.approx(1.0)
    for value, chance in expected.items():
        assert share(drawn, value) == pytest.approx(chance, abs=0.012)


def test_published_rules_choose_among_drawn_trials_by_their_order():
    times = np.array([[[[8.0, 1.0], [4.0, 2.0]]]])  # evaluations 1, 4 and 2, 3
    order = np.array([[[[1.0, 4.0], [2.0, 3.0]]]])
    table = replace(table_of(times), order=order)
    boot = bootstrap(table, RULES, np.zeros((1, 1), bool), PENALTY, (20_000, 0))
    # Of 16 pairs of draws 7, 5, 3 and 1 have the evaluation 1, 2, 3 and 4 first.
    chance = {8.0: 7 / 16, 4.0: 5 / 16, 2.0: 3 / 16, 1.0: 1 / 16}
    for value, part in chance.items():  # both studies alike
        got = share(boot.times[:, 0, 0], value)
        others = sum(
            p * q
            for (a, p), (b, q) in itertools.product(chance.items(), repeat=2)
            if a != b and (a + b) / 2.0 == value
        )
        assert got == pytest.approx(part**2 + others, abs=0.012)


@pytest.mark.parametrize("fixed", [True, False])
def test_every_submission_and_workload_has_draws_of_its_own(fixed):
    times = np.tile(np.array([[1.0, 5.0], [2.0, 6.0], [4.0, 9.0]]), (2, 3, 1, 1))
    drawn = draw(times, fixed, 4_000).times.reshape(4_000, 6)
    together = np.corrcoef(np.log(drawn), rowvar=False)
    assert np.abs(together - np.eye(6)).max() < 0.08


def test_intervals_hold_the_mean_of_repetitions_where_most_trials_miss():
    """Trials drawn within each study alone held it in 71 % of cases."""
    found = measure_coverage(Design(5, 5, 0.8), rounds=60, repetitions=100)
    assert found["mean_of_repetitions"] > 0.9
    assert found["infinitely_many_studies"] < 0.5  # as docs/scoring.md says


def test_seed_decides():
    times = np.random.default_rng(1).lognormal(size=(2, 1, 3, 4))
    times.sort(axis=-1)
    first, again, other = (draw(times, False, 500, seed).times for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()


def test_one_study_gives_no_interval():
    times = np.array([[[[1.0]]], [[[2.0]]]])
    boot = draw(times, fixed=False, count=100)
    assert not boot.known.any()
    table = table_of(times)
    estimate = scores(table.medians, RULES), log_times(table.medians, PENALTY)
    (pair,) = compare_all(*estimate, boot, 1)
    assert (pair.difference, pair.speedup) == pytest.approx((1.0 / 3.0, 2.0))
    assert np.isnan([pair.low, pair.high, pair.better, pair.speedup_low]).all()
    assert not pair.resolved
    assert pair.more_studies is None


def test_interval_takes_order_statistics_and_bears_inf():
    samples = np.append(np.arange(990.0), np.full(10, INF))
    low, high = interval(samples)
    assert (low, high) == (24.0, 975.0)
    assert interval(np.append(np.arange(900.0), np.full(100, INF)))[1] == INF


def known_pairs(*gaps: np.ndarray):
    """Compare submissions whose resampled scores are given."""
    drawn = np.stack(gaps, axis=1)
    known = np.ones(len(gaps), bool)
    empty = np.zeros_like(drawn)
    boot = Bootstrap(empty[..., None], drawn, ranks(drawn), empty, known)
    score = drawn.mean(axis=0)
    return score, compare_all(score, np.zeros(len(gaps)), boot, 3)


def test_comparison_is_paired_and_adjusted_for_many_pairs():
    noise = np.random.default_rng(0).normal(size=2_000)
    common = 0.5 + 0.1 * noise
    score, pairs = known_pairs(common, common - 0.01, common - 0.01 + 0.005 * noise)
    by_place = {(p.first, p.second): p for p in pairs}
    # The first two move together: a difference far below their spread is resolved.
    assert by_place[0, 1].resolved
    assert by_place[0, 1].better == 1.0
    assert by_place[0, 1].more_studies == 0
    undecided = next(p for (a, b), p in by_place.items() if {a, b} == {1, 2})
    assert not undecided.resolved
    assert undecided.more_studies is None or undecided.more_studies > 100
    raw = 2.0 * 1.0 / 2_001
    assert by_place[0, 1].p_value == pytest.approx(3.0 * raw)  # Holm's first factor
    assert groups(score, pairs)[0] == "a"
    assert set(groups(score, pairs)[1:]) == {"b"}


def pair(first: int, second: int, resolved: bool) -> Pair:
    return Pair(first, second, 0.1, resolved=resolved)


def test_groups_may_overlap():
    score = np.array([0.9, 0.8, 0.7])
    pairs = [pair(0, 1, False), pair(1, 2, False), pair(0, 2, True)]
    assert groups(score, pairs) == ["a", "ab", "b"]
    everyone = [pair(a, b, False) for a, b in itertools.combinations(range(3), 2)]
    assert groups(score[::-1], everyone) == ["a", "a", "a"]
    apart = [pair(a, b, True) for a, b in itertools.combinations(range(3), 2)]
    assert groups(score[[2, 0, 1]], apart) == ["c", "a", "b"]


def test_wilson_against_published_values():
    # Newcombe (1998), table 1, method 3: 81/263, 15/148, 0/20, 1/29.
    for hits, count, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(hits, count) == pytest.approx((low, high), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.integers(1, 50), st.data())
def test_wilson_holds_the_share_and_is_symmetric(count, data):
    hits = data.draw(st.integers(0, count))
    low, high = wilson(hits, count)
    assert 0.0 <= low <= hits / count + 1e-12
    assert hits / count - 1e-12 <= high <= 1.0
    mirrored = wilson(count - hits, count)
    assert mirrored == pytest.approx((1.0 - high, 1.0 - low))


def test_more_studies_reach_the_promised_power():
    generator = np.random.default_rng(2)
    studies, gap, spread = 3, 1.0, 2.0  # of single studies
    more = more_studies(gap, spread / np.sqrt(studies), studies)
    total = studies + more
    means = generator.normal(gap, spread, size=(20_000, total)).mean(axis=1)
    power = (np.abs(means) > 1.96 * spread / np.sqrt(total)).mean()
    assert power == pytest.approx(0.8, abs=0.02)


def test_more_studies_where_none_would_help():
    assert more_studies(0.0, 1.0, 3) is None
    assert more_studies(0.0, 0.0, 3) is None
    assert more_studies(0.1, 0.0, 3) == 0
    assert more_studies(10.0, 1.0, 3) == 0
