"""Where trials lie in a tree, and where they might, for somebody who is beside them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

FRAMEWORKS = ("jax", "pytorch")
WORKLOAD_FOLDER = re.compile(r"(.+)_(jax|pytorch)$")
TRIAL_FOLDER = re.compile(r"trial_([0-9]{1,9})\Z")
STUDY_FOLDER = re.compile(r"study_\d+$")
MOST_FOLDERS = 20_000  # are looked at, for an error message
SHOWN = 3


def elsewhere(directory: Path, flag: str = "--submission_directory=") -> str:
    """Return where trials lie above or below `directory`, '' if nowhere.

    It is a part of a sentence, with a semicolon at its end; `flag` takes the folder.
    """
    roots = list(dict.fromkeys(_roots(directory)))
    if not roots:
        return ""
    shown = [f"{root}" for root in roots[:SHOWN]]
    more = f" (and {len(roots) - SHOWN} more)" if len(roots) > SHOWN else ""
    does = "does" if len(roots) == 1 else "do"
    return f"{', '.join(shown)}{more} {does}: try {flag}{roots[0]}; "


def _roots(directory: Path) -> Iterator[Path]:
    """Yield the folders of submissions that the trials in or around a folder are of."""
    for folder in (directory.absolute(), *directory.absolute().parents):
        if is_trial(folder):
            yield _submission(folder)
            return
    looked = 0
    for path, folders, _ in os.walk(directory):
        looked += len(folders)
        if looked > MOST_FOLDERS:
            return
        trials = [name for name in folders if is_trial(Path(path, name))]
        folders[:] = sorted(f for f in folders if f[0] != "." and f not in trials)
        if trials:
            submission = _submission(Path(path, trials[0]))
            inside = directory in submission.parent.parents
            yield submission.parent if inside else submission


def is_trial(folder: Path) -> bool:
    """Tell by its name and its parent's whether a folder is a trial's."""
    runs = WORKLOAD_FOLDER.match(folder.parent.name)
    return bool(runs and TRIAL_FOLDER.match(folder.name))


def _submission(trial: Path) -> Path:
    """Return the folder of the submission that a trial is of."""
    above = trial.parent.parent
    return above.parent if STUDY_FOLDER.match(above.name) else above
