"""Rows of the result tables: plain numbers and words, ready for CSV, JSON and HTML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from scoring.reading.trials import Floats, Trial
from scoring.rules.reasons import cell_reason, trial_reason
from scoring.rules.scored import Scored
from scoring.rules.scores import counted_times, credits, ratios
from scoring.rules.table import hit_index, tabulate
from scoring.rules.uncertainty import interval, profile_band, wilson

Row = dict[str, Any]

TAUS = 61  # points of a drawn performance profile beside its jumps


def score_rows(
    scored: Scored, estimate: Row, reference: int, letters: Sequence[str]
) -> list[Row]:
    """Return the leaderboard, best first.

    `estimate` holds per submission 'score', 'rank', 'graded' and 'log_times'.
    """
    boot, log_mean = scored.boot, estimate["log_times"]
    gain = np.exp(boot.log_times[:, [reference]] - boot.log_times)
    ends = {
        "score": interval(boot.scores),
        "rank": interval(boot.ranks),
        "speedup": interval(gain),
    }
    values = {**estimate, "speedup": np.exp(log_mean[reference] - log_mean)}
    reached = np.isfinite(counted_times(scored.table.medians, scored.rules)).sum(axis=1)
    rows = []
    for place in np.argsort(-estimate["score"], kind="stable"):
        name = scored.table.submissions[place]
        row: Row = {"submission": name}
        for key in ("rank", "score", "speedup"):
            row[key] = float(values[key][place])
            known = boot.known[place]
            if key == "speedup":
                known = known and boot.known[reference] and place != reference
            for end, limits in zip(("low", "high"), ends[key], strict=True):
                row[f"{key}_{end}"] = float(limits[place]) if known else np.nan
        row["graded_score"] = float(estimate["graded"][place])
        row["group"] = letters[place]
        row["reached"] = int(reached[place])
        row["workloads"] = len(scored.rules.base)
        runs = [trial for trial in scored.trials if trial.submission == name]
        row["framework"] = "+".join(sorted({trial.framework for trial in runs}))
        row["trials"] = len(runs)
        rows.append(row)
    return rows


def workload_rows(scored: Scored, ladder: dict[float, Floats], clock: str) -> list[Row]:
    """Return one row per submission and workload, held-out variants included."""
    table, rules = scored.table, scored.rules
    counted = counted_times(table.medians, rules)
    ratio = ratios(counted)
    credit = credits(ratio, rules)
    low, high = interval(scored.boot.times)
    other_clock = "submission_time" if clock == "steps" else "steps"
    other = tabulate(
        scored.cells,
        table.submissions,
        scored.workloads,
        clock=other_clock,
        published=rules.published,
    ).medians
    clocks = {"seconds": table.medians, "steps": other}
    if clock == "steps":
        clocks = {"seconds": other, "steps": table.medians}
    place = {column: base for base, column in enumerate(rules.base)}
    rows = []
    for i, submission in enumerate(table.submissions):
        for j, workload in enumerate(scored.workloads):
            known = table.studies[i, j] >= 2
            row: Row = {
                "submission": submission,
                "workload": workload.name,
                "counted": j in place,
                "time": float(table.medians[i, j]),
                "time_low": float(low[i, j]) if known else np.nan,
                "time_high": float(high[i, j]) if known else np.nan,
                "ratio": float(ratio[i, place[j]]) if j in place else np.nan,
                "credit": float(credit[i, place[j]]) if j in place else np.nan,
                **{name: float(values[i, j]) for name, values in clocks.items()},
                **{f"to_{lv:.0%}": float(ts[i, j]) for lv, ts in ladder.items()},
                **_cell(scored, i, j),
            }
            if row["counted"] and np.isinf(row["ratio"]) and np.isfinite(row["time"]):
                row["reason"] = _cancelled(scored, i, j)
            rows.append(row)
    return rows


def profile_rows(scored: Scored) -> list[Row]:
    """Return the performance profiles with their 95 % bands, point by point."""
    rules, names = scored.rules, scored.table.submissions
    ratio = ratios(counted_times(scored.table.medians, rules))
    # Each profile has points where it jumps, and the same ones between them.
    jumps = np.minimum(ratio, rules.r_max)
    grid = np.linspace(1.0, rules.r_max, TAUS)
    even = np.broadcast_to(grid, (len(names), TAUS))
    taus = np.sort(np.concatenate([jumps, even], axis=1), axis=1)
    share = (ratio[:, None, :] <= taus[..., None]).mean(axis=-1)
    low, high = profile_band(scored.boot, rules, taus)
    low[~scored.boot.known], high[~scored.boot.known] = np.nan, np.nan
    found: dict[tuple[str, float], Row] = {}
    for i, name in enumerate(names):
        columns = (values[i].tolist() for values in (taus, share, low, high))
        for row in zip(*columns, strict=True):
            keys = ("tau", "share", "low", "high")
            found[name, row[0]] = {
                "submission": name,
                **dict(zip(keys, row, strict=True)),
            }
    return list(found.values())


def tuning_rows(names: Sequence[str], curve: Floats) -> list[Row]:
    """Return the expected score for every number of tuning trials."""
    return [
        {"submission": name, "trials": k + 1, "score": float(curve[k, i])}
        for i, name in enumerate(names)
        for k in range(len(curve))
    ]


def trial_rows(scored: Scored) -> list[Row]:
    """Return one row per trial: what it reached, when, and why not."""
    workloads = {workload.name: workload for workload in scored.workloads}
    rows = []
    for trial in scored.trials:
        workload = workloads[trial.workload]
        hit = hit_index(trial, workload)
        values = trial.column(f"validation/{workload.metric}")
        finite = np.isfinite(values)
        best, at = np.nan, -1
        if finite.any():
            lost = -np.inf if workload.maximize else np.inf
            filled = np.where(finite, values, lost)
            at = int(filled.argmax() if workload.maximize else filled.argmin())
            best = float(values[at])
        rows.append(
            {
                "submission": trial.submission,
                "study": trial.study,
                "workload": trial.workload,
                "framework": trial.framework,
                "trial": trial.trial,
                "reached": hit >= 0,
                "seconds": float(trial.seconds[hit]) if hit >= 0 else np.inf,
                "steps": float(trial.steps[hit]) if hit >= 0 else np.inf,
                "reason": trial_reason(trial, workload, scored.budgets[workload.name]),
                "metric": workload.metric,
                "target": workload.validation,
                "best": best,
                "best_seconds": float(trial.seconds[at]) if at >= 0 else np.nan,
                "last_seconds": _last(trial.seconds),
                "last_step": _last(trial.steps),
                "status": trial.run.get("status", ""),
                "seed": trial.run.get("seed"),
                "path": trial.path,
            }
        )
    return rows


def environment(trials: Sequence[Trial]) -> list[Row]:
    """Return the different sets of versions and hardware, and who ran on each."""
    found: dict[str, Row] = {}
    for trial in trials:
        versions, hardware = trial.run.get("versions"), trial.run.get("hardware")
        key = json.dumps([trial.framework, versions, hardware], sort_keys=True)
        row = found.setdefault(
            key,
            {
                "submissions": set(),
                "framework": trial.framework,
                "versions": versions,
                "hardware": hardware,
            },
        )
        row["submissions"].add(trial.submission)
    return [
        {**row, "submissions": sorted(row["submissions"])} for row in found.values()
    ]


@np.errstate(invalid="ignore")  # the published rules take an infinite clock as it is
def _cell(scored: Scored, i: int, j: int) -> Row:
    """Return what the trials of one submission on one workload say together."""
    workload = scored.workloads[j]
    name = scored.table.submissions[i]
    studies = scored.cells.get((name, workload.name), {})
    count = int(scored.table.studies[i, j])
    times = scored.table.times[i, j, :count, 0]
    hits = int(np.isfinite(times).sum())
    low, high = wilson(hits, count)
    runs = [t for trials in studies.values() for t in trials if t.seconds.size]
    pace = [t.seconds[-1] / t.steps[-1] for t in runs if t.steps.size and t.steps[-1]]
    evaluation = sum(t.totals.get("accumulated_eval_time", np.nan) for t in runs)
    logging = sum(t.totals.get("accumulated_logging_time", 0.0) for t in runs)
    whole = evaluation + logging + sum(t.seconds[-1] for t in runs)
    budget = scored.budgets[workload.name]
    return {
        "framework": "+".join(sorted({t.framework for t in runs})),
        "studies": count,
        "hits": hits,
        "hit_low": low,
        "hit_high": high,
        "study_times": [float(time) for time in times],
        "seconds_per_step": float(np.median(pace)) if pace else np.nan,
        "evaluation_share": float(evaluation / whole) if whole else np.nan,
        "reason": cell_reason(list(studies.values()), workload, budget),
    }


def _cancelled(scored: Scored, i: int, j: int) -> str:
    """Return which rule cancelled a time although the target was reached."""
    rules, medians = scored.rules, scored.table.medians
    column = medians[:, j]
    if column[i] > rules.r_max * np.nanmin(column):
        return f"over {rules.r_max:g}x the fastest"
    variant = next(v for v, base in rules.variants if base == j)
    return f"missed held-out {scored.workloads[variant].name}"


def _last(values: Floats) -> float:
    """Return the last value of a column, NaN if it is empty."""
    return float(values[-1]) if values.size else np.nan
