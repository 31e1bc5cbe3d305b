"""Read the output tree of runs: one Trial for every `trial_<n>` folder.

    DIR/<submission>/[<study>/]<workload>_<jax|pytorch>/trial_<n>/eval_measurements.csv

Nothing is dropped silently: what cannot be used, or had to be repaired, is a note.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from algorithmic_efficiency.errors import UsageError
from scoring.benchmark import from_run, metrics
from scoring.evaluations import Trial, check_clock, read_evaluations

WORKLOAD_FOLDER = re.compile(r"(.+)_(jax|pytorch)$")
TRIAL_FOLDER = re.compile(r"trial_(\d+)$")
TIMESTAMP = re.compile(r"-\d{4}(-\d{2}){5}$")  # the public runner's suffix of restarts


def read_tree(
    directory: Path, excluded: tuple[str, ...] = (), published: bool = False
) -> tuple[list[Trial], list[str]]:
    """Return all trials below `directory`, and notes on what was left out.

    `published` reads as the public tool does: trials in the order in which the file
    system lists them, rows in file order, clocks parsed as its pandas parses them.
    Raises UsageError if the folder is missing or holds no trial.
    """
    if not directory.is_dir():
        raise UsageError(
            f"There is no folder {directory}; give --submission_directory a folder "
            "of submissions."
        )
    trials: list[Trial] = []
    notes: list[str] = []
    names = set()
    for folder, submission in _submissions(directory, notes):
        names |= {folder.name, submission}
        if submission in excluded or folder.name in excluded:
            notes.append(f"{folder}: left out, as --exclude_submissions asks.")
            continue
        found = list(_trials(folder, submission, notes, published))
        if not found:
            notes.append(f"{folder}: no trial found; this folder is not scored.")
        trials += found
    for name in set(excluded) - names:
        raise UsageError(
            f"--exclude_submissions names {name!r}, but {directory} holds "
            f"{', '.join(sorted(names)) or 'no submission'}."
        )
    if not trials and excluded:
        raise UsageError(f"--exclude_submissions leaves nothing of {directory}.")
    if not trials:
        raise UsageError(
            f"{directory} holds no trial to score; expected <submission>/<study>/"
            "<workload>_<jax|pytorch>/trial_<n>/eval_measurements.csv below it."
        )
    return trials, notes


def read_trial(
    folder: Path, submission: str, study: str, published: bool = False
) -> Trial:
    """Return the trial in `folder`, whose parent names workload and framework."""
    workload = WORKLOAD_FOLDER.match(folder.parent.name)
    number = TRIAL_FOLDER.match(folder.name)
    if not workload or not number:
        raise UsageError(
            f"{folder} is not a trial; expected <workload>_<jax|pytorch>/trial_<n>."
        )
    name, framework = workload.groups()
    trial = Trial(submission, study, name, framework, int(number[1]), str(folder))
    trial.run = _json(folder / "run.json", trial) or {}
    if trial.run.get("scale") == "mini" and not name.endswith("_mini"):
        trial.workload = f"{name}_mini"
    trial.hyperparameters = trial.run.get("hyperparameters")
    if trial.hyperparameters is None:
        trial.hyperparameters = _json(folder / "hparams.json", trial)
    if trial.run.get("status") == "running":
        trial.notes.append("is still running; only what it has reached so far counts")
    carried = from_run(trial.workload, trial.run)
    metric = metrics().get(trial.workload, carried.metric if carried else "")
    read_evaluations(folder / "eval_measurements.csv", trial, metric, published)
    if not published and trial.columns and not trial.unusable:
        check_clock(trial)
    return trial


def _submissions(directory: Path, notes: list[str]) -> Iterator[tuple[Path, str]]:
    """Yield folders with their submission's name; restarts share one name."""
    folders = _folders(directory)
    inside = [f for f in folders if re.match(r"study_\d+$", f.name) or _is_runs(f)]
    if inside:
        notes.append(f"{directory} is itself one submission and is scored as such.")
        yield directory, directory.resolve().name
        return
    names: dict[str, Path] = {}
    for folder in folders:
        name = TIMESTAMP.sub("", folder.name)
        if name in names:
            notes.append(f"{folder}: merged with {names[name]} as submission {name}.")
        names[name] = folder
        yield folder, name


def _trials(
    folder: Path, submission: str, notes: list[str], published: bool
) -> Iterator[Trial]:
    """Yield the trials of a submission's folder, with or without study folders."""
    for inner in _folders(folder):
        if WORKLOAD_FOLDER.match(inner.name):
            studies = [("study_0", inner)]
        else:
            studies = [(inner.name, runs) for runs in _folders(inner)]
        for study, runs in studies:
            if not WORKLOAD_FOLDER.match(runs.name):
                notes.append(f"{runs}: not a <workload>_<jax|pytorch> folder; ignored.")
                continue
            found = []
            for trial in listing(runs):
                if TRIAL_FOLDER.match(trial.name) and trial.is_dir():
                    found.append(trial)
                elif trial.name.startswith("trial"):
                    notes.append(f"{trial.path}: not a trial_<number> folder; ignored.")
            for trial in found if published else sorted(found, key=_number):
                yield read_trial(Path(trial), submission, study, published)


def _json(path: Path, trial: Trial) -> dict[str, Any] | None:
    """Return the JSON object in `path`, None without one; damage is a note."""
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        trial.notes.append(f"{path.name} is not JSON ({error}) and is ignored")
        return None
    if not isinstance(data, dict):
        trial.notes.append(f"{path.name} is not a JSON object and is ignored")
        return None
    return data


def _folders(path: Path) -> list[Path]:
    """Return the folders in `path` by name, hidden ones left out."""
    found = [e for e in os.scandir(path) if e.is_dir() and e.name[0] != "."]
    return [Path(entry) for entry in sorted(found, key=lambda entry: entry.name)]


def _is_runs(folder: Path) -> bool:
    """Tell whether `folder` is a workload's folder, with trials directly in it."""
    return bool(WORKLOAD_FOLDER.match(folder.name)) and any(
        TRIAL_FOLDER.match(inner.name) for inner in _folders(folder)
    )


def listing(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in `folder`, in the order of the file system."""
    return list(os.scandir(folder))


def _number(folder: os.DirEntry[str]) -> int:
    """Return the sorting key that puts trial_10 after trial_9."""
    return int(folder.name.removeprefix("trial_"))
