"""Pictures of the results as PNG and SVG; this module alone loads matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from scoring.colours import colour

Results = dict[str, Any]

BANDS = 4  # more bands than this hide one another
FAINT: dict[str, Any] = {"alpha": 0.12, "linewidth": 0}


def write_pictures(results: Results, folder: Path) -> None:
    """Write performance_profiles and time_to_targets, each as .png and .svg."""
    settings = {"svg.hashsalt": "scoring", "font.size": 9, "axes.spines.top": False}
    with mpl.rc_context({**settings, "axes.spines.right": False}):
        for name, draw, size in (
            ("performance_profiles", _profiles, (6.4, 3.8)),
            ("time_to_targets", _times, (7.6, 3.8)),
        ):
            figure = Figure(figsize=size, layout="constrained")
            draw(figure.add_subplot(), results)
            figure.savefig(folder / f"{name}.png", dpi=160)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def _profiles(axes: Axes, results: Results) -> None:
    """Draw the share of workloads within tau of the fastest, with 95 % bands."""
    for place, row in enumerate(results["scores"]):
        points = [
            p for p in results["profiles"] if p["submission"] == row["submission"]
        ]
        tau, share, low, high = (
            np.array([p[key] for p in points])
            for key in ("tau", "share", "low", "high")
        )
        axes.step(
            tau,
            share,
            where="post",
            color=colour(place),
            label=f"{row['submission']} ({row['score']:.3f})",
        )
        if len(results["scores"]) <= BANDS:
            axes.fill_between(tau, low, high, step="post", color=colour(place), **FAINT)
    axes.set(
        xlabel="ratio to the fastest submission",
        ylabel="share of workloads",
        ylim=(-0.02, 1.02),
        xlim=(1, results["settings"]["r_max"]),
    )
    _legend(axes)


def _times(axes: Axes, results: Results) -> None:
    """Draw the median time to every target with its 95 % interval."""
    workloads = results["settings"]["workloads"]
    cells = {(r["submission"], r["workload"]): r for r in results["workloads"]}
    count = len(results["scores"])
    ends = [c[key] for c in cells.values() for key in ("time", "time_low")]
    known = [end for end in ends if np.isfinite(end) and end > 0.0] or [1.0]
    top = 2.0 * max(known)
    for place, row in enumerate(results["scores"]):
        for column, workload in enumerate(workloads):
            cell = cells[row["submission"], workload]
            x = column + 0.8 * ((place + 0.5) / count - 0.5)
            if not np.isfinite(cell["time"]):
                axes.plot(x, top, "x", ms=4, color=colour(place), clip_on=False)
                continue
            axes.plot(x, cell["time"], "o", ms=4, color=colour(place))
            span = np.array([cell["time_low"], cell["time_high"]])
            if np.isinf(span[1]):
                axes.plot(x, top, "^", ms=4, color=colour(place), clip_on=False)
                span[1] = top
            axes.plot([x, x], span, color=colour(place), lw=1.5)
        axes.plot([], [], "o", ms=4, color=colour(place), label=row["submission"])
    used = {line.get_marker() for line in axes.lines}
    for marker, says in (("x", "missed"), ("^", "missed by some studies")):
        if marker in used:
            axes.plot([], [], marker, ms=4, color="0.4", label=says)
    labels = [name.replace("_", "\n", 1) for name in workloads]
    axes.set_xticks(range(len(workloads)), labels, fontsize=7)
    axes.set(ylabel=f"time to target ({results['settings']['unit']})", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:,.10g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(0.7 * min(known), top)
    _legend(axes)


def _legend(axes: Axes) -> None:
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
