"""Scores from times: worked examples, the two kinds of rules, and their properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scoring.rules.scores import (
    Rules,
    counted_times,
    credits,
    log_times,
    make_rules,
    profile,
    ranks,
    ratios,
    scores,
)
from scoring.rules.table import median

INF = np.inf
# Two submissions, three studies each, worked by hand and by the public tool.
A = [110, 50, 1000, 510, INF, 220, 85, 660]
B = [200, 33, 810, 2200, 410, 200, INF, 990]
WORKED = np.array([A, B], float)
EIGHT = tuple(range(8))
EXACT, PUBLISHED = Rules(EIGHT), Rules(EIGHT, published=True)

# The largest ratio here is far from overflow; inf is a miss.
TIMES = arrays(
    float,
    st.tuples(st.integers(1, 5), st.just(8)),
    elements=st.one_of(st.floats(1.0, 1e6), st.just(INF)),
)


def test_worked_example():
    assert scores(WORKED, EXACT) == pytest.approx([0.839595, 0.695076], abs=1e-6)
    assert scores(WORKED, PUBLISHED) == pytest.approx([0.840278, 0.695707], abs=1e-6)
    shares = profile(ratios(counted_times(WORKED, EXACT)), np.array([1.0, 1.606, 4.0]))
    assert shares.tolist() == [[0.5, 0.875, 0.875], [0.5, 0.625, 0.75]]


def test_speed_up_of_the_worked_example():
    budgets = [7703, 8859, 63008, 77520, 61068, 55506, 18477, 48151]
    mean = log_times(WORKED, np.array(budgets) + 1.0)
    # The public tool prints t_A / t_B; the rules define the speed-up as t_ref / t.
    assert np.exp(mean[0] - mean[1]) == pytest.approx(0.7670, abs=1e-4)


def test_score_is_the_area_under_the_profile():
    ratio = ratios(counted_times(WORKED, EXACT))
    taus = np.linspace(1.0, 4.0, 300_001)
    area = profile(ratio, taus).mean(axis=-1)
    assert scores(WORKED, EXACT) == pytest.approx(area, abs=1e-5)


@settings(deadline=None)
@given(TIMES)
def test_published_credit_is_the_trapezoid(times):
    ratio = ratios(counted_times(times, PUBLISHED))
    mean = credits(ratio, PUBLISHED).mean(axis=-1)
    assert scores(times, PUBLISHED) == pytest.approx(mean, abs=1e-12)


def test_exactly_four_times_the_fastest_is_kept_and_worth_nothing():
    times = np.array([[1.0], [4.0], [np.nextafter(4.0, 5.0)]])
    assert counted_times(times, Rules((0,)))[:, 0].tolist() == [1.0, 4.0, INF]
    assert scores(times, Rules((0,))).tolist() == [1.0, 0.0, 0.0]


def test_workload_that_nobody_reaches_keeps_its_place_in_the_mean():
    times = np.array([[1.0, INF], [2.0, np.nan]])
    assert scores(times, Rules((0, 1))) == pytest.approx([0.5, 1.0 / 3.0])


def test_held_out_variants():
    columns = ["ogbg", "wmt", "ogbg_model_size"]
    rules = make_rules(
        columns, columns[:2], {"ogbg_model_size": "ogbg"}, 4.0, published=False
    )
    times = np.array(
        [
            [100.0, 10.0, 10.0],  # both reached
            [50.0, 10.0, INF],  # variant missed: the base does not count
            [INF, 10.0, 1.0],  # base missed: its fast variant slows nobody down
            [200.0, 10.0, 41.0],  # variant over 4 times the fastest counted one
            [300.0, 10.0, np.nan],  # variant not run
            [150.0, 10.0, 40.0],
        ]
    )
    counted = counted_times(times, rules)
    assert counted[:, 0].tolist() == [100.0, INF, INF, INF, INF, 150.0]
    assert ratios(counted)[:, 0].tolist() == [1.0, INF, INF, INF, INF, 1.5]
    assert counted[:, 1].tolist() == [10.0] * 6


def test_the_four_times_rule_looks_before_held_out_misses_are_cancelled():
    rules = make_rules(["b", "v"], ["b"], {"v": "b"}, 4.0, published=False)
    times = np.array([[10.0, INF], [41.0, 1.0]])
    # The first one's time on b is cancelled later, but it has already set the limit.
    assert counted_times(times, rules)[:, 0].tolist() == [INF, INF]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0, 1.0, 2.0], 2.0),
        ([3.0, INF, 2.0], 3.0),
        ([INF, INF, 2.0], INF),
        ([1.0, 2.0, 4.0, INF], 3.0),
        ([1.0, 2.0, INF, INF], INF),
        ([5.0, np.nan, np.nan], 5.0),
        ([np.nan, 1.0, 2.0], 1.5),
    ],
)
def test_median_over_studies(values, expected):
    values = np.array(values)
    assert median(values, np.array((~np.isnan(values)).sum())) == expected


def test_ranks_share_the_better_place():
    assert ranks(np.array([0.5, 0.9, 0.5, 0.1])).tolist() == [2.0, 1.0, 2.0, 4.0]


@settings(deadline=None)
@given(TIMES, st.randoms(use_true_random=False))
def test_order_of_submissions_does_not_matter(times, random):
    order = list(range(len(times)))
    random.shuffle(order)
    for rules in (EXACT, PUBLISHED):
        assert scores(times[order], rules) == pytest.approx(scores(times, rules)[order])


@settings(deadline=None)
@given(TIMES, st.floats(0.01, 100.0))
def test_unit_of_time_does_not_matter(times, factor):
    # A hair's breadth at r = 4 would be a step in no score, as credit is 0 there.
    assert scores(times * factor, EXACT) == pytest.approx(scores(times, EXACT))


@settings(deadline=None)
@given(TIMES)
def test_duplicate_of_a_submission_changes_nobody(times):
    doubled = np.concatenate([times, times[:1]])
    after = scores(doubled, EXACT)
    assert after[:-1] == pytest.approx(scores(times, EXACT))
    assert after[-1] == after[0]


@settings(deadline=None)
@given(TIMES)
def test_scores_lie_between_nothing_and_all(times):
    score = scores(times, EXACT)
    assert ((score >= 0.0) & (score <= 1.0)).all()
    assert scores(times[:1], EXACT)[0] == np.isfinite(times[0]).mean()
    assert (scores(np.full_like(times, INF), EXACT) == 0.0).all()


@settings(deadline=None)
@given(TIMES, st.integers(0, 7), st.floats(1.0, 10.0))
def test_slower_is_never_better_and_never_worse_for_others(times, column, factor):
    slower = times.copy()
    slower[0, column] *= factor
    before, after = scores(times, EXACT), scores(slower, EXACT)
    assert after[0] <= before[0] + 1e-12
    assert (after[1:] >= before[1:] - 1e-12).all()
