"""Measure scoring: time, memory, and how far its intervals can be believed.

    python -m benchmarks.scoring [--submission_directory=DIR]

Prints JSON lines. CPU seconds are those of a fresh process, imports included. The trees
are the public v0.6 external logs (a compact copy, or DIR), and copies of them under
other names, of DIR with all columns. Results: docs/scoring.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from scoring.rules import Rules, scores
from scoring.table import Table
from scoring.uncertainty import bootstrap, interval
from tests.scoring.trees import public_logs, under_other_names, write_tree

ROUNDS = 3


def main() -> None:
    """Print one line per measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--submission_directory", type=Path)
    given = parser.parse_args().submission_directory
    logs = public_logs("external_tuning")
    eleven = [t for t in under_other_names(logs, 6) if t.submission != "shampoo_6"]
    many = under_other_names([*logs, *public_logs("self_tuning")], 16)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        small = given or write_tree(logs, root / "small")
        middle = write_tree(eleven, root / "middle")
        large = write_tree(many, root / "large")
        for label, folder, flags in (
            ("2 submissions, tables", small, ["--noreport"]),
            ("the same, published", small, ["--noreport", "--rules=published"]),
            ("11 submissions, tables", middle, ["--noreport"]),
            ("11 submissions, tables and report", middle, []),
            (f"48 submissions, {len(many):,} trials", large, ["--noreport"]),
        ):
            print(json.dumps(measure(label, folder, flags)), flush=True)
        if given:
            whole = repeat(given, root / "whole", 17)
            label = f"{len(list(whole.iterdir()))} submissions, all columns"
            print(json.dumps(measure(label, whole, ["--noreport"])), flush=True)
    print(json.dumps(measure_bootstrap()), flush=True)
    for studies in (3, 5, 10):
        print(json.dumps(measure_coverage(studies)), flush=True)


def repeat(given: Path, folder: Path, copies: int) -> Path:
    """Copy every submission in `given` under other names into `folder`."""
    for submission in given.iterdir():
        for copy in range(copies):
            shutil.copytree(submission, folder / f"{submission.name}_{copy + 1}")
    return folder


def measure(label: str, folder: Path, flags: list[str]) -> dict[str, object]:
    """Return the least CPU and wall seconds of a few runs, and the peak memory."""
    out = Path(tempfile.mkdtemp(dir=tempfile.gettempdir()))
    command = [
        sys.executable,
        "-m",
        "scoring.score_submissions",
        f"--submission_directory={folder}",
        f"--output_dir={out}",
        *flags,
    ]
    cpu, wall, memory = [], [], 0
    for _ in range(ROUNDS):
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        if status:
            raise SystemExit(f"{' '.join(command)} failed")
        wall.append(time.perf_counter() - start)
        cpu.append(usage.ru_utime + usage.ru_stime)
        memory = max(memory, usage.ru_maxrss)
    report = out / "report.html"
    size = report.stat().st_size / 1e6 if report.exists() else None
    shutil.rmtree(out)
    return {
        "what": label,
        "cpu_seconds": round(min(cpu), 2),
        "wall_seconds": round(min(wall), 2),
        "peak_memory_mb": round(memory / 1024),
        "report_mb": size and round(size, 2),
    }


def measure_bootstrap() -> dict[str, object]:
    """Return the seconds of 10,000 resamples of 11 x 14 cells, 5 x 5 trials each."""
    table = made_up_table(np.random.default_rng(0), 5, np.ones((11, 14)))
    rules = Rules(tuple(range(8)), tuple((8 + i, i) for i in range(6)))
    cells = np.zeros((11, 14), bool)
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        bootstrap(table, rules, cells, np.full(8, 1e4), (10_000, 0))
        seconds.append(time.perf_counter() - start)
    return {
        "what": "10,000 resamples, 11 x 14 x 5 x 5",
        "seconds": round(min(seconds), 2),
    }


def measure_coverage(studies: int, rounds: int = 400) -> dict[str, object]:
    """Return how often the 95 % interval of a score holds the true score.

    Made-up times spread by 8 % between studies around true medians that differ by 20 %
    between three submissions; the true score is that of the true medians.
    """
    generator = np.random.default_rng(studies)
    rules = Rules(tuple(range(8)))
    held = 0
    for _ in range(rounds):
        true = np.exp(0.2 * generator.normal(size=(3, 8)))
        table = made_up_table(generator, studies, true)
        cells = np.ones((3, 8), bool)
        boot = bootstrap(table, rules, cells, np.full(8, 1e4), (1_000, 0))
        low, high = interval(boot.scores)
        score = scores(true, rules)
        held += int(((low <= score) & (score <= high)).sum())
    share = held / (3 * rounds)
    return {"what": f"coverage of 95 % intervals, {studies} studies", "share": share}


def made_up_table(
    generator: np.random.Generator, studies: int, medians: np.ndarray
) -> Table:
    """Return times of five trials in each study around the given medians."""
    shape = (*medians.shape, studies)
    best = medians[..., None] * np.exp(0.08 * generator.normal(size=shape))
    times = best[..., None] * np.array([1.0, 1.1, 1.2, 1.5, np.inf])
    counts, many = np.full(shape, 5), np.full(medians.shape, studies)
    names = tuple(map(str, range(max(medians.shape))))
    return Table(names[: len(medians)], names, times, many, counts)


if __name__ == "__main__":
    main()
