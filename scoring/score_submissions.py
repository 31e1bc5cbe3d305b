"""Score submissions: from a folder of runs to tables, pictures and one report.

    python -m scoring.score_submissions --submission_directory=DIR --output_dir=OUT

Story: `logs` reads trials, `scored` checks them and makes a table of times, `results`
draws every conclusion, and the writers put them down.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from algorithmic_efficiency.backends.tuning_cpu import keep_freed_memory
from algorithmic_efficiency.definition import EDITIONS
from algorithmic_efficiency.errors import StorageError, UsageError
from algorithmic_efficiency.paths import path_of
from algorithmic_efficiency.text import show
from scoring import flags
from scoring.flags import Flag
from scoring.reading.files import storing
from scoring.reading.logs import EACH, has_failed, of_framework, read_tree
from scoring.reading.places import FRAMEWORKS
from scoring.reading.saved import load_trials, save_trials
from scoring.reading.trials import Trial
from scoring.report import outputs
from scoring.rules.results import Results, build
from scoring.rules.scored import Options, Scored, prepare

FLAGS = (
    Flag("submission_directory", "", "folder of submissions, <submission>/<study>/..."),
    Flag("output_dir", "scoring_results", "folder for everything that is written"),
    Flag("benchmark_version", "", "workloads, targets, budgets; by default what the "
         "run records say, or 0.6", EDITIONS),
    Flag("rules", "exact", "exact, or number for number the public tool's",
         ("exact", "published")),
    Flag("time", "submission_time", "the clock to score by",
         ("submission_time", "steps")),
    Flag("self_tuning_ruleset", None, "self-tuning (one trial per study); by default "
         "what the run records say"),
    Flag("framework", "", "which runs count where a submission has both; each: all, "
         "as entries of their own", (*FRAMEWORKS, EACH)),
    Flag("strict", False, "refuse incomplete or damaged input instead of listing it"),
    Flag("exclude_submissions", "", "submissions to leave out, with commas between"),
    Flag("reference", "", "submission that speed-ups refer to; by default the one "
         "named baseline, otherwise the last"),
    Flag("workloads", "", "workloads that count, with commas between; by default the "
         "benchmark's, or those found if none of them is"),
    Flag("compute_performance_profiles", True, "compare and score; without it only "
         "trials.csv and time_to_targets.csv are written"),
    Flag("report", True, "write pictures and report.html too"),
    Flag("resamples", 10_000, "resamples of the bootstrap"),
    Flag("seed", 0, "seed of the bootstrap"),
    Flag("save_results_to_filename", "", "also keep what was read, as JSON lines"),
    Flag("load_results_from_filename", "", "read such a file instead of a folder"),
)  # fmt: skip
MOST_NOTES = 20  # on the terminal
MOST_RESAMPLES = 100_000  # take some gigabytes with fifty submissions


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code; raises UserError for bad input."""
    values = flags.parse(FLAGS, argv, "Score submissions from the runs they left.")
    check_bootstrap(values.resamples, values.seed)
    options = Options(
        benchmark_version=values.benchmark_version,
        rules=values.rules,
        time=values.time,
        self_tuning_ruleset=values.self_tuning_ruleset,
        strict=values.strict,
        reference=values.reference,
        workloads=_names(values.workloads),
        resamples=values.resamples,
        seed=values.seed,
    )
    keep_freed_memory()  # a tenth of the time would go into asking for it again
    trials, notes = _read(values)
    if values.save_results_to_filename:
        save_trials(Path(values.save_results_to_filename), trials)
    scored, problems = prepare(trials, options)
    results = build(scored, [*notes, *problems], options)
    folder = make_folder(values.output_dir)
    if values.compute_performance_profiles:
        outputs.write_tables(results, folder)
        if values.report:
            write_pages(results, scored, folder)
    else:
        outputs.write_times(results, folder)
    _print(results, folder)
    return 0


def check_bootstrap(resamples: int, seed: int) -> None:
    """Raise UsageError for numbers with which nothing can be drawn."""
    if not 1 <= resamples <= MOST_RESAMPLES:
        raise UsageError(
            f"--resamples={resamples}: at least 1 and at most {MOST_RESAMPLES:,} are "
            "drawn; 10,000 are enough for three digits."
        )
    if seed < 0:
        raise UsageError(f"--seed={seed}: a seed is 0 or greater.")


def make_folder(name: str) -> Path:
    """Return the output folder, made if it is not there; raises StorageError."""
    folder = path_of("output_dir", name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = error.strerror or error
        raise StorageError(f"Cannot make the folder {folder}: {why}.") from error
    return folder


def write_pages(results: Results, scored: Scored, folder: Path) -> None:
    """Write the pictures and the report; only this loads matplotlib and plotly."""
    from scoring.report.page import write_report
    from scoring.report.pictures import write_pictures

    with storing(folder):
        write_pictures(results, folder)
        write_report(results, scored, folder / "report.html")


def _read(values: object) -> tuple[list[Trial], list[str]]:
    """Return the trials that the flags ask for, with notes on what was left out."""
    given = vars(values)
    excluded = _names(given["exclude_submissions"])
    saved, directory = (
        given["load_results_from_filename"],
        given["submission_directory"],
    )
    if bool(saved) == bool(directory):
        raise UsageError(
            "Give one of --submission_directory and --load_results_from_filename."
        )
    published, framework = given["rules"] == "published", given["framework"]
    if directory:
        return read_tree(Path(directory), excluded, published, framework)
    trials = [t for t in load_trials(Path(saved)) if t.submission not in excluded]
    if not trials:
        raise UsageError(f"{saved} holds no trial to score.")
    for trial in trials:
        trial.failed = has_failed(trial.run) and not published
    return of_framework(trials, framework), []


def _names(text: str) -> tuple[str, ...]:
    """Return the names in a flag with commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _print(results: Results, folder: Path) -> None:
    """Print the tables, the warnings and where everything lies."""
    show(outputs.tables(results))
    for warning in results["warnings"][:MOST_NOTES]:
        show(f"note: {warning}")
    if (more := len(results["warnings"]) - MOST_NOTES) > 0:
        show(f"note: {more} more like these are in the report and in results.json.")
    show(f"All tables are in {folder}.")


if __name__ == "__main__":
    flags.run(main)
