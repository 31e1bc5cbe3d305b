"""Write `report.html`: one file, no network, that shows everything that was found.

The tables are HTML, readable before and without any script. Charts are drawn by the
plotly.js of the installed plotly package, which travels compressed inside the page.
"""

from __future__ import annotations

import base64
import gzip
import importlib.util
import json
import math
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from algorithmic_efficiency.errors import UsageError
from algorithmic_efficiency.text import html_text
from scoring.reading.trials import Floats
from scoring.report import tables
from scoring.report.colours import dash, style_sheet, variable
from scoring.report.outputs import count, jsonable
from scoring.rules.reasons import closest
from scoring.rules.scored import Scored

Results = dict[str, Any]

CURVE_POINTS = 120  # per trial; enough for a chart 1,000 pixels wide
NAMED = 3  # submissions in the title
OPEN_PAIRS = 15  # more are folded away at first
HERE = Path(__file__).parent
SCRIPTS = ("charts.js", "figures.js", "page.js")


@dataclass(frozen=True)
class Opening:
    """What a page says first: its title, and HTML above the leaderboard."""

    title: str = ""
    above: str = ""


def write_report(
    results: Results, scored: Scored, path: Path, opening: Opening | None = None
) -> None:
    """Write the page; a comparison brings an opening of its own."""
    settings = results["settings"]
    opening = opening or Opening()
    names = [row["submission"] for row in results["scores"]]
    notes = count(len(results["warnings"]), "note")
    page = Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(
        title=html_text(opening.title or _title(names)),
        subtitle=html_text(_subtitle(settings)),
        notes=f"<a href='#warnings'>{notes} on the data</a>",
        above=opening.above,
        style=(HERE / "page.css").read_text(encoding="utf-8") + style_sheet(),
        script="".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS),
        reference=html_text(settings["reference"]),
        unit=html_text(settings["unit"]),
        limit=f"{settings['r_max']:g}",
        toggles=_toggles(names),
        options="".join(
            f'<option value="{html_text(name)}">{html_text(name)}</option>'
            for name in settings["workloads"]
        ),
        leaderboard=tables.leaderboard(results),
        heat_map=tables.heat_map(results),
        open="open" if len(results["comparisons"]) <= OPEN_PAIRS else "",
        comparisons=tables.comparisons(results),
        ladder=tables.ladder(results),
        stability=tables.stability(results),
        pace=tables.pace(results),
        environment=tables.environment(results),
        warnings=tables.warnings(results),
        data=_packed(json.dumps(_data(results, scored), separators=(",", ":"))),
        plotly=_packed(_plotly().read_bytes()),
    )
    path.write_text(page, encoding="utf-8")


def _title(names: list[str]) -> str:
    """Return a title with the first names."""
    shown = ", ".join(names[:NAMED])
    more = len(names) - NAMED
    return "AlgoPerf scores: " + shown + (f" and {more} more" if more > 0 else "")


def _subtitle(settings: Results) -> str:
    """Return in a sentence what was scored, and how."""
    clock = settings["time"].replace("_", " ")
    return (
        f"Benchmark {settings['benchmark_version']}, {settings['rules']} rules, "
        f"{settings['ruleset']} tuning, {settings['scale']} scale, clock: {clock}. "
        f"{count(len(settings['workloads']), 'workload')}, "
        f"{count(settings['trials_read'], 'trial')}. "
        "Intervals hold the mean of repetitions with the same number of studies and "
        f"trials: 95 %, {settings['resamples']:,} bootstrap resamples, "
        f"seed {settings['seed']}."
    )


def _toggles(names: list[str]) -> str:
    """Return a checkbox for every submission, in the colour of its curves."""
    return "".join(
        f'<label><input type="checkbox" checked data-submission="{html_text(name)}">'
        f'<span class="swatch" style="background:{variable(place)}"></span>'
        f"<bdi title='{html_text(name)}'>{html_text(name)}</bdi></label>"
        for place, name in enumerate(names)
    )


def _data(results: Results, scored: Scored) -> Results:
    """Return what the charts need, in the order of the leaderboard."""
    names = [row["submission"] for row in results["scores"]]
    data = {
        "submissions": [
            {"name": name, "variable": variable(place)[4:-1], "dash": dash(place)}
            for place, name in enumerate(names)
        ],
        "workloads": [
            {
                "name": w.name,
                "metric": w.metric,
                "target": w.validation,
                "maximize": w.maximize,
            }
            for w in scored.workloads
            if w.name in results["settings"]["workloads"]
        ],
        "unit": results["settings"]["unit"],
        "rMax": results["settings"]["r_max"],
        "profiles": results["profiles"],
        "times": [row for row in results["workloads"] if row["counted"]],
        "tuning": results["tuning"],
        "curves": _curves(scored),
    }
    return dict(jsonable(data))


def _curves(scored: Scored) -> dict[str, Results]:
    """Return the learning curves by workload and submission.

    The best trial of each study is marked: those decide, the others are background.
    """
    curves: dict[str, Results] = {}
    workloads = {workload.name: workload for workload in scored.workloads}
    for (submission, name), studies in scored.cells.items():
        column = f"validation/{workloads[name].metric}"
        for trials in studies.values():
            best = closest(trials, workloads[name])
            for trial in trials:
                values = trial.column(column)
                if not values.size:
                    continue
                last = values.size - 1
                pick = np.unique(np.linspace(0, last, CURVE_POINTS).astype(int))
                lines = curves.setdefault(name, {}).setdefault(submission, [])
                line = {
                    "label": f"{trial.study}, trial {trial.trial}",
                    "best": trial is best,
                    "seconds": _short(trial.seconds[pick]),
                    "steps": _short(trial.steps[pick]),
                    "values": _short(values[pick]),
                }
                lines.append(line)
    return curves


def _short(values: Floats) -> list[float]:
    """Return numbers with five digits, enough for a chart."""
    return [float(f"{v:.5g}") if math.isfinite(v) else math.nan for v in values]


def _packed(content: str | bytes) -> str:
    """Return content compressed, as text that a script in the page unpacks."""
    raw = content.encode() if isinstance(content, str) else content
    return base64.b64encode(gzip.compress(raw, 6, mtime=0)).decode()


def _plotly() -> Path:
    """Return the path of plotly.js; raises UsageError if plotly is not installed."""
    found = importlib.util.find_spec("plotly")
    if found is None or found.origin is None:
        raise UsageError(
            "report.html needs the package plotly, which is not installed; install it, "
            "or score with --noreport."
        )
    return Path(found.origin).with_name("package_data") / "plotly.min.js"
