"""Read the output tree of runs: one Trial for every `trial_<n>` folder.

    DIR/<submission>/[<study>/]<workload>_<jax|pytorch>/trial_<n>/eval_measurements.csv

Nothing is dropped silently: what cannot be used, or had to be repaired, is a note.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from algorithmic_efficiency.errors import UsageError
from algorithmic_efficiency.text import printable
from scoring.reading.benchmark import from_run, metric_of
from scoring.reading.evaluations import read_evaluations
from scoring.reading.files import is_folder, is_there
from scoring.reading.order import check_clock
from scoring.reading.places import (
    STUDY_FOLDER,
    TRIAL_FOLDER,
    WORKLOAD_FOLDER,
    elsewhere,
)
from scoring.reading.records import checked_run, read_record
from scoring.reading.trials import Trial

TIMESTAMP = re.compile(r"-\d{4}(-\d{2}){5}$")  # the public runner's suffix of restarts
EACH = "each"  # framework by framework, as entries of their own
ENDS = {
    "running": "is still running; only what it has reached so far counts",
    "interrupted": "was interrupted; only what it had reached counts",
}


def read_tree(
    directory: Path,
    excluded: tuple[str, ...] = (),
    published: bool = False,
    framework: str = "",
    whole: bool = False,
) -> tuple[list[Trial], list[str]]:
    """Return all trials below `directory`, and notes on what was left out.

    `published` reads as the public tool does: trials in the order in which the file
    system lists them, rows in file order, clocks parsed as its pandas parses them.
    `framework` is one of two, 'each' for both as entries of their own, or '' for all
    as they are. `whole` reads every column of the evaluations.

    Raises UsageError if the folder is missing or holds no trial.
    """
    if not is_there(directory):
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
        found = list(_trials(folder, submission, notes, published, whole))
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
            f"{directory} holds no trial to score; {elsewhere(directory)}expected "
            "<submission>/<study>/<workload>_<jax|pytorch>/trial_<n>/"
            "eval_measurements.csv below it."
        )
    kept = of_framework(trials, framework)
    frameworks: dict[str, set[str]] = {}
    for trial in kept:
        frameworks.setdefault(trial.submission, set()).add(trial.framework)
    notes += [
        f"{name}: runs in {' and in '.join(sorted(found))}, scored together; "
        "--framework chooses one."
        for name, found in frameworks.items()
        if len(found) > 1
    ]
    return kept, notes


def of_framework(trials: Sequence[Trial], framework: str) -> list[Trial]:
    """Return the trials of one framework, or of each as an entry of its own.

    Raises UsageError if there is none of that framework.
    """
    if framework == EACH:
        for trial in trials:
            trial.submission = f"{trial.submission} ({trial.framework})"
    kept = [t for t in trials if framework in ("", EACH, t.framework)]
    if not kept:
        there = ", ".join(sorted({trial.framework for trial in trials}))
        raise UsageError(f"--framework={framework}, but all runs are in {there}.")
    return kept


def read_trial(
    folder: Path,
    submission: str,
    study: str,
    published: bool = False,
    whole: bool = False,
) -> Trial:
    """Return the trial in `folder`, whose parent names workload and framework."""
    workload = WORKLOAD_FOLDER.match(folder.parent.name)
    number = TRIAL_FOLDER.match(folder.name)
    if not workload or not number:
        raise UsageError(
            f"{folder} is not a trial; expected <workload>_<jax|pytorch>/trial_<n>."
        )
    name, framework = printable(workload[1]), workload[2]
    trial = Trial(submission, study, name, framework, int(number[1]), str(folder))
    record = read_record(folder / "run.json", trial.notes) or {}
    trial.run = checked_run(record, trial.notes)
    if trial.run.get("scale") == "mini" and not name.endswith("_mini"):
        trial.workload = f"{name}_mini"
    trial.hyperparameters = trial.run.get("hyperparameters")
    if trial.hyperparameters is None:
        trial.hyperparameters = read_record(folder / "hparams.json", trial.notes)
    trial.failed = has_failed(trial.run) and not published
    if note := ENDS.get(_end(trial.run)):
        trial.notes.append(note)
    carried = from_run(trial.workload, trial.run)
    metric = metric_of(trial.workload) or (carried.metric if carried else "")
    read_evaluations(folder / "eval_measurements.csv", trial, metric, published, whole)
    if not published and trial.columns and not trial.unusable:
        check_clock(trial)
    return trial


def has_failed(run: Mapping[str, Any]) -> bool:
    """Tell whether a run ended by a fault; its score is then inf, whatever it reached.

    The public tool knows nothing of it.
    """
    return _end(run) == "failed"


def _end(run: Mapping[str, Any]) -> str:
    """Return how a run ended; our earlier versions call failed what Ctrl-C ended."""
    interrupted = "interrupted" in (run.get("status"), run.get("stop_reason"))
    return "interrupted" if interrupted else str(run.get("status", ""))


def _submissions(directory: Path, notes: list[str]) -> Iterator[tuple[Path, str]]:
    """Yield folders with their submission's name; restarts share one name."""
    folders = _folders(directory, notes)
    inside = [f for f in folders if STUDY_FOLDER.match(f.name) or _is_runs(f)]
    if inside:
        notes.append(f"{directory} is itself one submission and is scored as such.")
        yield directory, printable(directory.resolve().name)
        return
    names: dict[str, Path] = {}
    for folder in folders:
        name = printable(TIMESTAMP.sub("", folder.name))
        if name in names:
            notes.append(f"{folder}: merged with {names[name]} as submission {name}.")
        names[name] = folder
        yield folder, name


def _trials(
    folder: Path, submission: str, notes: list[str], published: bool, whole: bool
) -> Iterator[Trial]:
    """Yield the trials of a submission's folder, with or without study folders."""
    for inner in _folders(folder, notes):
        if WORKLOAD_FOLDER.match(inner.name):
            studies = [("study_0", inner)]
        else:
            study = printable(inner.name)
            studies = [(study, runs) for runs in _folders(inner, notes)]
        for study, runs in studies:
            if not WORKLOAD_FOLDER.match(runs.name):
                notes.append(f"{runs}: not a <workload>_<jax|pytorch> folder; ignored.")
                continue
            found = []
            for trial in _entries(runs, listing, notes):
                if TRIAL_FOLDER.match(trial.name) and is_folder(trial):
                    found.append(trial)
                elif trial.name.startswith("trial"):
                    notes.append(f"{trial.path}: not a trial_<number> folder; ignored.")
            for trial in found if published else sorted(found, key=_number):
                yield read_trial(Path(trial), submission, study, published, whole)


def _folders(path: Path, notes: list[str]) -> list[Path]:
    """Return the folders in `path` by name, hidden ones left out."""
    found = [
        e
        for e in _entries(path, os.scandir, notes)
        if e.name[0] != "." and is_folder(e)
    ]
    return [Path(entry) for entry in sorted(found, key=lambda entry: entry.name)]


def _is_runs(folder: Path) -> bool:
    """Tell whether `folder` is a workload's folder, with trials directly in it."""
    return bool(WORKLOAD_FOLDER.match(folder.name)) and any(
        TRIAL_FOLDER.match(inner.name) for inner in _folders(folder, [])
    )


def _entries(
    folder: Path,
    scan: Callable[[Path], Iterable[os.DirEntry[str]]],
    notes: list[str],
) -> list[os.DirEntry[str]]:
    """Return what is in `folder`; one that cannot be read is a note."""
    try:
        return list(scan(folder))
    except OSError as error:
        notes.append(f"{folder}: cannot be read ({error.strerror}); ignored.")
        return []


def listing(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in `folder`, in the order of the file system."""
    return list(os.scandir(folder))


def _number(folder: os.DirEntry[str]) -> int:
    """Return the sorting key that puts trial_10 after trial_9."""
    return int(folder.name.removeprefix("trial_"))
