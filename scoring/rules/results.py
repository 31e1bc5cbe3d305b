"""Assemble everything that is known about a set of trials into plain rows.

The writers in outputs.py, pictures.py and report.py only format what `build` returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from algorithmic_efficiency.errors import UsageError
from scoring.rules import analysis, rows
from scoring.rules.scored import Options, Scored
from scoring.rules.scores import Floats, log_times, ranks, scores
from scoring.rules.table import Table
from scoring.rules.uncertainty import compare_all, groups

Results = dict[str, Any]


@np.errstate(over="ignore")  # as in prepare
def build(scored: Scored, warnings: Sequence[str], options: Options) -> Results:
    """Return all rows that follow from the scored tables."""
    table, boot = scored.table, scored.boot
    score = scores(table.medians, scored.rules)
    base = table.medians[:, list(scored.rules.base)]
    mean_log = log_times(base, scored.penalty)
    studies = int(np.median(table.studies[table.studies > 0]))
    pairs = compare_all(score, mean_log, boot, studies)
    ladder, graded = analysis.ladder(
        scored.cells, table, scored.workloads, scored.rules, options.time
    )
    reference = _reference(options, table, score)
    estimate = {"score": score, "rank": ranks(score)}
    estimate |= {"graded": graded, "log_times": mean_log}
    warnings = list(warnings)
    if not boot.known.all():
        warnings.append(
            "No intervals for submissions with a single study on some workload: one "
            "study does not show how far studies differ."
        )
    names = table.submissions
    return {
        "settings": _settings(scored, options, names[reference], studies),
        "warnings": warnings,
        "scores": rows.score_rows(scored, estimate, reference, groups(score, pairs)),
        "workloads": rows.workload_rows(scored, ladder, options.time),
        "comparisons": [
            {**asdict(p), "first": names[p.first], "second": names[p.second]}
            for p in pairs
        ],
        "profiles": rows.profile_rows(scored),
        "stability": analysis.leave_one_out(table, scored.rules),
        "tuning": rows.tuning_rows(
            names, analysis.tuning_curve(table, scored.rules, options.seed)
        ),
        "trials": rows.trial_rows(scored),
        "environment": rows.environment(scored.trials),
    }


def _reference(options: Options, table: Table, score: Floats) -> int:
    """Return the submission that speed-ups refer to; by default the last in order."""
    if not options.reference:
        names = list(table.submissions)
        found = [i for i, name in enumerate(names) if "baseline" in name]
        return found[0] if found else int(np.argmin(score))
    if options.reference not in table.submissions:
        raise UsageError(
            f"--reference={options.reference} is not among the submissions "
            f"{', '.join(table.submissions)}."
        )
    return table.submissions.index(options.reference)


def _settings(
    scored: Scored, options: Options, reference: str, studies: int
) -> dict[str, Any]:
    """Return what a reader must know to make the same numbers again."""
    table = scored.table
    return {
        **asdict(replace(options, reference=reference)),
        "benchmark_version": scored.edition,
        "ruleset": scored.ruleset,
        "workloads": [table.workloads[column] for column in scored.rules.base],
        "held_out": [table.workloads[v] for v, _ in scored.rules.variants],
        "r_max": scored.rules.r_max,
        "scale": next((trial.scale for trial in scored.trials), "full"),
        "studies": studies,
        "trials_read": len(scored.trials),
        "unit": "steps" if options.time == "steps" else "s",
    }
