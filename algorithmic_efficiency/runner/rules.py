"""What follows for one trial from what a run was asked to do."""

import math
from pathlib import Path

from algorithmic_efficiency import registry, seeds
from algorithmic_efficiency.definition import Definition
from algorithmic_efficiency.runner.config import RunConfig
from algorithmic_efficiency.runner.trial import Progress, Rules

# Edition -> how much more time a submission has that tunes itself (published rules).
SELF_TUNING_FACTORS = {"0.5": 3.0, "0.6": 1.5, "2026": 1.5}


def definition_of(config: RunConfig) -> Definition:
    """Returns the workload of a run, with the constants of its edition."""
    if config.workload_path:  # a new process does not know it yet
        registry.add(Path(config.workload_path))
    return registry.get(config.workload).in_edition(config.benchmark_version)


def rules_of(config: RunConfig, definition: Definition) -> Rules:
    """Returns what ends a trial of this run and when it is evaluated."""
    factors = SELF_TUNING_FACTORS if config.ruleset == "self" else {}
    factor = factors.get(config.benchmark_version, 1.0)
    return Rules(
        budget_seconds=definition.max_allowed_runtime_sec * factor,
        eval_period_seconds=definition.eval_period_time_sec,
        max_global_steps=config.max_global_steps,
        skip_evals=config.skip_evals,
        period_grows=definition.scale == "mini",
    )


def seed_of(config: RunConfig, study: int, trial: int) -> int:
    """Returns the seed of one trial, an own one for each study and trial."""
    return seeds.integer(config.seed, "study", study, "trial", trial)


def status_of(progress: Progress) -> str:
    """Returns how a trial ended that nothing has broken off."""
    if math.isfinite(progress.score):
        return "target_reached"  # also if it diverged afterwards
    return "diverged" if progress.diverged else "missed"
