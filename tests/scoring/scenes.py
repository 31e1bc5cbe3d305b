"""Boards that the report must bear: few and many submissions, odd names, no hits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from scoring.reading.benchmark import load
from scoring.reading.trials import Trial
from tests.scoring.trees import public_logs, under_other_names

LONG = "shampoo_" + "x" * 48 + "_v1"  # 59 letters, hardly a place to break
NAMES = (
    LONG,
    "распределённая_оптимизация",
    "分布式優化器_第二版",
    "محسن_الشبكات",
    "<b>bold</b> & %{x} co",
    "a",
)


@dataclass(frozen=True)
class Speed:
    """How a submission does on a workload: seconds to the target, None for a miss."""

    hit: float | None
    evaluations: int = 12


def run(
    submission: str, workload: str, study: int, speed: Speed, mini: bool = False
) -> Trial:
    """Return a trial that nears the target as learning curves do."""
    definition = load("0.6").definitions[workload]
    origin = definition.origin or 0.0
    way = definition.validation - origin
    part = np.arange(1, speed.evaluations + 1) / speed.evaluations
    done = 1.0 - np.exp(-4.0 * part)
    end = 1.002 if speed.hit else 0.9 - 0.02 * study
    values = origin + way * done * end / done[-1]
    name = workload + "_mini" if mini else workload
    seconds = part * (speed.hit or 900.0)
    record = {
        "workload": name,
        "targets": {
            "metric": definition.metric,
            "validation": definition.validation,
            "maximize": definition.maximize,
        },
        "scale": "mini" if mini else "full",
        "status": "target_reached" if speed.hit else "budget_exhausted",
        "budget_seconds": 1_000.0,
    }
    columns = {
        "score": seconds,
        "global_step": np.round(seconds * 7.0),
        f"validation/{definition.metric}": values,
    }
    path = f"{submission}/study_{study}/{name}_jax/trial_1"
    study_name = f"study_{study}"
    return Trial(
        submission, study_name, name, "jax", 1, path, columns=columns, run=record
    )


def board(
    names: Sequence[str],
    workloads: Sequence[str],
    speed: Callable[[int, int, int], Speed],
    mini: bool = False,
) -> list[Trial]:
    """Return three studies of everything; `speed` takes places of name and workload."""
    return [
        run(name, workload, study, speed(i, j, study), mini)
        for i, name in enumerate(names)
        for j, workload in enumerate(workloads)
        for study in range(3)
    ]


def scenes() -> Mapping[str, list[Trial]]:
    """Return all boards by name."""
    eight = load("0.6").workloads
    logs = public_logs("external_tuning")

    def usual(i: int, j: int, study: int) -> Speed:
        seconds = 300.0 * (1.0 + 0.25 * ((i + 2 * j) % 5)) * (1.0 + 0.05 * study)
        return Speed(None if (i + j) % 7 == 6 else seconds)

    def small(i: int, j: int, study: int) -> Speed:
        return replace(usual(i, j, study), hit=2.0 + 1.6 * ((i + j) % 4) + 0.1 * study)

    return {
        "two": logs,
        "one": [trial for trial in logs if trial.submission == "shampoo"],
        "twelve": under_other_names(logs, 6),
        "names": board(NAMES, eight[:3], usual),
        "none": board(("first", "second"), eight, lambda i, j, k: Speed(None)),
        "equal": board(("a", "b", "c"), eight[:4], lambda i, j, k: usual(0, j, k)),
        "nine_mini": board(
            ("first", "second", "third"), [*eight, "cifar"], small, mini=True
        ),
        "one_evaluation": board(
            ("first", "second"), eight[:1], lambda i, j, k: Speed(300.0 + 90 * i, 1)
        ),
    }
