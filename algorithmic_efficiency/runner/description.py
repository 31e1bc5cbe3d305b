"""What the record of a trial, run.json, says about it."""

from typing import Any

from algorithmic_efficiency import registry
from algorithmic_efficiency.backends.base import FRAMEWORKS, Backend
from algorithmic_efficiency.metrics import METRICS
from algorithmic_efficiency.runner import metadata
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.config import RunConfig
from algorithmic_efficiency.runner.trial import Progress, Rules
from algorithmic_efficiency.spec import Definition


def describe(
    config: RunConfig,
    definition: Definition,
    rules: Rules,
    progress: Progress,
    clock: Clock,
) -> dict[str, Any]:
    """Returns what was run, by which rules, and how far it has come."""
    metric = definition.target_metric_name
    return {
        "workload": definition.name,
        "framework": config.framework,
        "scale": "mini" if registry.is_mini(definition.name) else "full",
        "submission": submission_name(config),
        "score": progress.score,
        "global_step": progress.step,
        "evaluations": len(progress.evals),
        "preemption_count": progress.preemption_count,
        "diverged": progress.diverged,
        "clock": {**clock.seconds, "wall": clock.total},
        "budget_seconds": rules.budget_seconds,
        "targets": {
            "metric": metric,
            "validation": definition.validation_target_value,
            "test": definition.test_target_value,
            "maximize": METRICS[metric].maximize,
        },
        "seed": config.seed,
        "tuning_ruleset": config.ruleset,
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
