"""How reliably the reference NadamW reaches the target of a mini workload.

    python -m benchmarks.mini_seeds --framework=pytorch [--seeds=10] [--factors 0.1 10]

Runs the command once per seed, and once per factor on the learning rate with seed 0, up
to the last step of the schedule: from there on the rate is 0.
Prints a JSON line for every run: score in seconds (null for a miss), clock, memory.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from algorithmic_efficiency import registry
from algorithmic_efficiency.runner import tuning


def main() -> None:
    """Prints one line for every run and one for their sum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", default="imagenet_resnet_mini")
    parser.add_argument("--framework", default="pytorch")
    parser.add_argument("--data_dir", default="~/data")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--factors", type=float, nargs="*", default=(0.1, 10.0))
    asked = parser.parse_args()
    jobs = [(seed, 1.0) for seed in range(asked.seeds)]
    jobs += [(0, factor) for factor in asked.factors]
    runs = [run(asked, seed, factor) for seed, factor in jobs]
    scores = [r["score"] for r in runs if r["factor"] == 1.0]
    reached = [score for score in scores if score is not None]
    total = {"framework": asked.framework, "seeds": len(scores)}
    total |= {"reached": len(reached), "slowest": max(reached, default=None)}
    print(json.dumps(total), flush=True)


def run(asked: argparse.Namespace, seed: int, factor: float) -> dict[str, Any]:
    """Runs the command in a temporary folder; returns and prints what came of it."""
    folder = registry.ROOT / "reference_algorithms" / "nadamw"
    point = tuning.read(folder / "default_hyperparameters.json")[0]
    point["learning_rate"] *= factor
    steps = registry.get(asked.workload).step_hint
    with tempfile.TemporaryDirectory() as place:
        space = Path(place) / "point.json"
        space.write_text(json.dumps([point]))
        command = [sys.executable, str(registry.ROOT / "submission_runner.py")]
        command += [f"--workload={asked.workload}", f"--framework={asked.framework}"]
        command += [f"--data_dir={asked.data_dir}", f"--experiment_dir={place}"]
        command += [f"--tuning_search_space={space}", f"--rng_seed={seed}"]
        command += [f"--max_global_steps={steps}"]
        subprocess.run(command, check=True, capture_output=True, cwd=registry.ROOT)
        (path,) = Path(place).glob("*/*/trial_1/run.json")
        record = json.loads(path.read_text())
    line = {
        "framework": asked.framework,
        "seed": seed,
        "factor": factor,
        "score": record["score"],
        "stop_reason": record["stop_reason"],
        "steps": record["global_step"],
        "clock": {k: round(v, 1) for k, v in record["clock"].items()},
        "peak_gib": round(record["peak_memory_bytes"] / 2**30, 2),
    }
    print(json.dumps(line), flush=True)
    return line


if __name__ == "__main__":
    main()
