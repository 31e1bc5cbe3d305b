"""Stability, ladder, tuning trials and reasons on made-up runs."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from scoring.reading.benchmark import Workload, load
from scoring.reading.logs import read_tree
from scoring.reading.trials import Trial
from scoring.rules.analysis import leave_one_out, tuning_curve
from scoring.rules.checks import trial_problems
from scoring.rules.reasons import cell_reason, trial_reason
from scoring.rules.results import build
from scoring.rules.scored import Options, prepare
from scoring.rules.scores import Rules, scores
from scoring.rules.table import Table, cells_of, hit_index, tabulate
from tests.scoring.trees import made_up, write_tree

INF = np.inf
WORKLOAD = Workload("w", "accuracy", True, 0.8, None, 1000.0, 0.0)


def table_of(times: np.ndarray) -> Table:
    there = ~np.isnan(times)
    return Table(
        ("a", "b", "c")[: len(times)],
        tuple(map(str, range(times.shape[1]))),
        times,
        there.any(axis=-1).sum(axis=-1),
        there.sum(axis=-1),
    )


def test_winner_that_depends_on_a_loser_is_reported():
    # c is fastest on the second workload only, which costs a more than b.
    medians = np.array([[1.0, 3.9, 1.0], [1.6, 2.0, 1.5], [INF, 1.0, INF]])
    rules = Rules((0, 1, 2))
    rows = leave_one_out(table_of(medians[..., None, None]), rules)
    assert scores(medians, rules)[1] > scores(medians, rules)[0]
    without_c = next(row for row in rows if row["name"] == "c")
    assert without_c["first"] == "a"
    assert without_c["swaps"] == ["a passes b"]
    assert without_c["scores"]["a"] == pytest.approx((1 + (4 - 1.95) / 3 + 1) / 3)
    workload = next(row for row in rows if row["name"] == "1")
    assert (workload["dropped"], workload["first"]) == ("workload", "a")
    assert len(rows) == 6


def test_expected_score_over_all_choices_of_trials():
    times = np.array([[[[1.0, 2.0, INF], [2.0, 3.0, 3.5]]], [[[2.0, 2.5, 6.0]] * 2]])
    table, rules = table_of(times), Rules((0,))
    curve = tuning_curve(table, rules, seed=0)
    assert curve[2] == pytest.approx(scores(table.medians, rules))
    expected = []
    for choice in itertools.product(range(3), repeat=4):
        picked = np.array(choice).reshape(2, 1, 2, 1)
        medians = np.take_along_axis(times, picked, -1)[..., 0].mean(axis=-1)
        expected.append(scores(medians, rules))
    assert curve[0] == pytest.approx(np.mean(expected, axis=0), abs=0.06)
    assert (np.diff(curve[:, 0]) > 0).all()


def test_published_rules_choose_by_evaluation_not_by_time():
    trials = []
    for number, (index, time) in enumerate(((1, 100.0), (2, 30.0), (1, 60.0)), 1):
        trial = made_up("a", "ogbg", 0, number, time)
        columns = {name: values.copy() for name, values in trial.columns.items()}
        if index == 1:
            columns["score"] = np.array([1.0, time, time + 1.0])
            columns["validation/mean_average_precision"][1] = 0.5
        trials.append(replace(trial, columns=columns))
    ogbg = load("0.6").definitions["ogbg"]
    for published, expected in ((True, 100.0), (False, 30.0)):
        table = tabulate(cells_of(trials), ["a"], [ogbg], published=published)
        assert table.medians.item() == expected


def curve(values: list[float], seconds: list[float] | None = None, **run) -> Trial:
    count = len(values)
    columns = {
        "score": np.array(seconds or np.linspace(100.0, 1000.0, count)),
        "global_step": np.arange(1.0, count + 1.0),
        "validation/accuracy": np.array(values),
    }
    return Trial("a", "study_0", "w", "jax", 1, "path", columns, run)


def test_levels_are_parts_of_the_way():
    trial = curve([0.5, 0.73, 0.77, 0.795, 0.81])
    assert [hit_index(trial, WORKLOAD, v) for v in (0.9, 0.95, 0.99, 1.0)] == [
        1,
        2,
        3,
        4,
    ]
    falling = Workload("w", "accuracy", False, 0.2, None, 1000.0, 1.0)
    trial = curve([0.9, 0.27, 0.23, 0.206, 0.2])
    assert [hit_index(trial, falling, v) for v in (0.9, 0.95, 0.99, 1.0)] == [
        1,
        2,
        3,
        4,
    ]


def ending(values: list[float]) -> Trial:
    """Return a trial whose last third is `values`."""
    return curve([*np.linspace(0.0, values[0], 2 * len(values)), *values])


@pytest.mark.parametrize(
    ("trial", "reason"),
    [
        (curve([0.1, 0.9]), ""),
        (curve([0.1, 0.4, 0.5, 0.6, 0.7, 0.75]), "too slow"),
        (curve([0.1, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]), "plateau"),
        (curve([0.1, 0.6, 0.7, 0.7, 0.1]), "diverged"),
        (curve([0.1, 0.6, 0.7, np.nan]), "diverged"),
        (curve([0.1, 0.2], [10.0, 20.0]), "stopped early"),
        (
            curve([0.1, 0.2], stop_reason="out_of_memory", status="failed"),
            "out of memory",
        ),
        (curve([0.1, 0.2], stop_reason="bad_data", status="failed"), "bad data"),
        (curve([0.1, 0.2], status="failed"), "crashed"),
        (curve([0.1, 0.2], status="diverged"), "diverged"),
        (curve([0.1, 0.2], status="running"), "running"),
        (curve([0.1, 0.9], status="failed"), ""),
        (curve([0.1, 0.2], status="interrupted"), "interrupted"),
        (
            curve([0.1, 0.2], stop_reason="interrupted", status="failed"),
            "interrupted",
        ),
        # The last third of public runs: two that rise too slowly for one more budget,
        # one noisy, one that rises no longer, one that falls, one next to the target.
        (ending([0.55, 0.56, 0.58, 0.59, 0.61, 0.62]), "too slow"),
        (ending([0.652, 0.651, 0.657, 0.656, 0.659, 0.663, 0.668, 0.662]), "too slow"),
        (ending([0.32, 0.37, 0.41, 0.41, 0.47, 0.42, 0.43, 0.38, 0.39]), "plateau"),
        (ending([0.55, 0.58, 0.58, 0.59, 0.6, 0.6, 0.6, 0.6, 0.6]), "plateau"),
        (ending([0.7, 0.69, 0.68, 0.67, 0.66, 0.65]), "plateau"),
        (ending([0.7981, 0.7986, 0.7988, 0.7991, 0.7994, 0.7997]), "too slow"),
        (curve([0.1, 0.6, 0.6, 0.602], status="missed"), "plateau"),
        (curve([0.1, 0.6, 0.65], status="missed"), "too slow"),
        (
            curve([0.1, 0.3, 0.5], [10, 20, 30], stop_reason="budget_exhausted"),
            "too slow",
        ),
        (
            replace(curve([]), columns={}, unusable="has no eval_measurements.csv"),
            "missing",
        ),
        (
            replace(curve([0.1]), unusable="has a negative submission time"),
            "unreadable",
        ),
    ],
)
def test_reason_of_a_miss(trial, reason):
    assert trial_reason(trial, WORKLOAD, 1000.0) == reason


def test_closest_trial_speaks_for_the_submission():
    slow = curve([0.1, 0.4, 0.5, 0.6, 0.7, 0.75])
    bad, good = curve([0.1, 0.6, 0.1, 0.1]), curve([0.1, 0.9])
    assert cell_reason([[bad, slow], [bad]], WORKLOAD, 1000.0) == "too slow"
    assert (
        cell_reason([[slow], [good], [bad, good]], WORKLOAD, 1000.0)
        == "too slow in 1 of 3 studies"
    )
    assert cell_reason([[good], [good]], WORKLOAD, 1000.0) == ""
    assert cell_reason([], WORKLOAD, 1000.0) == "missing"


def test_a_run_that_failed_is_a_miss_and_one_that_diverged_later_is_none(tmp_path):
    hits = {"diverged": 10.0, "failed": np.inf, "interrupted": 10.0, "missed": 10.0}
    for status in hits:
        trial = made_up("a", "ogbg", 0, 1, 10.0, {"status": status})
        folder = write_tree([trial], tmp_path / status) / "a" / "study_0" / "ogbg_jax"
        with (folder / "trial_1" / "eval_measurements.csv").open("a") as file:
            file.write("11.0,101.0,nan,0.1\n")
    for published in (False, True):
        for status, hit in hits.items():
            trials, _ = read_tree(tmp_path / status, published=published)
            ogbg = load("0.6").definitions["ogbg"]
            table = tabulate(cells_of(trials), ["a"], [ogbg], published=published)
            assert table.medians.item() == (10.0 if published else hit)
    (trial,), _ = read_tree(tmp_path / "failed")
    (said,) = trial_problems([trial], {"ogbg": ogbg})
    assert "failed after it had reached its target; counts as a miss" in said
    assert trial_reason(trial, ogbg, 1000.0) == "crashed"


def test_rows_of_two_submissions():
    trials = []
    for study in range(3):
        for number in (1, 2):
            hit = 100.0 + study if number == 1 else None
            trials.append(made_up("a", "ogbg", study, number, hit))
            trials.append(made_up("b", "ogbg", study, number, 500.0 + study))
    options = Options(resamples=500, workloads=("ogbg",), reference="b")
    results = build(*prepare(trials, options), options)

    best, other = results["scores"]
    assert (best["submission"], best["score"], other["score"]) == ("a", 1.0, 0.0)
    assert best["speedup"] == pytest.approx(501.0 / 101.0)
    assert best["speedup_low"] < best["speedup"] < best["speedup_high"]
    assert np.isnan(other["speedup_low"])
    row = next(r for r in results["workloads"] if r["submission"] == "b")
    assert row["reason"] == "over 4x the fastest"
    assert (row["seconds"], row["steps"], row["hits"]) == (501.0, 100.0, 3)
    assert row["seconds_per_step"] == pytest.approx(5.01)
    assert row["evaluation_share"] == pytest.approx(0.1 / 1.1)
    assert row["to_90%"] == pytest.approx(501.0)
    # With one trial of two, half of the studies of a miss; b then scores at times.
    one, two = (r["score"] for r in results["tuning"] if r["submission"] == "b")
    assert one == pytest.approx(0.5, abs=0.12)
    assert two == 0.0
    shares = [p for p in results["profiles"] if p["submission"] == "a"]
    assert {p["share"] for p in shares} == {1.0}
    assert all(p["low"] <= p["share"] <= p["high"] for p in results["profiles"])
    assert len({p["tau"] for p in shares}) == len(shares) == 61
    trial = next(
        t for t in results["trials"] if t["submission"] == "a" and t["trial"] == 2
    )
    assert not trial["reached"]
    assert trial["best"] == pytest.approx(0.9 * 0.28098)
