"""Measure scoring: time and memory for logs of several sizes, as JSON lines.

    python -m benchmarks.scoring

CPU seconds are those of a fresh process, imports included. The trees are the public
v0.6 external logs, and copies of them under other names. Results: docs/scoring.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scoring.evaluations import Trial
from tests.scoring.trees import public_logs, under_other_names, write_tree

ROUNDS = 3


def main() -> None:
    """Print one line per measurement."""
    logs = public_logs("external_tuning")
    eleven = [t for t in under_other_names(logs, 6) if t.submission != "shampoo_6"]
    many = under_other_names([*logs, *public_logs("self_tuning")], 16)
    with tempfile.TemporaryDirectory() as name:
        for label, trials, flags in (
            ("240 trials, tables", logs, ["--noreport"]),
            ("240 trials, tables, published rules", logs, ["--rules=published"]),
            ("1,320 trials of 11 submissions, tables", eleven, ["--noreport"]),
            ("1,320 trials of 11 submissions, report", eleven, []),
            (f"{len(many):,} trials of 48 submissions, tables", many, ["--noreport"]),
        ):
            folder = Path(name) / str(len(trials))
            if not folder.exists():
                write_tree(trials, folder)
            if "published" in label:
                flags = [*flags, "--noreport"]
            print(json.dumps(measure(label, trials, folder, flags)), flush=True)


def measure(
    label: str, trials: list[Trial], folder: Path, flags: list[str]
) -> dict[str, object]:
    """Return the least CPU and wall seconds of a few runs, and the peak memory."""
    out = folder.with_name("out")
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
    return {
        "what": label,
        "trials": len(trials),
        "cpu_seconds": round(min(cpu), 2),
        "wall_seconds": round(min(wall), 2),
        "peak_memory_mb": round(memory / 1024),
        "report_mb": round(report.stat().st_size / 1e6, 2) if not flags else None,
    }


if __name__ == "__main__":
    main()
