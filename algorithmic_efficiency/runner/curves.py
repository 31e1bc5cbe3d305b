"""The picture of a trial: the metric against time, the target and every evaluation."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from algorithmic_efficiency import metrics
from algorithmic_efficiency.definition import Definition
from algorithmic_efficiency.runner.records import atomic
from algorithmic_efficiency.runner.trial import Progress
from algorithmic_efficiency.text import printable

# Okabe and Ito's palette, distinguishable by colour-blind readers.
_COLORS = {"train": "#999999", "validation": "#0072B2", "test": "#E69F00"}
_TARGET = "#D55E00"


def draw(
    path: Path,
    definition: Definition,
    title: str,
    progress: Progress,
    budget_seconds: float,
) -> None:
    """Writes a PNG of the target metric of every split against submission time.

    It says in how many seconds the target was reached, or that it was missed and what
    the budget was. A single evaluation is drawn as a large dot.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - it takes half a second

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    name = definition.target_metric_name
    for prefix, color in _COLORS.items():
        times, values = _series(progress, f"{prefix}/{name}")
        if times:
            wide = 2.0 if prefix == "validation" else 1.2
            dot = 4.0 if len(times) > 1 else 9.0
            axes.plot(times, values, "o-", ms=dot, lw=wide, color=color, label=prefix)
    target = definition.validation_target_value
    axes.axhline(target, color=_TARGET, ls="--", lw=1.2)
    sign = "≥" if metrics.target(definition).maximize else "≤"
    axes.annotate(
        f"validation target: {sign} {target:g}",
        (0.01, target),
        xycoords=("axes fraction", "data"),
        xytext=(0, 4),
        textcoords="offset points",
        color=_TARGET,
    )
    if math.isfinite(progress.score):
        _mark_score(axes, progress.score)
    else:
        _mark_miss(axes, budget_seconds)
    axes.set_xlabel("time on the submission clock (s)")
    axes.set_ylabel(name)
    axes.set_title(printable(title), loc="left", fontsize=11, parse_math=False)
    axes.set_xlim(left=0)
    axes.margins(y=0.1)  # room for the target's words
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="best")
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)


def _series(progress: Progress, key: str) -> tuple[Sequence[float], Sequence[float]]:
    points = [(r["score"], r[key]) for _, r in progress.evals if key in r]
    return [x for x, _ in points], [y for _, y in points]


def _mark_score(axes: Any, score: float) -> None:
    axes.axvline(score, color=_TARGET, lw=1.2, ls=":")
    axes.annotate(
        f"reached in {score:.1f} s",
        (score, 0.03),
        xycoords=("data", "axes fraction"),
        xytext=(-6, 0),
        textcoords="offset points",
        ha="right",
        color=_TARGET,
    )


def _mark_miss(axes: Any, budget_seconds: float) -> None:
    axes.annotate(
        f"missed; the budget was {budget_seconds:,.0f} s",
        (0.98, 0.03),
        xycoords="axes fraction",
        ha="right",
        color=_TARGET,
    )
