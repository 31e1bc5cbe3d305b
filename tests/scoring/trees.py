"""Trees of runs for tests and benchmarks: the public logs again, and made-up runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scoring.reading.saved import load_trials
from scoring.reading.trials import Trial

DATA = Path(__file__).parents[1] / "data" / "scoring"


def public_logs(ruleset: str) -> list[Trial]:
    """Return the public v0.6 logs of 'external_tuning' or 'self_tuning'.

    Source: mlcommons/submissions_algorithms, previous_leaderboards/algoperf_v06/logs
    (Apache License 2.0); only the columns that scoring needs.
    """
    return load_trials(DATA / f"{ruleset}.jsonl.gz")


def write_tree(trials: Iterable[Trial], folder: Path) -> Path:
    """Write trials as the runner does, one folder each, and return `folder`."""
    for trial in trials:
        runs = f"{trial.workload}_{trial.framework}"
        path = folder / trial.submission / trial.study / runs / f"trial_{trial.trial}"
        path.mkdir(parents=True)
        if trial.hyperparameters is not None:
            (path / "hparams.json").write_text(json.dumps(trial.hyperparameters))
        if trial.run:
            (path / "run.json").write_text(json.dumps(trial.run))
        if trial.columns:
            rows = len(next(iter(trial.columns.values())))
            columns = {name: values.tolist() for name, values in trial.columns.items()}
            columns |= {name: [total] * rows for name, total in trial.totals.items()}
            with (path / "eval_measurements.csv").open("w", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(columns)
                writer.writerows(zip(*columns.values(), strict=True))
    return folder


def under_other_names(trials: Sequence[Trial], copies: int) -> list[Trial]:
    """Return `copies` of every submission, each at its own speed, under new names."""
    made = []
    for copy in range(copies):
        for trial in trials:
            columns = dict(trial.columns)
            if columns:
                place = sum(map(ord, trial.workload + trial.submission)) + 7 * copy
                columns["score"] = columns["score"] * (1.0 - 0.04 * (place % 11))
            name = f"{trial.submission}_{copy + 1}"
            made.append(replace(trial, submission=name, columns=columns))
    return made


def made_up(  # noqa: PLR0913 - the parts of a place in the tree
    submission: str,
    workload: str,
    study: int,
    trial: int,
    hit: float | None,
    run: Mapping[str, Any] | None = None,
    version: str = "0.6",
) -> Trial:
    """Return an external-tuning trial whose target is reached at `hit` seconds.

    Loss falls (or accuracy rises) to just past the target at the hit, or stays short
    of it. The target is that of the benchmark's version.
    """
    from scoring.reading.benchmark import load

    definition = load(version).definitions[workload]
    last = 1000.0 if hit is None else hit
    seconds = np.array([1.0, last / 2.0, last])
    origin = definition.origin or 0.0
    way = np.array([0.1, 0.5, 0.9 if hit is None else 1.001])
    values = origin + way * (definition.validation - origin)
    columns = {
        "score": seconds,
        "global_step": np.array([1.0, 50.0, 100.0]),
        f"validation/{definition.metric}": values,
    }
    return Trial(
        submission,
        f"study_{study}",
        workload,
        "jax",
        trial,
        f"{submission}/study_{study}/{workload}_jax/trial_{trial}",
        columns=columns,
        totals={"accumulated_eval_time": 0.1 * last},
        run=dict(run or {}),
        hyperparameters={"learning_rate": 0.1 * trial, "draw": study},
    )
