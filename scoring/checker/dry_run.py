"""The dry run of a submission: three steps on mini workloads, each twice.

Every rehearsal is a process of its own, so that nothing the submission does reaches
the checker, and the second one shows whether the first can be repeated.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from algorithmic_efficiency import registry
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.runner import tuning
from algorithmic_efficiency.text import show
from scoring.checker.syntax import Finding
from scoring.reading.records import shorten

SEED = 1
LIMIT_SECONDS = 600.0  # of one rehearsal; it takes seconds where nothing else runs
ROUNDING_SHARE = 1e-3  # of the way that the parameters went: threads explain no more
ROUNDING = "by rounding only"


@dataclass(frozen=True)
class DryRun:
    """What is to be run; `point` are hyperparameters, None for self-tuning ones."""

    submission: Path
    framework: str
    point: Mapping[str, Any] | None
    data_dir: Path
    names: tuple[str, ...]


def mini_workloads() -> list[str]:
    """Return the mini workload of every package, without its variants."""
    shortest: dict[str, str] = {}
    for name, definition in registry.definitions().items():
        known = shortest.get(definition.package)
        if registry.is_mini(name) and (known is None or len(name) < len(known)):
            shortest[definition.package] = name
    return list(shortest.values())


def hyperparameters(path: Path, space: str) -> dict[str, Any] | None:
    """Return a point of the search space given, or of the one beside the submission.

    None if there is neither: such a submission tunes itself. Raises UsageError for a
    file that is no search space.
    """
    file = Path(space) if space else tuning.beside(path)
    return None if file is None else tuning.points(tuning.read(file), 1, SEED)[0]


def rehearse(
    plan: DryRun, workloads: Sequence[str]
) -> tuple[list[Finding], dict[str, str]]:
    """Return all findings, and for every workload left out the reason."""
    found: set[Finding] = set()
    left_out = {}
    for name in workloads:
        folders = Folders(plan.data_dir)
        reason = registry.missing_data(registry.get(name), folders)
        if reason is None:
            show(f"Three steps of {name}, twice ...", sys.stderr)
            with tempfile.TemporaryDirectory() as folder:
                findings, reason = _twice(plan, name, Path(folder))
            found |= findings
        if reason:
            left_out[name] = reason
    return sorted(found), left_out


def _twice(plan: DryRun, workload: str, folder: Path) -> tuple[set[Finding], str]:
    """Return what two rehearsals of one workload found, or why there were none."""
    found: set[Finding] = set()
    ends = []
    for name in ("first", "second"):
        (folder / name).mkdir()
        result = _once(plan, workload, folder / name)
        found |= {Finding(*row) for row in result["findings"]}
        end = folder / name / "end.npz"
        if not end.exists():  # without a failure, one of the findings says why
            return found, result["failure"]
        ends.append(np.load(end))
    if message := _difference(*ends):
        message = f"three steps of {workload} with one seed end differently: {message}"
        certain = ROUNDING not in message
        found.add(Finding(result["line"], "determinism", certain, message))
    return found, ""


def _once(plan: DryRun, workload: str, out: Path) -> dict[str, Any]:
    """Run one rehearsal in a process of its own and return what it wrote."""
    request = {
        "submission": str(plan.submission.resolve()),
        "framework": plan.framework,
        "workload": workload,
        "point": plan.point,
        "names": plan.names,
        "data_dir": str(plan.data_dir),
        "seed": SEED,
        "out": str(out),
    }
    command = [sys.executable, "-m", "scoring.checker.rehearsal", json.dumps(request)]
    said = out / "said.txt"
    with said.open("w") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        try:
            code = process.wait(LIMIT_SECONDS)
            failure = f"it ended with code {code}: {_last_line(said)}"
        except subprocess.TimeoutExpired:
            failure = f"three steps took longer than {LIMIT_SECONDS:.0f} s"
        finally:
            _end(process)
    written = out / "rehearsal.json"
    if not written.exists():
        return {"findings": [], "failure": failure, "line": 1}
    result: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
    return result


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(path: Path) -> str:
    """Return the last line that was said, '' if nothing was."""
    lines = path.read_text(errors="replace").strip().splitlines()
    return shorten(lines[-1], 300) if lines else "nothing was said"


def _difference(one: Any, two: Any) -> str:
    """Tell how the ends of two rehearsals differ, '' if they do not."""
    names = [name for name in one.files if name != "moved"]
    shapes = [{name: end[name].shape for name in end.files} for end in (one, two)]
    if shapes[0] != shapes[1]:
        return "the parameters have not even the same shapes"
    apart = [n for n in names if not np.array_equal(one[n], two[n], equal_nan=True)]
    if not apart:
        return ""
    squares = [np.sum((one[name] - two[name]) ** 2.0) for name in apart]
    share = float(np.sqrt(sum(squares)) / max(float(one["moved"]), 1e-300))
    if share < ROUNDING_SHARE:
        return f"{len(apart)} of {len(names)} arrays, {ROUNDING}"
    return f"{apart[0]} and {len(apart) - 1} more, by {share:.0%} of the way they went"
