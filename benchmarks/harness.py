"""What the harness itself costs: its start, its memory, its share of a step.

    python -m benchmarks.harness [--data_dir=~/data] [--steps=20]

Prints JSON lines. `help`: CPU seconds and peak memory of `--help`. `start`: from the
start of the process to the first training step of the mini run. `overhead`: seconds of
a step of the trial loop beyond a bare loop over data_selection and update_params that
waits for the device after each step, and beyond one that never waits, so that JAX can
prepare the next step during this one; all in one process, in turns.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from algorithmic_efficiency import cli, registry
from algorithmic_efficiency.runner import preparation
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.trainer import Trainer
from algorithmic_efficiency.runner.trial import NoRecords, Progress, Rules, run_trial

WORKLOAD = "imagenet_resnet_mini"
ROUNDS = 15

# Says at its first step when that is, and ends the run.
_FIRST_STEP = """
import time
from reference_algorithms.nadamw.{framework} import *
def update_params(**_):
    print("FIRST STEP", time.time(), flush=True)
    raise SystemExit
"""


def main() -> None:
    """Prints every measurement as a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", default="~/data")
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    show("help", **help_cost())
    for framework in ("pytorch", "jax"):
        seconds = [start(framework, arguments.data_dir) for _ in range(3)]
        show("start", framework=framework, seconds=statistics.median(seconds))
        show("overhead", framework=framework, **overhead(framework, arguments))


def show(name: str, **values: Any) -> None:
    """Prints one JSON line."""
    rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()}
    print(json.dumps({"benchmark": name, **rounded}), flush=True)


def help_cost() -> dict[str, float]:
    """Returns CPU seconds and peak memory in MB of `--help`."""
    command = [sys.executable, str(registry.ROOT / "submission_runner.py"), "--help"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    return {
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_megabytes": usage.ru_maxrss / 1024,
    }


def start(framework: str, data_dir: str) -> float:
    """Returns seconds from the start of a process to its first training step."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"first_step_{framework}.py"
        path.write_text(_FIRST_STEP.format(framework=framework))
        flags = [f"--workload={WORKLOAD}", f"--submission_path={path}"]
        flags += [f"--experiment_dir={folder}", f"--data_dir={data_dir}"]
        flags += [
            "--tuning_search_space=reference_algorithms/nadamw/default_hyperparameters.json"
        ]
        begin = time.time()
        done = subprocess.run(
            [sys.executable, "submission_runner.py", *flags],
            capture_output=True,
            text=True,
            check=False,
            cwd=registry.ROOT,
        )
    return float(done.stdout.split("FIRST STEP")[1].split()[0]) - begin


def overhead(framework: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Returns median seconds of a step, in a bare loop and in the trial loop."""
    free, bare, harness = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        flags = [f"--workload={WORKLOAD}", f"--framework={framework}", "--skip_evals"]
        flags += [f"--experiment_dir={folder}", f"--data_dir={arguments.data_dir}"]
        config = cli.make_config(cli.parse(["runner", *flags]))
        with contextlib.closing(preparation.trainer(config, 0, 0)) as trainer:
            trainer.open_data(0)
            loop(trainer, 3, wait=True)
            for _ in range(ROUNDS):
                free.append(loop(trainer, arguments.steps, wait=False))
                bare.append(loop(trainer, arguments.steps, wait=True))
                harness.append(trial(trainer, arguments.steps))
    extra = statistics.median(h - b for h, b in zip(harness, bare, strict=True))
    waits = statistics.median(b - f for b, f in zip(bare, free, strict=True))
    return {
        "free_seconds": statistics.median(free),
        "bare_seconds": statistics.median(bare),
        "waiting_seconds": waits,
        "trial_seconds": statistics.median(harness),
        "extra_seconds": extra,
        "extra_share": extra / statistics.median(bare),
    }


def loop(trainer: Trainer, steps: int, *, wait: bool) -> float:
    """Returns seconds per step of nothing but the submission's two functions."""
    progress, state = Progress(), trainer.state
    rng = trainer.backend.make_rng((0, 0))
    begin = time.perf_counter()
    for step in range(steps):
        progress.step = step
        batch = trainer.submission.data_selection(
            trainer.workload,
            trainer.queue,
            state["optimizer_state"],
            state["params"],
            state["model_state"],
            trainer.hyperparameters,
            step,
            rng,
        )
        returned = trainer.submission.update_params(
            **trainer.arguments(progress), batch=batch, rng=rng
        )
        optimizer_state, params, model_state = returned
        state = {
            "params": params,
            "model_state": model_state,
            "optimizer_state": optimizer_state,
        }
        trainer.state = state
        if wait:
            trainer.backend.wait()
    trainer.backend.wait()
    return (time.perf_counter() - begin) / steps


def trial(trainer: Trainer, steps: int) -> float:
    """Returns seconds per step of the trial loop without evaluations."""
    rules = Rules(1e9, 1e9, steps, skip_evals=True)
    begin = time.perf_counter()
    run_trial(trainer, NoRecords(), Clock(), rules, Progress())
    return (time.perf_counter() - begin) / steps


if __name__ == "__main__":
    main()
