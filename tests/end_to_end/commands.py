"""Runs the command in a fresh process and reads what it leaves."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from algorithmic_efficiency import registry
from algorithmic_efficiency.data import Folders

FRAMEWORKS = ("jax", "pytorch")
NAME = "imagenet_resnet_mini"
RUNNER = Path(__file__).with_name("tiny_runner.py")
ROOT = registry.ROOT


class Command:
    """Runs the command in a temporary experiment folder."""

    def __init__(self, folder: Path, data: Folders, workload: str = NAME) -> None:
        self.folder = folder
        self.data = data
        self.workload = workload

    def arguments(
        self, *flags: str, limits: tuple[Any, ...] = (60, 60, 2)
    ) -> list[str]:
        numbers = [str(limit) for limit in limits]
        shared = [f"--experiment_dir={self.folder}", f"--data_dir={self.data.data_dir}"]
        shared += [f"--workload={self.workload}", "--rng_seed=7"]
        return [sys.executable, str(RUNNER), *numbers, *shared, *flags]

    def environment(self) -> dict[str, str]:
        threads = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        plain = {"XLA_FLAGS": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
        return {**os.environ, **threads, **plain}

    def run(self, *flags: str, limits: tuple[Any, ...] = (60, 60, 2)) -> Any:
        return subprocess.run(
            self.arguments(*flags, limits=limits),
            capture_output=True,
            text=True,
            check=False,
            env=self.environment(),
            cwd=self.folder,
        )

    def trial(self, name: str, framework: str, trial: int = 1) -> Path:
        runs = f"{self.workload}_{framework}"
        return self.folder / name / runs / f"trial_{trial}"


def run_json(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
