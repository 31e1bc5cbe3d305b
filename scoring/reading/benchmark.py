"""The rules of a benchmark version: workloads, targets and budgets, read from JSON."""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from algorithmic_efficiency.errors import UsageError

VERSIONS = ("0.5", "0.6")


@dataclass(frozen=True)
class Workload:
    """What it means to have trained a workload.

    `origin` is the metric of a model that has learned nothing; the way from there to
    the validation target is what the target ladder divides. Budgets are in seconds.
    """

    name: str
    metric: str
    maximize: bool
    validation: float
    test: float | None = None
    budget_seconds: float | None = None
    origin: float | None = None


@dataclass(frozen=True)
class Benchmark:
    """One version of the benchmark; `held_out` maps a variant to its base workload."""

    version: str
    workloads: tuple[str, ...]
    held_out: Mapping[str, str]
    definitions: Mapping[str, Workload]
    studies: int
    trials: Mapping[str, int]
    self_tuning_budget_factor: float
    r_max: float

    def budget_factor(self, ruleset: str) -> float:
        """Return by how much self-tuning submissions may run longer."""
        return self.self_tuning_budget_factor if ruleset == "self" else 1.0


def load(version: str) -> Benchmark:
    """Return the rules of `version`; raises UsageError if there is no such version."""
    if version not in VERSIONS:
        raise UsageError(
            f"There is no benchmark version {version!r}; use one of "
            f"{', '.join(VERSIONS)}."
        )
    path = Path(__file__).with_name(f"benchmark_{version.replace('.', '_')}.json")
    data = json.loads(path.read_text(encoding="utf-8"))
    rows = data["definitions"]
    return Benchmark(
        version=data["version"],
        workloads=tuple(data["workloads"]),
        held_out=data["held_out"],
        definitions={name: _workload(name, rows) for name in rows},
        studies=data["studies"],
        trials=data["trials"],
        self_tuning_budget_factor=data["self_tuning_budget_factor"],
        r_max=data["r_max"],
    )


def from_run(name: str, run: Mapping[str, Any]) -> Workload | None:
    """Return the definition that a `run.json` carries, or None if it carries none.

    Mini workloads are not part of a benchmark version, so their runs bring the target.
    """
    targets: Any = run.get("targets")
    try:
        maximize = bool(targets["maximize"])
        # Evaluations go by the public names too; see evaluations._named.
        metric = str(targets["metric"]).removesuffix("_published")
        validation = float(targets["validation"])
    except (KeyError, TypeError, ValueError):
        return None
    budget: Any = run.get("budget_seconds")
    test = targets.get("test")
    return Workload(
        name,
        metric,
        maximize,
        validation,
        test if isinstance(test, int | float) else None,
        budget if isinstance(budget, int | float) else None,
        0.0 if maximize else 1.0 if metric in ("wer", "error_rate") else None,
    )


@functools.cache
def metrics() -> dict[str, str]:
    """Return workload -> target metric, the same in every version."""
    return {
        name: workload.metric
        for version in VERSIONS
        for name, workload in load(version).definitions.items()
    }


def nearest(name: str, known: Mapping[str, Any]) -> str:
    """Return the known name that looks most like `name`, for an error message."""
    return str(difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0])


def _workload(name: str, rows: Mapping[str, Any]) -> Workload:
    """Return one definition; a variant takes from its base what it does not say."""
    row = dict(rows[name])
    return Workload(name=name, **{**rows.get(row.pop("base", ""), {}), **row})
