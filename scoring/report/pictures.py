"""Pictures of the results as PNG and SVG; this module alone loads matplotlib."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from algorithmic_efficiency.text import printable
from scoring.report.colours import colour, dash
from scoring.rules.scores import Floats

Results = dict[str, Any]

BANDS = 4  # more bands than this hide one another
FAINT: dict[str, Any] = {"alpha": 0.14, "linewidth": 0}
STYLES = {"solid": "-", "dash": (0, (4, 1.5)), "dot": (0, (1, 1)), "dashdot": "-."}
LETTERS = 30  # of a name
PARTING = 0.009  # of the height, between lines that would lie on one another
LINE = 0.046  # of the height, for a name
# What has letters that Matplotlib's own font lacks, if it is installed.
FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
    "Noto Sans",
    "Arial Unicode MS",
)


def write_pictures(results: Results, folder: Path) -> None:
    """Write performance_profiles and time_to_targets, each as .png and .svg."""
    there = {font.name for font in fontManager.ttflist}
    settings = {
        "svg.hashsalt": "scoring",
        "svg.fonttype": "none",  # text stays text, in whatever font the reader has
        "text.parse_math": False,  # a name may hold two $
        "font.family": ["DejaVu Sans", *(font for font in FONTS if font in there)],
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with mpl.rc_context(settings), warnings.catch_warnings():
        # A letter that no font has is a box in the PNG, and itself in the SVG.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        for name, draw, height in (
            ("performance_profiles", _profiles, 3.8),
            ("time_to_targets", _times, _height(results)),
        ):
            figure = Figure(figsize=(7.6, height), layout="constrained")
            draw(figure.add_subplot(), results)
            figure.savefig(folder / f"{name}.png", dpi=160)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def _height(results: Results) -> float:
    """Return the inches that the picture of times needs."""
    workloads, scores = len(results["settings"]["workloads"]), len(results["scores"])
    return min(14.0, max(2.6, 0.9 + 0.36 * workloads, 0.085 * workloads * scores))


def _profiles(axes: Axes, results: Results) -> None:
    """Draw the share of workloads within tau of the fastest, with 95 % bands."""
    rows = results["scores"]
    curves = [_profile(row["submission"], results) for row in rows]
    if not any(share.any() for _, share, _, _ in curves):
        _say(axes, "Nobody reached a target.")
        return
    shifts = _apart([(tau, share) for tau, share, _, _ in curves])
    for place, (tau, share, low, high) in enumerate(curves):
        line = {"color": colour(place), "ls": STYLES[dash(place)], "lw": 1.6}
        axes.step(tau, share + shifts[place], where="post", **line)
        if len(rows) <= BANDS:
            axes.fill_between(tau, low, high, step="post", color=colour(place), **FAINT)
    axes.set(
        xlabel="ratio to the fastest submission",
        ylabel="share of workloads",
        ylim=(-0.06, 1.06),
        xlim=(1, results["settings"]["r_max"]),
        yticks=np.linspace(0.0, 1.0, 6),
    )
    axes.yaxis.set_major_formatter("{x:.0%}")
    names = [f"{_short(row['submission'])} ({row['score']:.3f})" for row in rows]
    ends = [
        (curve[1][-1] + shift + 0.06) / 1.12
        for curve, shift in zip(curves, shifts, strict=True)
    ]
    _name_lines(axes, names, _spread(ends))


def _times(axes: Axes, results: Results) -> None:
    """Draw the median time to every target with its 95 % interval, misses apart."""
    workloads = results["settings"]["workloads"]
    cells = {(r["submission"], r["workload"]): r for r in results["workloads"]}
    shown = [
        cells[row["submission"], name]
        for row in results["scores"]
        for name in workloads
    ]
    ends = [cell[key] for cell in shown for key in ("time", "time_low", "time_high")]
    known = [end for end in ends if math.isfinite(end) and end > 0.0]
    if not any(math.isfinite(cell["time"]) for cell in shown):
        _say(axes, "Nobody reached a target.")
        return
    limits = min(known) / 1.25, max(known) * 1.25
    # Misses stand in a strip of their own, behind the last time.
    missed = any(not math.isfinite(cell["time"]) for cell in shown)
    wide = (limits[1] / limits[0]) ** 0.1 if missed else 1.0
    strip = limits[1] * wide**0.4, limits[1] * wide**1.4
    space = 0.8 / len(results["scores"])
    for place, row in enumerate(results["scores"]):
        for line, name in enumerate(workloads):
            level = line + (place + 0.5) * space - 0.4
            cell = cells[row["submission"], name]
            _time(
                axes, cell, level, colour(place), (*limits, math.sqrt(math.prod(strip)))
            )
    axes.set(xlabel=f"time to target ({results['settings']['unit']})", xscale="log")
    axes.set_xlim(limits[0], strip[1] if missed else limits[1])
    axes.xaxis.set_major_locator(FixedLocator(ticks(*limits)))
    axes.xaxis.set_major_formatter("{x:,.10g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(len(workloads) - 0.5, -0.5)
    axes.set_yticks(range(len(workloads)), [printable(name) for name in workloads])
    axes.tick_params(axis="y", length=0)
    for line in range(1, len(workloads)):
        axes.axhline(line - 0.5, color="0.88", lw=0.6, zorder=0)
    if missed:
        axes.axvspan(*strip, color="0.94", lw=0, zorder=0)
        middle = math.sqrt(math.prod(strip))
        across = axes.get_xaxis_transform()
        axes.text(middle, 1.01, "missed", transform=across, ha="center", fontsize=8)
    names = [_short(row["submission"]) for row in results["scores"]]
    gap = min(0.19 / _height(results), 1.0 / len(names))
    heights = [1.0 - gap * (place + 0.5) for place in range(len(names))]
    _name_lines(axes, names, heights, dots=True)


def _time(
    axes: Axes, cell: Results, level: float, hue: str, ends: tuple[float, ...]
) -> None:
    """Draw one time and its interval, or a cross in the strip of misses."""
    bottom, top, strip = ends
    if not math.isfinite(cell["time"]):
        axes.plot(strip, level, "X", ms=4.5, mew=0, color=hue, gid="missed")
        return
    axes.plot(cell["time"], level, "o", ms=4, mew=0, color=hue)
    if math.isnan(cell["time_low"]):
        return
    low, high = max(bottom, cell["time_low"]), min(top, cell["time_high"])
    axes.plot([low, high], [level, level], color=hue, lw=1.4, solid_capstyle="butt")
    if math.isinf(cell["time_high"]):
        (mark,) = axes.plot(top, level, ">", ms=4.5, mew=0, color=hue)
        mark.set(clip_on=False, gid="missed by some studies")


def ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Return round numbers between two positive ones, for a logarithmic axis."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        found = [float(f"{s * 10.0**p:.3g}") for p in powers for s in steps]
        found = [tick for tick in found if low <= tick <= high]
        if len(found) <= most:
            break
    if len(found) > most:
        return found[:: math.ceil(len(found) / most)]
    if len(found) >= 3 or high > 10.0 * low:
        return found
    size = 10.0 ** math.floor(math.log10((high - low) / 4.0))
    step = next(size * f for f in (1, 2, 5, 10) if size * f >= (high - low) / 4.0)
    first = math.ceil(low / step)
    return [step * k for k in range(first, math.floor(high / step) + 1)]


def _profile(name: str, results: Results) -> tuple[Floats, Floats, Floats, Floats]:
    """Return tau, share, and the ends of the band of one submission."""
    points = [p for p in results["profiles"] if p["submission"] == name]
    tau, share, low, high = (
        np.array([p[key] for p in points]) for key in ("tau", "share", "low", "high")
    )
    return tau, share, low, high


def _apart(curves: Sequence[tuple[Floats, Floats]]) -> list[float]:
    """Return offsets that put lines which share points side by side."""
    slots: list[int] = []
    points = [set(zip(x.tolist(), y.tolist(), strict=True)) for x, y in curves]
    for place, own in enumerate(points):
        taken = {
            slots[other]
            for other in range(place)
            if len(own & points[other]) >= max(2, 0.1 * len(own))
        }
        slots.append(next(s for s in range(len(points)) if s not in taken))
    return [PARTING * (1 if s % 2 else -1) * math.ceil(s / 2) for s in slots]


def _spread(ends: Sequence[float]) -> list[float]:
    """Return heights in [0, 1] near the given ones, a line apart where they can be."""
    gap = min(LINE, 1.0 / len(ends))
    order = sorted(range(len(ends)), key=lambda place: -ends[place])
    at, edge = list(ends), 1.0 + gap / 2.0
    for place in order:
        edge = at[place] = min(at[place], edge - gap)
    edge = -gap / 2.0
    for place in reversed(order):
        edge = at[place] = max(at[place], edge + gap)
    return at


def _name_lines(
    axes: Axes, names: Sequence[str], heights: Sequence[float], dots: bool = False
) -> None:
    """Write names right of the axes at heights in [0, 1], each with its colour."""
    across = axes.transAxes
    for place, (name, height) in enumerate(zip(names, heights, strict=True)):
        style = STYLES[dash(place)]
        (mark,) = axes.plot([1.015, 1.055], [height, height], color=colour(place))
        mark.set(transform=across, clip_on=False, linestyle=style, linewidth=2.0)
        if dots:
            mark.set(linestyle="", marker="o", markersize=4.5, markevery=[1])
        axes.text(1.07, height, name, va="center", fontsize=8, transform=across)


def _say(axes: Axes, text: str) -> None:
    """Write a sentence where there is nothing to draw."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)


def _short(name: str) -> str:
    """Return a name of bounded length, without its middle if it must be."""
    name = printable(name)
    half = LETTERS // 2
    return name if len(name) <= LETTERS else f"{name[:half]}…{name[1 - half :]}"
