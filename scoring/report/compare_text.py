"""The comparison of two runs as text: a table with sparklines, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scoring.reading.trials import Floats, Trial
from scoring.report.outputs import count, plain
from scoring.rules.reasons import closest, progress
from scoring.rules.scored import Scored
from scoring.rules.uncertainty import interval

Results = dict[str, Any]

BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH = 16  # characters of a sparkline
LONGEST_NAME = 24  # longer ones are A and B in the table
TIMES = 5  # columns before the sparklines


@dataclass(frozen=True)
class Sides:
    """What is compared, `names` [2], and what the table calls it, `labels` [2]."""

    names: tuple[str, str]
    labels: tuple[str, str]


@np.errstate(over="ignore")  # as in prepare
def text(
    results: Results,
    scored: Scored,
    differences: list[Results],
    names: tuple[str, str],
    columns: int,
) -> str:
    """Return the comparison for a terminal of so many columns."""
    long = max(map(len, names)) > LONGEST_NAME
    sides = Sides(names, ("A", "B") if long else names)
    first, second = sides.labels
    unit = results["settings"]["unit"]
    rows = [
        ["workload", f"{first} ({unit})", f"{second} ({unit})", "faster"]
        + ["chance (95 % of ratio)", f"{first}, curve", f"{second}, curve"]
    ]
    rows += [_line(scored, results, sides, w.name) for w in scored.workloads]
    lines = [f"{a} is {b}" for a, b in zip(sides.labels, names, strict=True) if long]
    lines += _tables(rows, columns)
    lines += ["", verdict(results, sides)]
    if differences:
        lines += ["", f"What differs ({first}  |  {second}):"]
    for row in differences:
        lines.append(f"  {row['what']}: {row[names[0]]}  |  {row[names[1]]}")
    lines += [f"note: {warning}" for warning in results["warnings"]]
    return "\n".join(lines)


def verdict(results: Results, sides: Sides) -> str:
    """Return in a sentence who is faster, by how much and how certainly."""
    if not any(row["reached"] for row in results["scores"]):
        return "Neither reached a target."
    pair = results["comparisons"][0]
    factor = pair["speedup"]
    label = dict(zip(sides.names, sides.labels, strict=True))
    first, second = label[pair["first"]], label[pair["second"]]
    ends = (pair["speedup_low"], pair["speedup_high"])
    if factor < 1.0:
        first, second, factor = second, first, 1.0 / factor
        ends = (1.0 / ends[1], 1.0 / ends[0])
    workloads = count(len(results["settings"]["workloads"]), "workload")
    sentence = (
        f"{first} is {factor:.2f}x as fast as {second} (geometric mean over "
        f"{workloads}, a miss counts as the budget)"
    )
    if math.isnan(ends[0]):
        return sentence + "; one study each does not tell how certain that is."
    sentence += f", 95 % interval {ends[0]:.2f} to {ends[1]:.2f}. "
    if pair["resolved"]:
        return sentence + f"The scores differ (p = {pair['p_value']:.4f})."
    more = pair["more_studies"]
    hint = f"; about {more} more studies each might resolve it" if more else ""
    return f"{sentence}The scores are not resolved (p = {pair['p_value']:.2f}){hint}."


def sparklines(
    trials: Sequence[Trial | None], scored: Scored, column: int
) -> list[str]:
    """Return progress against time, one line per trial, on common scales.

    Time goes to the end of the longer trial, blocks from the worst that both made after
    their first steps up to the target.
    """
    workload = scored.workloads[column]
    end = max((t.seconds[-1] for t in trials if t is not None), default=1.0)
    curves = [
        np.full(WIDTH, np.nan) if t is None else _sampled(t, progress(t, workload), end)
        for t in trials
    ]
    known = np.concatenate(curves)
    known = known[np.isfinite(known)]
    low = min(max(np.quantile(known, 0.1), 0.0), 0.99) if known.size else 0.0
    return ["".join(_block((v - low) / (1.0 - low)) for v in curve) for curve in curves]


def _block(height: float) -> str:
    """Return a block from the lowest for 0 to the highest for 1; a gap for NaN."""
    if not math.isfinite(height):
        return " "
    return BLOCKS[int(np.clip(height * len(BLOCKS), 0, len(BLOCKS) - 1))]


def _sampled(trial: Trial, made: Floats, end: float) -> Floats:
    """Return what was made at equal times up to `end`, NaN where nothing ran."""
    moments = np.linspace(end / WIDTH, end, WIDTH)
    last = np.searchsorted(trial.seconds, moments, side="right") - 1
    ran = (last >= 0) & (trial.seconds[-1] > moments - end / WIDTH)
    return np.where(ran, made[np.maximum(last, 0)], np.nan)


def _tables(rows: list[list[str]], columns: int) -> list[str]:
    """Return the table, the curves below it where the terminal is too narrow."""
    whole = _aligned(rows)
    if max(map(len, whole)) <= columns:
        return whole
    curves = [[row[0], *row[TIMES:]] for row in rows]
    return [*_aligned([row[:TIMES] for row in rows]), "", *_aligned(curves)]


def _aligned(rows: list[list[str]]) -> list[str]:
    """Return the lines of a table, its head underlined."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _line(scored: Scored, results: Results, sides: Sides, workload: str) -> list[str]:
    """Return one line of the table."""
    column = [w.name for w in scored.workloads].index(workload)
    rows = {
        r["submission"]: r for r in results["workloads"] if r["workload"] == workload
    }
    pair = [rows[name] for name in sides.names]
    times = [plain(r["time"]) if math.isfinite(r["time"]) else "-" for r in pair]
    times = [
        f"{time} ({row['reason']})" if row["reason"] else time
        for time, row in zip(times, pair, strict=True)
    ]
    best = [
        closest(_readable(scored, name, workload), scored.workloads[column])
        for name in sides.names
    ]
    shapes = sparklines(best, scored, column)
    both = np.isfinite([row["time"] for row in pair])
    if not both.any():
        return [workload, *times, "-", "-", *shapes]
    order = 0 if pair[0]["time"] <= pair[1]["time"] else 1
    faster = sides.labels[order]
    if both.all():
        faster += f" {pair[1 - order]['time'] / pair[order]['time']:.2f}x"
    places = [scored.table.submissions.index(name) for name in sides.names]
    places = [places[order], places[1 - order]]
    return [workload, *times, faster, _chance(scored, places, column), *shapes]


def _chance(scored: Scored, places: list[int], column: int) -> str:
    """Return the chance that the first is faster, and the interval of the ratio."""
    if (scored.table.studies[places, column] < 2).any():
        return "unknown"
    first, second = (scored.boot.times[:, place, column] for place in places)
    wins = float(((first < second).mean() + (first <= second).mean()) / 2.0)
    if not np.isfinite([first, second]).all():
        return f"{wins:.0%}"
    low, high = interval(second / first)
    return f"{wins:.0%} ({low:.2f} to {high:.2f})"


def _readable(scored: Scored, name: str, workload: str) -> list[Trial]:
    """Return the trials of a submission on a workload that have a curve."""
    studies = scored.cells.get((name, workload), {})
    return [t for ts in studies.values() for t in ts if t.columns and not t.unusable]
