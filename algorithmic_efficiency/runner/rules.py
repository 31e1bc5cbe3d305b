"""What follows for one trial from what a run was asked to do."""

import math

from algorithmic_efficiency import registry, seeds
from algorithmic_efficiency.definition import Definition
from algorithmic_efficiency.runner.config import RunConfig
from algorithmic_efficiency.runner.trial import Progress, Rules

SELF_TUNING_FACTOR = 1.5  # more time for a submission that tunes itself (v0.6 rules)


def definition_of(config: RunConfig) -> Definition:
    """Returns the workload of a run."""
    return registry.get(config.workload)


def rules_of(config: RunConfig, definition: Definition) -> Rules:
    """Returns what ends a trial of this run and when it is evaluated."""
    factor = SELF_TUNING_FACTOR if config.ruleset == "self" else 1.0
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
