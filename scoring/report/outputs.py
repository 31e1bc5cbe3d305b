"""Write results for machines (CSV, JSON), for a README (Markdown), and for later.

In CSV files a miss is `inf` and an unknown number is empty; in JSON both are null.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from algorithmic_efficiency.text import csv_cell, markdown_cell, printable
from scoring.reading.files import storing

Results = dict[str, Any]

CSV_TABLES = (
    "scores",
    "workloads",
    "comparisons",
    "profiles",
    "stability",
    "tuning",
)
STAR = "*"
FILE_NAMES = {"profiles": "performance_profiles"}


def write_tables(results: Results, folder: Path) -> None:
    """Write one CSV file per table, results.json, and the tables in Markdown."""
    for name in CSV_TABLES:
        _write_csv(folder / f"{FILE_NAMES.get(name, name)}.csv", results[name])
    write_times(results, folder)
    _write(folder / "results.json", json.dumps(jsonable(results)) + "\n")
    _write(folder / "tables.md", tables(results, markdown_cell))


def write_times(results: Results, folder: Path) -> None:
    """Write the times to target, and what every trial did."""
    _write_csv(folder / "time_to_targets.csv", _pivot(results))
    _write_csv(folder / "trials.csv", results["trials"])


def tables(results: Results, cell: Callable[[str], str] = printable) -> str:
    """Return the leaderboard and the times to target as Markdown tables.

    `cell` makes names harmless where the tables go; as they are they are for a
    terminal.
    """
    settings = results["settings"]
    lines = [
        f"Scores by AlgoPerf {settings['benchmark_version']} ({settings['rules']} "
        f"rules, {settings['scale']} scale, {settings['ruleset']} tuning), "
        f"{count(len(settings['workloads']), 'workload')}; 95 % intervals in brackets. "
        "Entries that share a letter are not resolved by these data.",
        "",
    ]
    head = ["rank", "submission", "score", "group", "targets reached"]
    head.append(f"speed-up over {cell(settings['reference'])}")
    body = [
        [
            f"{row['rank']:g}",
            cell(row["submission"]),
            spread(row, "score", "{:.4f}"),
            row["group"],
            f"{row['reached']} of {row['workloads']}",
            spread(row, "speedup", "{:.2f}"),
        ]
        for row in results["scores"]
    ]
    lines += _table(head, body)
    lines += ["", f"Time to target in {settings['unit']} (median over studies):", ""]
    pivot = _pivot(results)
    keys = [key for key in pivot[0] if key != "submission"]
    cells = {(r["submission"], r["workload"]): r for r in results["workloads"]}
    body = []
    for name in [row["submission"] for row in results["scores"]]:
        rows = [cells[name, key] for key in keys]
        body.append([cell(name), *(cell(_time(row)) for row in rows)])
    head = ["submission", *(cell(key) for key in keys)]
    lines += _table(head, body)
    if any(STAR in text for row in body for text in row[1:]):
        lines += ["", f"{cell(STAR)} Some studies missed it; workloads.csv says why."]
    return "\n".join([*lines, ""])


def spread(row: Results, key: str, form: str) -> str:
    """Return a number with its interval, where it has one."""
    low, high = row[f"{key}_low"], row[f"{key}_high"]
    text = form.format(row[key])
    if math.isnan(low):
        return text
    return f"{text} [{form.format(low)}, {form.format(high)}]"


def count(number: int, thing: str) -> str:
    """Return a number of things: '1 workload', '8 workloads'."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def plain(number: float) -> str:
    """Return a number for people: three digits, or all before the point."""
    return f"{number:,.0f}" if abs(number) >= 100.0 else f"{number:.3g}"


def jsonable(value: Any) -> Any:
    """Return `value` with plain types and text only, and null for inf and NaN."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {printable(str(key)): jsonable(item) for key, item in value.items()}
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return jsonable(value.item()) if isinstance(value, np.generic) else value


def _pivot(results: Results) -> list[Results]:
    """Return the times as the public tool's table: submissions by workloads."""
    table: dict[str, Results] = {}
    for row in results["workloads"]:
        line = table.setdefault(row["submission"], {"submission": row["submission"]})
        line[row["workload"]] = row["time"]
    return [
        dict(sorted(line.items(), key=_submission_first)) for line in table.values()
    ]


def _submission_first(item: tuple[str, Any]) -> tuple[bool, str]:
    """Sort workloads by name behind the submission's name."""
    return item[0] != "submission", item[0]


def _time(row: Results) -> str:
    """Return a time for people, or why there is none."""
    if math.isfinite(row["time"]):
        return plain(row["time"]) + (f" {STAR}" if row["reason"] else "")
    return f"- ({row['reason']})" if row["reason"] else "-"


def _table(head: list[str], body: list[list[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def _write_csv(path: Path, rows: list[Results]) -> None:
    """Write rows with the union of their keys as header, in order of appearance."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    with storing(path), path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(map(csv_cell, names))
        writer.writerows([_word(row.get(name)) for name in names] for row in rows)


def _write(path: Path, text: str) -> None:
    """Write a text file; raises StorageError."""
    with storing(path):
        path.write_text(text, encoding="utf-8")


def _word(value: Any) -> Any:
    """Return a cell: NaN is empty, a list or an object is JSON, text is text."""
    if isinstance(value, float) and math.isnan(value):
        return ""
    if isinstance(value, list | dict):
        return json.dumps(jsonable(value))
    return csv_cell(value)
