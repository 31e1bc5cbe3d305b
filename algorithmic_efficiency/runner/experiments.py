"""Where an experiment lies, new or resumed, and the seed that it has."""

import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from algorithmic_efficiency.errors import UsageError
from algorithmic_efficiency.paths import folder_of


def locate(flags: Mapping[str, Any], runs: str) -> tuple[Path, int]:
    """Returns (experiment folder, seed of the run); a resumed run keeps its seed.

    Args:
      flags: the command line, by name.
      runs: '<workload>_<framework>', the folder of the trials.

    Raises:
      UsageError: there is nothing to resume, or the flags exclude each other.
    """
    root = folder_of("experiment_dir", flags["experiment_dir"])
    now = time.strftime("%Y-%m-%d-%H-%M-%S")
    name, resume = flags["experiment_name"], flags["resume_last_run"]
    if resume and flags["overwrite"]:
        raise UsageError("--resume_last_run and --overwrite exclude each other.")
    if resume and (name is None or flags["append_timestamp"]):
        name = _newest(root, runs, f"{name}-*" if name else "*")
    elif name is None:
        name = now
    elif flags["append_timestamp"]:
        name = f"{name}-{now}"
    folder = root / name
    seed = flags["rng_seed"]
    if seed is None and resume:
        seed = _seed_of(folder, runs)
    return folder, secrets.randbits(31) if seed is None else seed


def _newest(root: Path, runs: str, name: str) -> str:
    found = {
        *root.glob(f"{name}/{runs}/trial_*"),
        *root.glob(f"{name}/study_*/{runs}/trial_*"),
    }
    if not found:
        raise UsageError(
            f"--resume_last_run found no experiment with {runs} in {root}. Start one "
            "without the flag."
        )
    newest = max(found, key=lambda path: path.stat().st_mtime)
    return newest.relative_to(root).parts[0]


def _seed_of(folder: Path, runs: str) -> int | None:
    for path in sorted(folder.glob(f"**/{runs}/trial_*/run.json")):
        seed: int = json.loads(path.read_text())["seed"]
        return seed
    return None
