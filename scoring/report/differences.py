"""What differs between two sets of runs: hyperparameters, versions, hardware."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from algorithmic_efficiency.text import html_text
from scoring.reading.trials import Trial
from scoring.report.outputs import jsonable

Results = dict[str, Any]

OPEN_ROWS = 10  # more are folded away at first
RUN_KEYS = ("submission", "batch_size", "budget_seconds", "targets", "tuning_ruleset")


def find_differences(trials: Sequence[Trial], names: tuple[str, str]) -> list[Results]:
    """Return a row for every setting whose values are not the same on both sides."""
    sides = [
        _values([trial for trial in trials if trial.submission == name])
        for name in names
    ]
    rows = []
    for what in sorted({*sides[0], *sides[1]}):
        values = [side.get(what, set()) for side in sides]
        if values[0] != values[1]:
            shown = [_shorten(found) for found in values]
            rows.append({"what": what, names[0]: shown[0], names[1]: shown[1]})
    return rows


def _values(trials: Sequence[Trial]) -> dict[str, set[str]]:
    """Return all values of hyperparameters, versions and hardware by their names."""
    found: dict[str, set[str]] = {}
    for trial in trials:
        parts: Mapping[str, Any] = {
            "hyperparameter": trial.hyperparameters,
            "version": trial.run.get("versions"),
            "hardware": trial.run.get("hardware"),
            "run": _of_run(trial),
        }
        for part, record in parts.items():
            for key, value in (record if isinstance(record, dict) else {}).items():
                word = json.dumps(_rounded(jsonable(value)), sort_keys=True)
                found.setdefault(f"{part} {key}", set()).add(word)
    return found


def _of_run(trial: Trial) -> dict[str, Any]:
    """Return what a run was asked to do, as far as it is recorded."""
    recorded = {key: trial.run[key] for key in RUN_KEYS if key in trial.run}
    return {"framework": trial.framework, "scale": trial.scale, **recorded}


def _rounded(value: Any) -> Any:
    """Return a float with six digits, and anything else as it is."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _shorten(values: set[str]) -> str:
    """Return a few values."""
    shown = sorted(values)
    return ", ".join(shown[:3]) + (", ..." if len(shown) > 3 else "") or "none"


def section(verdict: str, differences: list[Results], names: tuple[str, str]) -> str:
    """Return the verdict and the differences as the first section of the page."""
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{html_text(row[key])}</td>" for key in ("what", *names))
        + "</tr>"
        for row in differences
    )
    head = "".join(f"<th scope='col'>{html_text(n)}</th>" for n in ("What", *names))
    table = (
        "<div class='scroll' tabindex='0' role='region' aria-label='Differences'>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
    opened = "open" if len(differences) <= OPEN_ROWS else ""
    title = f"What differs ({len(differences)})"
    details = f"<details {opened}><summary>{title}</summary>{table}</details>"
    return (
        "<section id='verdict'><h2>In short</h2>"
        f"<p class='verdict'>{html_text(verdict)}</p>{details}</section>"
    )
