"""Everything that a run has been asked to do, as one frozen record."""

import dataclasses
from pathlib import Path
from typing import Any

from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.definition import DEFAULT_EDITION


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What `cli.py` made of the command line; below it nothing reads flags.

    Attributes:
      workload: registered name, with the scale decided.
      workload_path: the folder of a workload that lies outside of the project.
      ruleset: 'external' or 'self'.
      points: hyperparameters of every trial, study after study; None tunes itself.
      first_trial, end_trial: the trials of this process, as range(first, end).
      studies: repetitions with other random numbers and, from a search space of ranges,
        other points.
      folder: {experiment_dir}/{experiment_name}.
      seed: of the run; every study and trial has streams of its own.
      flags: as given, for the record.
      benchmark_version: member of `definition.EDITIONS`, whose constants hold.
    """

    workload: str
    framework: str
    submission_path: Path
    ruleset: str
    points: tuple[dict[str, Any] | None, ...]
    first_trial: int
    end_trial: int
    studies: int
    folder: Path
    folders: Folders
    seed: int
    flags: dict[str, Any]
    benchmark_version: str = DEFAULT_EDITION
    workload_path: str | None = None
    max_global_steps: int | None = None
    overwrite: bool = False
    resume: bool = False
    retry_failed: bool = False
    skip_evals: bool = False
    save_checkpoints: bool = True
    save_intermediate_checkpoints: bool = True
    num_workers: int = 0
    eval_num_workers: int = 0
    torch_compile: bool | None = None
    use_tensorboard: bool = False
    use_wandb: bool = False
    profile: bool = False
    capture_jax_trace: bool = False

    def plan(self) -> list[tuple[int, int]]:
        """Returns (study, trial) of everything to run, both counted from 0."""
        trials = range(self.first_trial, self.end_trial)
        return [(study, trial) for study in range(self.studies) for trial in trials]

    def is_part(self) -> bool:
        """Says whether only some of the trials are to be run."""
        count = len(self.points) // self.studies
        return (self.first_trial, self.end_trial) != (0, count)

    def point(self, study: int, trial: int) -> dict[str, Any] | None:
        """Returns the hyperparameters of a trial, both counted from 0."""
        return self.points[study * (len(self.points) // self.studies) + trial]

    def trial_folder(self, study: int, trial: int) -> Path:
        """Returns where a trial is recorded."""
        parts = [f"study_{study}"] if self.studies > 1 else []
        parts += [f"{self.workload}_{self.framework}", f"trial_{trial + 1}"]
        return self.folder.joinpath(*parts)
