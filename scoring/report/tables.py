"""The tables of report.html, as HTML that reads well on a phone and in print."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from algorithmic_efficiency.text import html_text, printable
from scoring.report.colours import variable
from scoring.report.outputs import plain, spread

Results = dict[str, Any]

DASH = "&ndash;"
PIECE = 20  # letters of a name that stay together


def leaderboard(results: Results) -> str:
    """Return the leaderboard, with every score's interval drawn beside it."""
    body = []
    for place, row in enumerate(results["scores"]):
        swatch = f'<span class="swatch" style="background:{variable(place)}"></span>'
        ranks = _span(row, "rank", "{:.0f}")
        body.append(
            [
                f"{row['rank']:g}",
                name(row["submission"], swatch),
                f"<strong>{row['score']:.4f}</strong>",
                _bar(row, variable(place)),
                row["group"],
                ranks,
                f"{row['reached']} of {row['workloads']}",
                f"{row['graded_score']:.3f}",
                spread(row, "speedup", "{:.2f}"),
            ]
        )
    head = [
        "Rank",
        "Submission",
        "Score",
        "95 % interval",
        "Group",
        "Rank interval",
        "Targets",
        "Graded score",
        f"Speed-up over {name(results['settings']['reference'])}",
    ]
    return _table(head, body)


def heat_map(results: Results) -> str:
    """Return ratios to the fastest as a coloured table, misses with their reasons."""
    workloads = results["settings"]["workloads"]
    cells = {(r["submission"], r["workload"]): r for r in results["workloads"]}
    lines = ["<table class='heat'><thead><tr><th scope='col'>Submission</th>"]
    lines += [f"<th scope='col'>{name(workload)}</th>" for workload in workloads]
    lines.append("</tr></thead><tbody>")
    for row in results["scores"]:
        who = row["submission"]
        lines.append(
            f"<tr data-submission='{html_text(who)}'><th scope='row'>{name(who)}</th>"
        )
        lines += [_heat(cells[who, workload], results) for workload in workloads]
        lines.append("</tr>")
    return "".join([*lines, "</tbody></table>"])


def comparisons(results: Results) -> str:
    """Return every pair with what is known of their difference."""
    body = []
    for pair in results["comparisons"]:
        first, second = pair["first"], pair["second"]
        verdict = f"{name(first)} higher" if pair["difference"] else "equal scores"
        verdict += ", resolved" if pair["resolved"] else ", not resolved"
        more = pair["more_studies"]
        body.append(
            [
                f"{name(first)} vs {name(second)}",
                spread({**pair, **_ends(pair)}, "difference", "{:+.3f}"),
                _percent(pair["better"]),
                f"{pair['p_value']:.3f}" if not math.isnan(pair["better"]) else DASH,
                spread(pair, "speedup", "{:.2f}"),
                verdict,
                DASH if more is None else f"{more:,}",
            ]
        )
    head = [
        "Pair (first vs second)",
        "Score difference",
        "Chance that first is better",
        "p (Holm)",
        "Speed-up of first",
        "Verdict",
        "More studies needed",
    ]
    return _table(head, body) if body else "<p>There is one submission only.</p>"


def ladder(results: Results) -> str:
    """Return times to 90, 95, 99 and 100 % of the way to each target."""
    levels = [key for key in results["workloads"][0] if key.startswith("to_")]
    rows = [row for row in results["workloads"] if row["counted"]]
    body = [
        [name(r["submission"]), name(r["workload"])]
        + [_number(r[level]) for level in levels]
        for r in rows
    ]
    head = ["Submission", "Workload", *(f"{lv[3:]} of the way" for lv in levels)]
    return _table(head, body)


def pace(results: Results) -> str:
    """Return steps, time per step, share of evaluation, and hits per cell."""
    body = []
    for row in results["workloads"]:
        if not row["studies"]:
            continue
        chance = f"{row['hit_low']:.0%} to {row['hit_high']:.0%}"
        body.append(
            [
                name(row["submission"]),
                name(row["workload"]),
                _number(row["seconds"]),
                _number(row["steps"]),
                _number(row["seconds_per_step"]),
                _percent(row["evaluation_share"]),
                f"{row['hits']} of {row['studies']} ({chance})",
                html_text(row["reason"]) or DASH,
            ]
        )
    head = [
        "Submission",
        "Workload",
        "Seconds to target",
        "Steps to target",
        "Seconds per step",
        "Evaluation, share of run",
        "Studies that hit (95 %)",
        "Why missed",
    ]
    return _table(head, body)


def stability(results: Results) -> str:
    """Return who leads when one submission or workload is left out."""
    changed, same = [], []
    order = [row["submission"] for row in results["scores"]]
    for row in results["stability"]:
        alone = row["dropped"] == "submission" and row["name"] == order[0]
        if row["swaps"] or (row["first"] != order[0] and not alone):
            changed.append(row)
        else:
            same.append(row["name"])
    body = [
        [
            f"{row['dropped']} {name(row['name'])}",
            name(row["first"]),
            "; ".join(map(name, row["swaps"])) or DASH,
        ]
        for row in changed
    ]
    text = _table(["Left out", "First", "Change of order"], body) if body else ""
    if same:
        text += f"<p>Without any one of {_names(same)} the order stays as it is.</p>"
    return text


def environment(results: Results) -> str:
    """Return versions and hardware of every group of runs."""
    parts = []
    for row in results["environment"]:
        who = html_text(f"{', '.join(row['submissions'])} ({row['framework']})")
        lines = []
        for key in ("versions", "hardware"):
            if row[key]:
                text = html_text(json.dumps(row[key], indent=1, sort_keys=True))
                lines.append(f"<pre>{text}</pre>")
        text = "".join(lines) or "<p>These runs carry no record of it (run.json).</p>"
        parts.append(f"<details><summary>{who}</summary>{text}</details>")
    return "".join(parts)


def warnings(results: Results) -> str:
    """Return everything that was left out, repaired or assumed."""
    items = "".join(f"<li>{html_text(text)}</li>" for text in results["warnings"])
    return f"<ul>{items}</ul>" if items else "<p>Nothing was left out.</p>"


def _heat(row: Results, results: Results) -> str:
    """Return one cell: the ratio, or the reason of the miss."""
    ratio, limit = row["ratio"], results["settings"]["r_max"]
    if math.isfinite(ratio):
        part = min(1.0, math.log(ratio) / math.log(limit))
        time = _number(row["time"])
        return (
            f"<td class='hit' style='--part:{part:.3f}'><strong>{ratio:.2f}</strong>"
            f"<small>{time} {results['settings']['unit']}</small></td>"
        )
    reason = html_text(row["reason"] or "missing")
    return f"<td class='miss'><strong>miss</strong><small>{reason}</small></td>"


def _bar(row: Results, fill: str) -> str:
    """Return a score and its interval on a scale from 0 to 1."""
    low, high = row["score_low"], row["score_high"]
    if math.isnan(low):
        return "<span class='faint'>unknown</span>"
    return (
        f"<span class='range' role='img' aria-label='{low:.3f} to {high:.3f}'>"
        f"<i style='left:{low:.1%};width:{high - low:.1%};background:{fill}'></i>"
        f"<b style='left:{row['score']:.1%}'></b></span>"
        f"<small>{low:.3f} to {high:.3f}</small>"
    )


def _span(row: Results, key: str, form: str) -> str:
    """Return the ends of an interval."""
    if math.isnan(row[f"{key}_low"]):
        return DASH
    return f"{form.format(row[f'{key}_low'])} to {form.format(row[f'{key}_high'])}"


def _ends(pair: Results) -> Results:
    """Return a pair's interval under the names that `spread` reads."""
    return {"difference_low": pair["low"], "difference_high": pair["high"]}


def _number(value: float) -> str:
    """Return a number for people, a dash for none."""
    return plain(value) if math.isfinite(value) else DASH


def _percent(value: float) -> str:
    """Return a share for people."""
    return f"{value:.1%}" if math.isfinite(value) else DASH


def _names(names: Sequence[str]) -> str:
    """Return names for a sentence."""
    words = [f"<em>{name(one)}</em>" for one in names]
    return ", ".join(words[:-1]) + (" or " if len(words) > 1 else "") + words[-1]


def name(text: str, before: str = "") -> str:
    """Return a name as HTML that may break at its joints, in its own direction."""
    pieces = [
        piece[start : start + PIECE]
        for piece in re.findall(r"[^_./\s-]*[_./\s-]+|[^_./\s-]+", printable(text))
        for start in range(0, len(piece), PIECE)
    ]
    joined = "<wbr>".join(map(html_text, pieces))
    return f"<span class='name'>{before}<bdi>{joined}</bdi></span>"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return an HTML table from cells that are HTML already."""
    top = "".join(f"<th scope='col'>{cell}</th>" for cell in head)
    rows = "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table>"
