"""More from the same runs: stability of the order, target ladder, tuning trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from scoring.reading.benchmark import Workload
from scoring.rules.scores import Floats, Rules, ranks, scores
from scoring.rules.table import Cells, Table, median, tabulate

LADDER = (0.90, 0.95, 0.99, 1.0)
TUNING_DRAWS = 200  # the mean is good to about 0.005
IN_CACHE = 2**15  # numbers


def leave_one_out(table: Table, rules: Rules) -> list[dict[str, Any]]:
    """Return how the order changes when one submission or one workload is dropped."""
    whole = ranks(scores(table.medians, rules))
    rows = []
    for place, name in enumerate(table.submissions):
        if len(table.submissions) > 2:
            kept = [i for i in range(len(table.submissions)) if i != place]
            score = scores(table.medians[kept], rules)
            rows.append(_change(("submission", name), table, kept, score, whole))
    everyone = list(range(len(table.submissions)))
    for column in rules.base:
        base = tuple(c for c in rules.base if c != column)
        pairs = tuple(pair for pair in rules.variants if pair[1] != column)
        if base:
            score = scores(table.medians, replace(rules, base=base, variants=pairs))
            name = table.workloads[column]
            rows.append(_change(("workload", name), table, everyone, score, whole))
    return rows


def ladder(
    cells: Cells, table: Table, workloads: Sequence[Workload], rules: Rules, clock: str
) -> tuple[dict[float, Floats], Floats]:
    """Return times [submissions, workloads] per level, and the graded scores.

    A level is a part of the way from the workload's origin to its target; the graded
    score is the mean of the scores at all levels.
    """
    times = {
        level: tabulate(
            cells,
            table.submissions,
            workloads,
            clock=clock,
            published=rules.published,
            level=level,
        ).medians
        for level in LADDER[:-1]
    }
    times[LADDER[-1]] = table.medians
    return times, np.mean([scores(t, rules) for t in times.values()], axis=0)


def tuning_curve(table: Table, rules: Rules, seed: int) -> Floats:
    """Return the expected score [k, submissions] with k = 1, 2, ... trials per study.

    Averages over random orders of each study's trials, of which the first k count.
    """
    generator = np.random.default_rng(seed)
    width = table.times.shape[-1]
    order = np.where(np.isnan(table.times), np.inf, table.times)
    sums = np.zeros((width, len(table.submissions)))
    there = ~np.isnan(table.times[..., 0])
    place = np.where(np.isnan(table.times), width, np.arange(width))
    some = max(1, IN_CACHE // place.size)  # draws at a time
    for start in range(0, TUNING_DRAWS, some):
        draws = min(some, TUNING_DRAWS - start)
        # A trial that is not there must stand last in the random order.
        key = generator.random((draws, *place.shape)) + (place == width)
        shuffled = np.take_along_axis(place[None], np.argsort(key, axis=-1), -1)
        first = np.minimum.accumulate(shuffled, axis=-1)
        chosen = np.take_along_axis(order[None], np.minimum(first, width - 1), -1)
        chosen = np.where(there[..., None], chosen, np.nan)
        medians = median(np.moveaxis(chosen, -1, 0), table.studies)
        sums += scores(medians, rules).sum(axis=1)
    return sums / TUNING_DRAWS


def _change(
    dropped: tuple[str, str],
    table: Table,
    kept: list[int],
    score: Floats,
    whole: Floats,
) -> dict[str, Any]:
    """Describe the order after a drop; a swap is a pair whose order turned round."""
    rank = ranks(score)
    swaps = [
        f"{table.submissions[b]} passes {table.submissions[a]}"
        for i, a in enumerate(kept)
        for j, b in enumerate(kept)
        if whole[a] < whole[b] and rank[i] > rank[j]
    ]
    best = [table.submissions[k] for i, k in enumerate(kept) if rank[i] == 1]
    return {
        "dropped": dropped[0],
        "name": dropped[1],
        "first": ", ".join(best),
        "scores": {table.submissions[k]: float(score[i]) for i, k in enumerate(kept)},
        "swaps": swaps,
    }
