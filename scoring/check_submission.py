"""Check a submission against the rules without training it.

    python -m scoring.check_submission path/to/submission.py [--dry_run]

Reads the file's syntax tree; with --dry_run two runs of three steps on a mini workload
show whether it runs, and repeats itself for a fixed seed. Exit code 1 if a rule is
certainly broken; a suspicion is for people to judge.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from algorithmic_efficiency.errors import SubmissionError
from scoring import flags
from scoring.benchmark import VERSIONS, load
from scoring.flags import Flag
from scoring.submission_rules import Finding, check_source

FLAGS = (
    Flag("dry_run", False, "also run three steps twice"),
    Flag("workload", "imagenet_resnet", "the workload of the dry run, at mini scale"),
    Flag("framework", "", "of the dry run; by default what the file imports",
         ("pytorch", "jax")),
)  # fmt: skip
FILE = (Flag("submission", "", "the submission's Python file"),)
STEPS = 3
ROOT = Path(__file__).resolve().parents[1]


def main(argv: Sequence[str]) -> int:
    """Print findings, return 1 if one is certain; raises UserError for bad input."""
    values = flags.parse(FLAGS, argv, "Check a submission against the rules.", FILE)
    path = Path(values.submission)
    try:
        source = path.read_text(encoding="utf-8")
        findings = check_source(source, _workloads())
    except OSError as error:
        raise SubmissionError(f"{path} cannot be read: {error.strerror}.") from error
    except (SyntaxError, ValueError) as error:
        raise SubmissionError(f"{path} is not a Python file: {error}.") from error
    if values.dry_run:
        framework = values.framework or _framework(source)
        findings += dry_run(path, values.workload, framework)
    for finding in findings:
        print(f"{path}: {finding}")
    certain = sum(finding.certain for finding in findings)
    print(
        f"{path}: {certain} broken rule(s), {len(findings) - certain} suspicion(s). "
        "Only this file was read, not what it imports."
    )
    return 1 if certain else 0


def dry_run(path: Path, workload: str, framework: str) -> list[Finding]:
    """Run three steps twice with one seed; report failure, and a different end."""
    ends = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("first", "second"):
            command = [
                sys.executable,
                str(ROOT / "submission_runner.py"),
                f"--workload={workload}",
                "--scale=mini",
                f"--framework={framework}",
                f"--submission_path={path.resolve()}",
                f"--max_global_steps={STEPS}",
                "--rng_seed=1",
                f"--experiment_dir={folder}",
                f"--experiment_name={name}",
            ]
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, cwd=ROOT
            )
            tables = list(Path(folder, name).rglob("eval_measurements.csv"))
            if done.returncode or not tables:
                said = (done.stderr or done.stdout).strip().splitlines()
                message = f"{workload} does not run: {said[-1] if said else 'no word'}"
                return [Finding(1, "dry run", True, message)]
            ends.append(_last_metrics(tables[0]))
    if ends[0] == ends[1]:
        return []
    name = next(key for key in ends[0] if ends[0][key] != ends[1].get(key))
    message = (
        f"two runs of {STEPS} steps of {workload} with one seed end differently: "
        f"{name} is {ends[0][name]} and {ends[1].get(name)}"
    )
    return [Finding(1, "determinism", True, message)]


def _last_metrics(path: Path) -> dict[str, str]:
    """Return the metrics of the last evaluation, as they are written."""
    with path.open(newline="") as file:
        *_, last = csv.DictReader(file)
    return {key: value for key, value in last.items() if "/" in key}


def _workloads() -> set[str]:
    """Return every workload name of the benchmark, at both scales."""
    names = {name for version in VERSIONS for name in load(version).definitions}
    return names | {f"{name}_mini" for name in names}


def _framework(source: str) -> str:
    """Return the framework that a submission imports."""
    return "jax" if re.search(r"^\s*(import|from) jax", source, re.M) else "pytorch"


if __name__ == "__main__":
    flags.run(main)
