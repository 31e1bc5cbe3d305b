"""The record of a trial, run.json: what was run, where, and what came of it."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from algorithmic_efficiency import metrics
from algorithmic_efficiency.backends.base import FRAMEWORKS, Backend
from algorithmic_efficiency.backends.compilation_caches import IGNORED
from algorithmic_efficiency.definition import Definition
from algorithmic_efficiency.runner import metadata, records
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.config import RunConfig
from algorithmic_efficiency.runner.rules import definition_of
from algorithmic_efficiency.runner.trial import Progress, Rules

FINISHED = ("target_reached", "missed", "diverged")


class RunRecord:
    """Writes run.json.

    Args:
      folder: of the trial.
      facts: what `describe` returned.

    Attributes:
      before: what was recorded earlier; it stays until `progress` is known.
      facts: that do not change while the trial runs; more may be added.
      progress: how far the trial has come, once that is known.
      clock: of the trial.
    """

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.path = folder / "run.json"
        self.before: dict[str, Any] = {}
        self.facts = facts
        self.progress: Progress | None = None
        self.clock = Clock()
        self._report: Callable[[], dict[str, Any]] = dict

    def follow(
        self, progress: Progress, clock: Clock, report: Callable[[], dict[str, Any]]
    ) -> None:
        """Lets every later `write` tell how far the trial has come by then.

        Args:
          progress: of the trial; read at each `write`.
          clock: of the trial.
          report: returns what else the training has to tell.
        """
        self.progress, self.clock, self._report = progress, clock, report

    def write(self, status: str, stop_reason: str = "", error: str = "") -> None:
        """Writes the file.

        Args:
          status: 'running'; how the trial ended ('target_reached', 'missed',
            'diverged'); or what broke it off ('failed', 'interrupted').
          stop_reason: more closely.
          error: in words, where it was one.

        Raises:
          StorageError: the disk is full or the folder cannot be written.
        """
        content = {**self.before, **self.facts}
        if self.progress is not None:
            content |= reached(self.progress, self.clock)
            content["ignored_settings"] = dict(IGNORED)
            content["peak_memory_bytes"] = metadata.peak_memory_bytes()
        elif "score" not in content:
            content |= reached(Progress(), self.clock)
        content |= self._report()
        content |= {"status": status, "stop_reason": stop_reason, "error": error}
        if status == "failed":  # also after it had reached its target
            content["score"] = math.inf
        records.write_json(self.path, content)

    def take_back(self) -> None:
        """Writes what was recorded before, or nothing where that was nothing."""
        if self.before:
            records.write_json(self.path, self.before)
        else:
            self.path.unlink(missing_ok=True)


def read_run(folder: Path) -> dict[str, Any]:
    """Returns run.json of a trial, or {} where there is none.

    Raises:
      StorageError: it is damaged.
    """
    return records.read_json(folder / "run.json")


def describe(config: RunConfig, definition: Definition, rules: Rules) -> dict[str, Any]:
    """Returns what is to be run, and by which rules."""
    metric = definition.target_metric_name
    return {
        "workload": definition.name,
        "framework": config.framework,
        "scale": definition.scale,
        "submission": submission_name(config),
        "budget_seconds": rules.budget_seconds,
        "targets": {
            "metric": metric,
            "validation": definition.validation_target_value,
            "test": definition.test_target_value,
            "maximize": metrics.target(definition).maximize,
        },
        "seed": config.seed,
        "tuning_ruleset": config.ruleset,
        "benchmark_version": config.benchmark_version,
    }


def reached(progress: Progress, clock: Clock) -> dict[str, Any]:
    """Returns how far a trial has come."""
    return {
        "score": progress.score,
        "global_step": progress.step,
        "evaluations": len(progress.evals),
        "preemption_count": progress.preemption_count,
        "diverged": progress.diverged,
        "clock": {**clock.seconds, "wall": clock.total},
    }


def surroundings(backend: Backend) -> dict[str, Any]:
    """Returns versions and hardware."""
    versions = {**metadata.versions(), **backend.describe()}
    return {"versions": versions, "hardware": metadata.hardware()}


def submission_name(config: RunConfig) -> str:
    """Returns a submission's name: its folder where the file has a general name."""
    path = config.submission_path
    general = (*FRAMEWORKS, "submission")
    return path.resolve().parent.name if path.stem in general else path.stem


def write_surroundings(record: RunRecord, config: RunConfig, count: int) -> None:
    """Writes flags_k.json and meta_data_k.json, where k counts the preemptions."""
    folder = record.path.parent
    records.write_json(folder / f"flags_{count}.json", config.flags)
    plain = (bool, int, float, str)
    facts = {
        f"workload.{name}": value
        for name, value in vars(definition_of(config)).items()
        if isinstance(value, plain)
    }
    facts["rng_seed"] = config.seed
    facts["benchmark_version"] = config.benchmark_version
    facts |= {name: record.facts[name] for name in ("versions", "hardware")}
    records.write_json(folder / f"meta_data_{count}.json", facts)
