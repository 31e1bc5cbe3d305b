"""Where an experiment lies, new or resumed, and the seed that it has."""

import contextlib
import os
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from algorithmic_efficiency.definition import DEFAULT_EDITION
from algorithmic_efficiency.errors import UsageError
from algorithmic_efficiency.paths import folder_of
from algorithmic_efficiency.runner.config import RunConfig
from algorithmic_efficiency.runner.folder import empty, locked
from algorithmic_efficiency.runner.run_record import read_run

_STAMP = "%Y-%m-%d-%H-%M-%S"
_STUDY = r"study_\d+"
_STAMPED = r"-\d{4}(-\d\d){5}"
_SHOWN = 8  # experiments that an error names


def locate(flags: Mapping[str, Any], runs: str) -> tuple[Path, int]:
    """Returns (experiment folder, seed of the run); a resumed run keeps its seed.

    Args:
      flags: the command line, by name.
      runs: '<workload>_<framework>', the folder of the trials.

    Raises:
      UsageError: there is nothing to resume, the name leads out of --experiment_dir, or
        the flags exclude each other.
      StorageError: a record of the experiment to resume is damaged.
    """
    root = folder_of("experiment_dir", flags["experiment_dir"])
    now = time.strftime(_STAMP)
    name, resume = flags["experiment_name"], flags["resume_last_run"]
    if name is not None:
        _check_name(root, name)
    if resume and flags["overwrite"]:
        raise UsageError("--resume_last_run and --overwrite exclude each other.")
    if flags["retry_failed"] and not resume:
        raise UsageError("--retry_failed belongs to --resume_last_run; add that.")
    if resume:
        name = _to_resume(root, runs, name, stamped=flags["append_timestamp"])
    elif name is None:
        name = now
    elif flags["append_timestamp"]:
        name = f"{name}-{now}"
    folder = root / name
    seed = flags["rng_seed"]
    if seed is None and resume:
        seed = _seed_of(folder, runs)
    return folder, secrets.randbits(31) if seed is None else seed


def check_folders(config: RunConfig) -> None:
    """Checks that a run finds what it goes on with, or nothing that it would mix with.

    Raises:
      UsageError: the records are there and neither --resume_last_run nor --overwrite
        is given; or there are none of these trials to resume.
    """
    folders = [config.trial_folder(*place) for place in config.plan()]
    if config.resume:
        there = trials_in(config)
        if not any(folder in there for folder in folders):
            shown = ", ".join(str(p.relative_to(config.folder)) for p in there[:_SHOWN])
            raise UsageError(
                f"--resume_last_run found none of the trials that the other flags name "
                f"in {config.folder}; there are {shown}. Give --num_studies, "
                "--num_tuning_trials and --hparam_start_index as they were."
            )
        for folder in folders:
            _check_edition(config, folder)
    elif not config.overwrite:
        for folder in folders:
            if (folder / "run.json").exists():
                raise UsageError(
                    f"{folder} exists already. Give another --experiment_name, "
                    "continue it with --resume_last_run, or replace it with "
                    "--overwrite."
                )


def _check_edition(config: RunConfig, folder: Path) -> None:
    """Raises UsageError where a trial has begun by the constants of another edition."""
    run = read_run(folder)
    edition = run.get("benchmark_version", DEFAULT_EDITION)  # older records name none
    if run and edition != config.benchmark_version:
        raise UsageError(
            f"{folder} was begun with --benchmark_version={edition}, whose budget it "
            f"keeps, and cannot go on with {config.benchmark_version}. Give "
            f"--benchmark_version={edition}, or start a new experiment."
        )


def trials_in(config: RunConfig) -> list[Path]:
    """Returns the folders of all trials of this experiment and workload, sorted."""
    runs = config.trial_folder(0, 0).parent.name
    places = [config.folder, *sorted(config.folder.glob("study_*"))]
    return [trial for place in places for trial in _trials(place / runs)]


def remove_others(config: RunConfig) -> None:
    """Removes the records of the trials that are not in the plan of an overwriting run.

    A run of a part of the trials, as on one of several machines, leaves the others.

    Raises:
      UsageError: another process runs one of them.
      StorageError: a folder cannot be written.
    """
    if config.is_part():
        return
    planned = [config.trial_folder(*place) for place in config.plan()]
    for folder in trials_in(config):
        if folder == planned[0]:
            continue  # its own process empties it
        with locked(folder):
            empty(folder)
        for above in folder.parents[:2]:  # of the workload, of the study
            if above != config.folder:
                with contextlib.suppress(OSError):  # it is not empty
                    above.rmdir()


def _check_name(root: Path, name: str) -> None:
    """Raises UsageError where a name leads to another place than below the root."""
    path = Path(name)
    if not path.parts or path.is_absolute() or ".." in path.parts:
        inside = False
    else:
        try:
            inside = (root / path).resolve().is_relative_to(root.resolve())
        except RuntimeError:  # links in a circle
            inside = False
    if not inside:
        raise UsageError(
            f"--experiment_name={name} should be the name of a folder below {root} "
            "(--experiment_dir), and this one leads elsewhere."
        )
    if re.fullmatch(_STUDY, path.name):
        raise UsageError(
            f"--experiment_name={name} ends as the folder of a study does; choose "
            "another name."
        )


def _to_resume(root: Path, runs: str, name: str | None, *, stamped: bool) -> str:
    """Returns the name of the newest experiment of that name that has these runs."""
    there = _experiments(root, runs)
    found = there
    if name is not None:
        plain = str(Path(name))
        pattern = re.escape(plain) + (_STAMPED if stamped else "")
        found = {key: at for key, at in there.items() if re.fullmatch(pattern, key)}
    if found:
        return max(found, key=lambda key: found[key])
    newest = sorted(there, key=lambda key: -there[key])
    asked = f" called {name}" if name is not None else ""
    rest = ", ..." * (len(newest) > _SHOWN)
    others = f"There are {', '.join(newest[:_SHOWN])}{rest}. " if newest else ""
    raise UsageError(
        f"--resume_last_run found no experiment with {runs}{asked} in {root}. {others}"
        "Start one without the flag."
    )


def _experiments(root: Path, runs: str) -> dict[str, float]:
    """Returns name -> time of the newest change of all experiments with such trials."""
    found: dict[str, float] = {}
    for place, folders, _ in os.walk(root):
        if runs not in folders:
            continue
        folders.remove(runs)
        path = Path(place)
        if re.fullmatch(_STUDY, path.name):
            path = path.parent
        if path == root:
            continue
        name = str(path.relative_to(root))
        for trial in _trials(Path(place) / runs):
            found[name] = max(found.get(name, 0.0), trial.stat().st_mtime)
    return found


def _trials(runs: Path) -> list[Path]:
    """Returns the folders of the trials in a folder, by their numbers."""
    found = [p for p in runs.glob("trial_*") if re.fullmatch(r"trial_\d+", p.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("trial_")))


def _seed_of(folder: Path, runs: str) -> int | None:
    """Returns the seed of an experiment, None where no trial has recorded it."""
    for trial in [*_trials(folder / runs), *sorted(folder.glob(f"study_*/{runs}/*"))]:
        run = read_run(trial)
        if run:
            return _seed(run, trial)
    return None


def _seed(run: dict[str, Any], trial: Path) -> int:
    seed = run.get("seed")
    if isinstance(seed, int):
        return seed
    raise UsageError(
        f"{trial / 'run.json'} has no seed, so the trial cannot go on as it began. "
        "Give --rng_seed as it was."
    )
