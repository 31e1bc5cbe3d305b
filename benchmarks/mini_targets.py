"""Sets the targets of a mini workload by the published protocol, in small.

    python -m benchmarks.mini_targets --workload=imagenet_resnet_mini

1. Each reference algorithm trains at the points of its search space, for 3/4 of the
   workload's steps (AlgoPerf's budgets are 4/3 of the runs that set the targets).
2. The algorithm and point with the best validation metric train again with other seeds.
   Where there is one algorithm with one point, it begins here.
3. The validation target is the median over these seeds; the test target is the worst
   test metric among the seeds that reached it.

Prints a JSON line for every run and one for the targets.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import math
import multiprocessing
import os
import statistics
from typing import Any

from algorithmic_efficiency import metrics, registry, seeds, submission
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.paths import folder_of
from algorithmic_efficiency.runner import tuning
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.trainer import Trainer
from algorithmic_efficiency.runner.trial import NoRecords, Progress, Rules, run_trial
from algorithmic_efficiency.workload import Workload

ALGORITHMS = ("adamw", "nadamw", "momentum", "nesterov")
SHARE_OF_STEPS = 3 / 4


@dataclasses.dataclass(frozen=True)
class Job:
    """One training run of the protocol."""

    workload: str
    algorithm: str
    point: dict[str, Any]
    seed: int
    steps: int
    data_dir: str


def main() -> None:
    """Runs the protocol and prints what it finds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", required=True)
    parser.add_argument("--data_dir", default="~/data")
    parser.add_argument("--algorithms", nargs="+", default=ALGORITHMS)
    parser.add_argument("--trials", type=int, default=5, help="points per algorithm")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    definition = registry.get(asked.workload)
    steps = int(SHARE_OF_STEPS * definition.step_hint)
    sign = 1 if metrics.target(definition).maximize else -1
    search = [
        Job(asked.workload, name, point, 0, steps, asked.data_dir)
        for name in asked.algorithms
        for point in points(name, asked.trials)
    ]
    with pool(asked.jobs) as workers:
        best = search[0]
        if len(search) > 1:
            found = list(workers.map(run, search))
            best, _, _ = max(found, key=lambda result: sign * result[1])
        again = [
            dataclasses.replace(best, seed=seed) for seed in range(1, asked.seeds + 1)
        ]
        results = [result[1:] for result in workers.map(run, again)]
    target = statistics.median(validation for validation, _ in results)
    tests = [test for value, test in results if sign * value >= sign * target]
    line = {
        "workload": asked.workload,
        "algorithm": best.algorithm,
        "point": best.point,
        "validation_target": target,
        "test_target": sign * min(sign * test for test in tests),
        "seeds": asked.seeds,
        "steps": steps,
    }
    print(json.dumps(line), flush=True)


def pool(jobs: int) -> concurrent.futures.Executor:
    """Returns processes of one thread each, started afresh."""
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(jobs, context)


def points(algorithm: str, count: int) -> list[dict[str, Any]]:
    """Returns the default point and `count` - 1 of the search space."""
    folder = registry.ROOT / "reference_algorithms" / algorithm
    default = tuning.read(folder / "default_hyperparameters.json")[0]
    space = tuning.read(folder / "tuning_search_space.json")
    return [default, *tuning.points(space, count - 1, seed=0)]


def run(job: Job) -> tuple[Job, float, float]:
    """Trains once; returns the job and the final validation and test metrics."""
    definition = registry.get(job.workload)
    trainer = make_trainer(job)
    trainer.open_data(0)
    progress = Progress()
    run_trial(
        trainer, NoRecords(), Clock(), Rules(math.inf, math.inf, job.steps), progress
    )
    trainer.close()
    _, result = progress.evals[-1]
    name = definition.target_metric_name
    worst = (
        -math.inf if metrics.target(definition).maximize else math.inf
    )  # of a run that diverged
    values = [result.get(f"{s}/{name}", worst) for s in ("validation", "test")]
    line = {k: v for k, v in dataclasses.asdict(job).items() if k != "data_dir"}
    shown = [value if math.isfinite(value) else None for value in values]
    line |= {"validation": shown[0], "test": shown[1]}
    print(json.dumps(line), flush=True)
    return job, values[0], values[1]


def make_trainer(job: Job) -> Trainer:
    """Returns what trains in PyTorch, before its first step.

    The schedule of the learning rate ends with the job's steps.
    """
    from algorithmic_efficiency.backends import base  # noqa: PLC0415 - in its process

    definition = dataclasses.replace(registry.get(job.workload), step_hint=job.steps)
    backend = base.make("pytorch")
    workload = Workload(
        definition, backend, Folders(folder_of("data_dir", job.data_dir))
    )
    path = registry.ROOT / "reference_algorithms" / job.algorithm / "pytorch.py"
    point, seed = tuning.namedtuple(job.point), seeds.integer(job.seed, "target")
    return Trainer(workload, submission.load(path), backend, point, seed)


if __name__ == "__main__":
    main()
