"""Compare two runs, studies or submissions: in the terminal, and as a page.

    python -m scoring.compare A B [--output_dir=OUT]

A and B are folders anywhere in an output tree. Runs on different machines or of
different versions are shown side by side, and what differs is said.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from algorithmic_efficiency.definition import EDITIONS
from algorithmic_efficiency.errors import UsageError
from algorithmic_efficiency.text import printable, show
from scoring import flags
from scoring.flags import Flag
from scoring.reading.files import is_there, storing
from scoring.reading.logs import of_framework, read_trial
from scoring.reading.places import FRAMEWORKS, elsewhere, is_trial
from scoring.reading.trials import Trial
from scoring.report.compare_text import Sides, text, verdict
from scoring.report.differences import find_differences, section
from scoring.rules.results import build
from scoring.rules.scored import Options, prepare
from scoring.score_submissions import check_bootstrap, make_folder

FLAGS = (
    Flag("output_dir", "scoring_results", "folder for comparison.html"),
    Flag(
        "benchmark_version",
        "",
        "targets and budgets; by default what the run records say, or 0.6",
        EDITIONS,
    ),
    Flag("time", "submission_time", "the clock", ("submission_time", "steps")),
    Flag("framework", "", "which runs count where a folder has both", FRAMEWORKS),
    Flag("report", True, "write comparison.html too"),
    Flag("resamples", 10_000, "resamples of the bootstrap"),
    Flag("seed", 0, "seed of the bootstrap"),
)
FOLDERS = (
    Flag("first", "", "folder of a run, a study or a submission"),
    Flag("second", "", "another one"),
)
WIDE = 160  # columns of what is no terminal


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code; raises UserError for bad input."""
    values = flags.parse(FLAGS, argv, "Compare two runs or submissions.", FOLDERS)
    check_bootstrap(values.resamples, values.seed)
    paths = (Path(values.first), Path(values.second))
    names = _names(*paths)
    trials = [
        trial
        for path, name in zip(paths, names, strict=True)
        for trial in read_any(path, name, values.framework)
    ]
    options = Options(
        benchmark_version=values.benchmark_version,
        time=values.time,
        reference=names[1],
        workloads=_common(trials, names),
        resamples=values.resamples,
        seed=values.seed,
    )
    scored, problems = prepare(trials, options, mix=True)
    results = build(scored, problems, options)
    differences = find_differences(trials, names)
    columns = shutil.get_terminal_size((WIDE, 0)).columns
    show(text(results, scored, differences, names, columns))
    if values.report:
        from scoring.report.page import Opening, write_report

        page = make_folder(values.output_dir) / "comparison.html"
        title = f"AlgoPerf: {names[0]} and {names[1]}"
        above = section(verdict(results, Sides(names, names)), differences, names)
        with storing(page):
            write_report(results, scored, page, Opening(title, above))
        show(f"\nThe page with all curves is {page}.")
    return 0


def read_any(path: Path, name: str, framework: str = "") -> list[Trial]:
    """Return all trials in and below `path`, of one framework if one is given.

    Raises UsageError if there is none.
    """
    if not is_there(path):
        raise UsageError(f"There is no folder {path} to compare.")
    found = []
    for folder in (path, *sorted(path.rglob("trial_*"))):
        if is_there(folder) and is_trial(folder.resolve()):
            study = folder.resolve().parents[1].name
            study = printable(study) if study.startswith("study") else "study_0"
            found.append(read_trial(folder.resolve(), name, study))
    if not found:
        raise UsageError(
            f"{path} holds no trial; {elsewhere(path, '')}expected <workload>_"
            "<jax|pytorch>/trial_<n> in it."
        )
    return of_framework(found, framework)


def _common(trials: Sequence[Trial], names: tuple[str, str]) -> tuple[str, ...]:
    """Return the workloads of both sides; raises UsageError if there is none."""
    left, right = (
        {trial.workload for trial in trials if trial.submission == name}
        for name in names
    )
    if not left & right:
        raise UsageError(
            f"{names[0]} and {names[1]} have no workload in common: "
            f"{', '.join(sorted(left))} against {', '.join(sorted(right))}."
        )
    return tuple(sorted(left & right))


def _names(first: Path, second: Path) -> tuple[str, str]:
    """Return names for the two folders: those parts of the paths that differ."""
    left, right = list(first.resolve().parts), list(second.resolve().parts)
    if left == right:
        raise UsageError(f"{first} and {second} are the same folder.")
    while min(len(left), len(right)) > 1 and left[-1] == right[-1]:
        del left[-1], right[-1]
    while min(len(left), len(right)) > 1 and left[0] == right[0]:
        del left[0], right[0]
    return printable("/".join(left)), printable("/".join(right))


if __name__ == "__main__":
    flags.run(main)
