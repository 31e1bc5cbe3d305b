"""Check a submission against the rules without training it.

    python -m scoring.check_submission path/to/submission.py [--nodry_run]

Reads the file's syntax tree, then runs three steps on the mini workloads, watched, and
twice with one seed. Exit code 1 if a rule is certainly broken; a suspicion is for
people to judge.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from algorithmic_efficiency import registry
from algorithmic_efficiency.definition import DEFAULT_EDITION, EDITIONS
from algorithmic_efficiency.errors import SubmissionError, UsageError
from algorithmic_efficiency.paths import folder_of
from algorithmic_efficiency.sources import style_of
from algorithmic_efficiency.submission import FRAMEWORK_MODULES, framework_of
from algorithmic_efficiency.text import show
from scoring import flags
from scoring.checker import dry_run
from scoring.checker.fingerprints import telltale_numbers
from scoring.checker.submission_rules import check_source
from scoring.checker.syntax import Finding
from scoring.flags import Flag
from scoring.reading.benchmark import load
from scoring.reading.files import read_bytes
from scoring.reading.records import shorten

FLAGS = (
    Flag("dry_run", True, "also run three steps, twice; needs the framework"),
    Flag("workload", "", "workloads of the dry run, with commas between; by default "
         "one mini workload of every kind"),
    Flag("framework", "", "of the dry run; by default what path and imports say",
         ("pytorch", "jax")),
    Flag("tuning_search_space", "", "hyperparameters of the dry run; by default the "
         "file beside the submission, without one it tunes itself"),
    Flag("data_dir", "~/data", "folder of the data sets"),
)  # fmt: skip
MOST_BYTES = 16 * 2**20
FILE = (Flag("submission", "", "the submission's Python file"),)


def main(argv: Sequence[str]) -> int:
    """Print findings, return 1 if one is certain; raises UserError for bad input."""
    values = flags.parse(FLAGS, argv, "Check a submission against the rules.", FILE)
    path = Path(values.submission)
    findings = read(path)
    if values.dry_run:
        plan = dry_run.DryRun(
            path,
            values.framework or framework_of(path) or "pytorch",
            dry_run.hyperparameters(path, values.tuning_search_space),
            folder_of("data_dir", values.data_dir).resolve(),
            load(DEFAULT_EDITION).workloads,
        )
        findings = merged(findings, rehearse(plan, values.workload))
    for finding in findings:
        show(f"{path}: {finding}")
    certain = sum(finding.certain for finding in findings)
    show(
        f"{path}: {certain} broken rule(s), {len(findings) - certain} suspicion(s). "
        "What the file imports was not read."
    )
    return 1 if certain else 0


def read(path: Path) -> list[Finding]:
    """Return what the source shows; raises SubmissionError if it cannot be read."""
    names = {name for version in EDITIONS for name in load(version).definitions}
    names |= {f"{name}_mini" for name in names} | set(registry.definitions())
    try:
        source = importlib.util.decode_source(read_bytes(path, MOST_BYTES))
        return check_source(source, names, telltale_numbers())
    except OSError as error:
        raise SubmissionError(f"{path} cannot be read: {error.strerror}.") from error
    except (SyntaxError, ValueError) as error:
        said = shorten(str(error), 200)
        raise SubmissionError(f"{path} is not a Python file: {said}.") from error
    except (RecursionError, MemoryError) as error:
        raise SubmissionError(
            f"{path} holds an expression that is nested too deeply to be read; write "
            "it in several lines."
        ) from error


def rehearse(plan: dry_run.DryRun, asked: str) -> list[Finding]:
    """Return what the dry run shows; raises UsageError if it cannot run at all."""
    module = FRAMEWORK_MODULES[plan.framework]
    if importlib.util.find_spec(module) is None:
        raise UsageError(
            f"The dry run needs the package {module!r}, which is not installed: "
            f"install it with pip install '.[{plan.framework}]', or only read the file "
            "with --nodry_run."
        )
    if plan.framework == "jax":
        style_of(plan.submission)  # it must have one
    names = [registry.get(name.strip()).name for name in asked.split(",") if name]
    workloads = names or dry_run.mini_workloads()
    findings, left_out = dry_run.rehearse(plan, workloads)
    for name, reason in left_out.items():
        show(f"{plan.submission}: no dry run on {name}: {reason.rstrip('.')}.")
    if len(left_out) == len(workloads) and not findings:
        raise UsageError(
            f"The dry run of {plan.submission} was possible on no workload; see above, "
            "or only read the file with --nodry_run."
        )
    return findings


def merged(read: Sequence[Finding], seen: Sequence[Finding]) -> list[Finding]:
    """Return findings of source and dry run; of one line and rule the more certain."""
    certain = {(f.line, f.rule) for f in (*read, *seen) if f.certain}
    kept = [f for f in read if f.certain or (f.line, f.rule) not in certain]
    known = {(f.line, f.rule) for f in kept if f.line > 1}
    return sorted({*kept, *(f for f in seen if (f.line, f.rule) not in known)})


if __name__ == "__main__":
    flags.run(main)
