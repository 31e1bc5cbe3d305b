"""The same runs and scores as tables of pandas, for a notebook."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from scoring.reading.logs import read_tree
from scoring.reading.trials import Trial
from scoring.rules.results import build
from scoring.rules.scored import Options, prepare


class Frames(NamedTuple):
    """What `load` returns; `scores.attrs["notes"]` lists what was left out or mended.

    Attributes:
      trials: a row per trial, as `trials.csv`; hyperparameters in columns
        `hyperparameters.<name>`.
      evaluations: a row per evaluation; where it belongs, `seconds` on the submission
        clock, and every column of the run's own table under its name there.
      scores: a row per submission, the best first, as `scores.csv`.
    """

    trials: pd.DataFrame
    evaluations: pd.DataFrame
    scores: pd.DataFrame


PLACE = ("submission", "study", "workload", "framework", "trial")


def load(
    submission_directory: str | os.PathLike[str],
    *,
    exclude_submissions: Sequence[str] = (),
    framework: str = "",
    **options: Any,
) -> Frames:
    """Read and score a folder of submissions.

    Args:
      submission_directory: as the flag of `score_submissions` of this name.
      exclude_submissions: names to leave out.
      framework: 'jax', 'pytorch' or 'each', where a submission has runs in both.
      options: fields of `scoring.rules.scored.Options`, which are the flags' names, for
        example `rules="published"`, `time="steps"`, `workloads=("ogbg",)`.

    Raises:
      UsageError: there is nothing to score, or it must not be scored together.
    """
    chosen = Options(**options)
    trials, notes = read_tree(
        Path(submission_directory),
        tuple(exclude_submissions),
        chosen.rules == "published",
        framework,
        whole=True,
    )
    scored, problems = prepare(trials, chosen)
    results = build(scored, [*notes, *problems], chosen)
    scores = pd.DataFrame(results["scores"])
    scores.attrs["notes"] = results["warnings"]
    rows = [
        {**row, **_hyperparameters(trial)}
        for row, trial in zip(results["trials"], scored.trials, strict=True)
    ]
    return Frames(pd.DataFrame(rows), _evaluations(scored.trials), scores)


def _hyperparameters(trial: Trial) -> dict[str, Any]:
    """Return the hyperparameters of a trial under the names of their columns."""
    named = trial.hyperparameters or {}
    return {f"hyperparameters.{name}": value for name, value in named.items()}


def _evaluations(trials: Sequence[Trial]) -> pd.DataFrame:
    """Return the evaluations of all trials below one another."""
    parts = []
    for trial in trials:
        place: dict[str, Any] = {name: getattr(trial, name) for name in PLACE}
        place |= {"global_step": trial.steps, "seconds": trial.seconds}
        known = {
            name: values
            for name, values in trial.columns.items()
            if name and name not in place and not np.isnan(values).all()
        }
        if trial.columns:
            parts.append(pd.DataFrame({**place, **known}))
    if not parts:
        return pd.DataFrame(columns=[*PLACE, "global_step", "seconds"])
    table = pd.concat(parts, ignore_index=True)
    whole = np.isfinite(table["global_step"]).all()  # not so by the published rules
    return table.astype({"global_step": np.int64}) if whole else table
