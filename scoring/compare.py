"""Compare two runs, studies or submissions: in the terminal, and as a page.

    python -m scoring.compare A B [--output_dir=OUT]

A and B are folders anywhere in an output tree. Runs on different machines or of
different versions are shown side by side, and what differs is said.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from algorithmic_efficiency.errors import UsageError
from scoring import flags
from scoring.benchmark import VERSIONS, Workload
from scoring.differences import find_differences, section
from scoring.evaluations import Trial
from scoring.flags import Flag
from scoring.logs import TRIAL_FOLDER, read_trial
from scoring.reasons import progress
from scoring.results import build
from scoring.score_submissions import check_bootstrap, make_folder
from scoring.scored import Options, Scored, prepare
from scoring.uncertainty import interval

Results = dict[str, Any]

FLAGS = (
    Flag("output_dir", "scoring_results", "folder for comparison.html"),
    Flag("benchmark_version", "0.6", "targets and budgets", VERSIONS),
    Flag("time", "submission_time", "the clock", ("submission_time", "steps")),
    Flag("report", True, "write comparison.html too"),
    Flag("resamples", 10_000, "resamples of the bootstrap"),
    Flag("seed", 0, "seed of the bootstrap"),
)
FOLDERS = (
    Flag("first", "", "folder of a run, a study or a submission"),
    Flag("second", "", "another one"),
)
BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH = 16  # characters of a sparkline


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code; raises UserError for bad input."""
    values = flags.parse(FLAGS, argv, "Compare two runs or submissions.", FOLDERS)
    check_bootstrap(values.resamples, values.seed)
    paths = (Path(values.first), Path(values.second))
    names = _names(*paths)
    trials = [
        trial
        for path, name in zip(paths, names, strict=True)
        for trial in read_any(path, name)
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
    print(text(results, scored, names, differences))
    if values.report:
        from scoring.report import write_report

        page = make_folder(values.output_dir) / "comparison.html"
        write_report(results, scored, page, section(differences, names))
        print(f"\nThe page with all curves is {page}.")
    return 0


def read_any(path: Path, name: str) -> list[Trial]:
    """Return all trials in and below `path`; raises UsageError if there is none."""
    if not path.is_dir():
        raise UsageError(f"There is no folder {path} to compare.")
    folders = [path, *sorted(path.rglob("trial_*"))]
    found = []
    for folder in folders:
        runs = re.search(r"_(jax|pytorch)$", folder.resolve().parent.name)
        if folder.is_dir() and runs and TRIAL_FOLDER.match(folder.resolve().name):
            study = folder.resolve().parents[1].name
            study = study if study.startswith("study") else "study_0"
            found.append(read_trial(folder.resolve(), name, study))
    if not found:
        raise UsageError(
            f"{path} holds no trial; expected <workload>_<jax|pytorch>/trial_<n> in it."
        )
    return found


def text(
    results: Results, scored: Scored, names: tuple[str, str], differences: list[Results]
) -> str:
    """Return the comparison for a terminal."""
    first, second = names
    unit = results["settings"]["unit"]
    head = ["workload", f"{first} ({unit})", f"{second} ({unit})"]
    head += ["faster", "certainty", f"{first} curve", f"{second} curve"]
    body = [
        _line(scored, results, names, workload.name) for workload in scored.workloads
    ]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in (head, ["-" * width for width in widths], *body)
    ]
    lines += ["", verdict(results, names)]
    if differences:
        lines += ["", "What differs:"]
    for row in differences:
        lines.append(f"  {row['what']}: {row[first]}  |  {row[second]}")
    lines += [f"note: {warning}" for warning in results["warnings"]]
    return "\n".join(lines)


def verdict(results: Results, names: tuple[str, str]) -> str:
    """Return in a sentence who is faster, by how much and how certainly."""
    if not any(row["reached"] for row in results["scores"]):
        return "Neither reached a target."
    pair = results["comparisons"][0]
    factor = pair["speedup"]
    first, second = pair["first"], pair["second"]
    ends = (pair["speedup_low"], pair["speedup_high"])
    if factor < 1.0:
        first, second, factor = second, first, 1.0 / factor
        ends = (1.0 / ends[1], 1.0 / ends[0])
    count = len(results["settings"]["workloads"])
    sentence = (
        f"{first} is {factor:.2f}x as fast as {second} (geometric mean over {count} "
        "workload(s), a miss counts as the budget)"
    )
    if math.isnan(ends[0]):
        return sentence + "; one study each does not tell how certain that is."
    sentence += f", 95 % interval {ends[0]:.2f} to {ends[1]:.2f}. "
    if pair["resolved"]:
        return sentence + f"The scores differ (p = {pair['p_value']:.4f})."
    more = pair["more_studies"]
    hint = "" if more is None else f"; about {more} more studies each might resolve it"
    return f"{sentence}The scores are not resolved (p = {pair['p_value']:.2f}){hint}."


def sparkline(trial: Trial | None, workload: Workload, end: float) -> str:
    """Return progress against time to `end`; blocks from half of the way to all."""
    if trial is None:
        return ""
    made = progress(trial, workload)
    line = ""
    for moment in np.linspace(end / WIDTH, end, WIDTH):
        seen = made[trial.seconds <= moment]
        last = seen[-1] if seen.size else np.nan
        if not np.isfinite(last) or trial.seconds[-1] < moment - end / WIDTH:
            line += " "
            continue
        level = int(np.clip(2.0 * (last - 0.5) * len(BLOCKS), 0, len(BLOCKS) - 1))
        line += BLOCKS[level]
    return line


def _line(
    scored: Scored, results: Results, names: tuple[str, str], workload: str
) -> list[str]:
    """Return one line of the table."""
    column = [w.name for w in scored.workloads].index(workload)
    places = [scored.table.submissions.index(name) for name in names]
    rows = {
        r["submission"]: r for r in results["workloads"] if r["workload"] == workload
    }
    pair = [rows[name] for name in names]
    times = [f"{r['time']:,.0f}" if math.isfinite(r["time"]) else "-" for r in pair]
    times = [
        f"{time} ({row['reason']})" if row["reason"] else time
        for time, row in zip(times, pair, strict=True)
    ]
    best = [_best(scored, name, column) for name in names]
    end = max((t.seconds[-1] for t in best if t is not None), default=1.0)
    shapes = [sparkline(trial, scored.workloads[column], end) for trial in best]
    both = np.isfinite([row["time"] for row in pair])
    if not both.any():
        return [workload, *times, "-", "-", *shapes]
    order = 0 if pair[0]["time"] <= pair[1]["time"] else 1
    faster = names[order]
    if both.all():
        faster += f" {pair[1 - order]['time'] / pair[order]['time']:.2f}x"
    places = [places[order], places[1 - order]]
    return [workload, *times, faster, _certainty(scored, places, column), *shapes]


def _certainty(scored: Scored, places: list[int], column: int) -> str:
    """Return the chance that the first is faster, and the interval of the ratio."""
    if (scored.table.studies[places, column] < 2).any():
        return "unknown"
    first, second = (scored.boot.times[:, place, column] for place in places)
    wins = float(((first < second).mean() + (first <= second).mean()) / 2.0)
    if not np.isfinite([first, second]).all():
        return f"{wins:.0%}"
    low, high = interval(second / first)
    return f"{wins:.0%} ({low:.2f} to {high:.2f})"


def _best(scored: Scored, name: str, column: int) -> Trial | None:
    """Return the trial that came closest to the target, the fastest of those."""
    workload = scored.workloads[column]
    studies = scored.cells.get((name, workload.name), {})
    runs = [
        t for ts in studies.values() for t in ts if t.seconds.size and not t.unusable
    ]
    if not runs:
        return None
    return max(runs, key=lambda t: (np.nanmax(progress(t, workload)), -t.seconds[-1]))


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
    """Return different names for the two folders, the shortest that tell them apart."""
    left, right = first.resolve().parts, second.resolve().parts
    if left == right:
        raise UsageError(f"{first} and {second} are the same folder.")
    for depth in range(1, max(len(left), len(right)) + 1):
        names = "/".join(left[-depth:]), "/".join(right[-depth:])
        if names[0] != names[1]:
            return names
    raise AssertionError("different paths differ in a part")


if __name__ == "__main__":
    flags.run(main)
