"""Measure scoring: time, memory, and how far its intervals can be believed.

    python -m benchmarks.scoring [--coverage] [--submission_directory=DIR]

Prints JSON lines. CPU seconds are those of a fresh process, imports included. The trees
are the public v0.6 external logs (a compact copy, or DIR), and copies of them under
other names, of DIR with all columns. Results: docs/scoring.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

from scoring.rules.scores import Rules, scores
from scoring.rules.table import Table
from scoring.rules.uncertainty import bootstrap, interval
from tests.scoring.trees import public_logs, under_other_names, write_tree

ROUNDS = 3
SPREAD = 0.3  # of the times of trials, as a logarithm; 0.01 to 0.7 in the public logs


def main() -> None:
    """Print one line per measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--submission_directory", type=Path)
    parser.add_argument("--coverage", action="store_true", help="only the intervals")
    arguments = parser.parse_args()
    if not arguments.coverage:
        measure_speed(arguments.submission_directory)
    for parts in itertools.product((3, 5), (1, 5), (0.0, 0.5, 0.8)):
        print(json.dumps(measure_coverage(Design(*parts))), flush=True)


def measure_speed(given: Path | None) -> None:
    """Print how long scoring takes, and what memory."""
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
    design = Design(studies=5, trials=5, missing=0.2)
    table = made_up_table(np.random.default_rng(0), design, np.ones((11, 14)))
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


@dataclass(frozen=True)
class Design:
    """What is run: `trials` in each of `studies`, of which a part misses by luck."""

    studies: int
    trials: int
    missing: float


def measure_coverage(
    design: Design, rounds: int = 400, repetitions: int = 200
) -> dict[str, object]:
    """Return how often the 95 % interval of a score holds what one may take it for.

    Three submissions on eight workloads whose times differ by 20 %; trials spread by
    30 % around them and miss by chance. Three things are looked for: the mean score of
    repetitions of the design, the score of one repetition, and the score of infinitely
    many studies, which nobody can know where half of all studies miss (None).
    """
    seed = [design.studies, design.trials, round(100 * design.missing)]
    generator = np.random.default_rng(seed)
    rules = Rules(tuple(range(8)))
    cells = np.zeros((3, 8), bool)
    held, low_by = np.zeros(3), 0.0
    for _ in range(rounds):
        typical = np.exp(0.2 * generator.normal(size=(3, 8)))
        table = made_up_table(generator, design, typical)
        boot = bootstrap(table, rules, cells, np.full(8, 1e4), (1_000, 0))
        low, high = interval(boot.scores)
        many = np.broadcast_to(typical, (repetitions, 3, 8))
        again = scores(made_up_times(generator, design, many), rules)
        for place, wanted in enumerate(
            (again.mean(axis=0), again, scores(ultimate(design, typical), rules))
        ):
            # The mean over workloads may differ in the last digit.
            inside = (low <= wanted + 1e-12) & (wanted - 1e-12 <= high)
            held[place] += inside.mean() / rounds
        low_by += (again.mean() - boot.scores.mean()) / rounds
    unknown = chance_of_a_miss(design) == 0.5
    mean, once, infinite = (round(float(share), 3) for share in held)
    return {
        "what": "coverage of 95 % intervals",
        **asdict(design),
        "mean_of_repetitions": mean,
        "one_repetition": once,
        "infinitely_many_studies": None if unknown else infinite,
        "resamples_below_repetitions_by": round(low_by, 3),
    }


def chance_of_a_miss(design: Design) -> float:
    """Return the chance that every trial of a study misses."""
    return design.missing**design.trials


def ultimate(design: Design, typical: np.ndarray) -> np.ndarray:
    """Return the median of the least time in a study: inf where most studies miss.

    A trial's time is below t with chance c(t); the least of n with 1 - (1 - c(t)) ** n.
    """
    chance = (1.0 - 0.5 ** (1.0 / design.trials)) / (1.0 - design.missing)
    if chance >= 1.0:
        return np.full_like(typical, np.inf)
    return typical * np.exp(SPREAD * NormalDist().inv_cdf(chance))


def made_up_trials(
    generator: np.random.Generator, design: Design, typical: np.ndarray
) -> np.ndarray:
    """Return times [..., studies, trials] around the typical ones, inf for a miss."""
    shape = (*typical.shape, design.studies, design.trials)
    times = typical[..., None, None] * np.exp(SPREAD * generator.normal(size=shape))
    return np.where(generator.random(shape) < design.missing, np.inf, times)


def made_up_times(
    generator: np.random.Generator, design: Design, typical: np.ndarray
) -> np.ndarray:
    """Return a submission's times: the median over studies of the least in each."""
    return np.median(made_up_trials(generator, design, typical).min(axis=-1), axis=-1)


def made_up_table(
    generator: np.random.Generator, design: Design, typical: np.ndarray
) -> Table:
    """Return the same as the table that the rules read."""
    times = np.sort(made_up_trials(generator, design, typical), axis=-1)
    counts = np.full(times.shape[:-1], design.trials)
    many = np.full(typical.shape, design.studies)
    names = tuple(map(str, range(max(typical.shape))))
    return Table(names[: len(typical)], names, times, many, counts)


if __name__ == "__main__":
    main()
