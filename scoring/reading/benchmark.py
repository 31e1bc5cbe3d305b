"""The editions of the benchmark: workloads that count, targets, budgets, studies.

Targets and budgets are those of the registry's definitions. `benchmark.json` holds what
no definition has: the rules of an edition, and rows for workloads that are not
registered here, whose runs may be scored all the same.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from algorithmic_efficiency import metrics, registry
from algorithmic_efficiency.definition import DEFAULT_EDITION, EDITIONS, Definition
from algorithmic_efficiency.errors import UsageError


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


@functools.cache
def load(version: str) -> Benchmark:
    """Return an edition of the benchmark; raises UsageError if there is none."""
    if version not in EDITIONS:
        raise UsageError(
            f"There is no benchmark version {version!r}; use one of "
            f"{', '.join(EDITIONS)}."
        )
    edition = _data()["editions"][version]
    return Benchmark(
        version=version,
        workloads=tuple(edition["workloads"]),
        held_out=edition["held_out"],
        definitions=_workloads(version),
        studies=edition["studies"],
        trials=edition["trials"],
        self_tuning_budget_factor=edition["self_tuning_budget_factor"],
        r_max=edition["r_max"],
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
        _origin(name, metric, maximize),
    )


def metric_of(workload: str) -> str | None:
    """Return a workload's target metric, the same in every edition; None if unknown."""
    known = load(DEFAULT_EDITION).definitions.get(workload)
    return known.metric if known else None


def nearest(name: str, known: Mapping[str, Any]) -> str:
    """Return the known name that looks most like `name`, for an error message."""
    return str(difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0])


@functools.cache
def _data() -> dict[str, Any]:
    """Return the content of benchmark.json."""
    path = Path(__file__).with_name("benchmark.json")
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def _workloads(version: str) -> dict[str, Workload]:
    """Return all workloads of full size by name, with the constants of an edition."""
    table = {
        name: _registered(definition.in_edition(version))
        for name, definition in registry.definitions().items()
        if definition.scale == "full"
    }
    for name, row in _data()["elsewhere"].items():
        if name not in table:
            base = table.get(row.get("base", ""))
            table[name] = _elsewhere(name, base, row, version)
    return table


def _registered(row: Definition) -> Workload:
    """Return what scoring needs of a registered workload."""
    maximize = metrics.target(row).maximize
    return Workload(
        row.name,
        row.target_metric_name,
        maximize,
        row.validation_target_value,
        row.test_target_value,
        row.max_allowed_runtime_sec,
        _origin(row.base or row.name, row.target_metric_name, maximize),
    )


def _elsewhere(
    name: str, base: Workload | None, row: Mapping[str, Any], version: str
) -> Workload:
    """Return a row of benchmark.json; a variant has from its base what it lacks."""
    changes = row.get("editions", {}).get(version, {})
    known = {**(asdict(base) if base else {}), **row, **changes, "name": name}
    fields = {key: known[key] for key in known.keys() - {"base", "editions"}}
    if not base:
        fields["origin"] = _origin(name, fields["metric"], fields["maximize"])
    return Workload(**fields)


def _origin(base: str, metric: str, maximize: bool) -> float | None:
    """Return the metric of a model that has learned nothing, None if nobody knows."""
    if maximize:
        return 0.0
    if metric in ("wer", "error_rate"):
        return 1.0
    origin: float | None = _data()["origins"].get(base)
    return origin
