"""Forward + backward of the full-size speech models, and their features; JSON lines.

    python -m benchmarks.speech_step [--workload librispeech_conformer] [--batch 2]
        [--seconds 10] [--steps 7]

`step`: one training pass of the workload through `model_fn` and `loss_fn`, with dropout
and SpecAugment, on all cores. `log_mel`: features of 32 utterances of 3 s on one core,
and how many seconds of sound that is per second of CPU time. Each measurement runs in a
process of its own, because process settings are part of what is measured.
"""

import argparse
import functools
import json
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from algorithmic_efficiency import registry, spec
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.workload import Workload

Task = Callable[[], Any]
SAMPLE_RATE = 16_000
LABELS_PER_SECOND = 4  # about what LibriSpeech has


def main() -> None:
    """Prints one line per measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    speech = [n for n in registry.definitions() if n.startswith("librispeech")]
    parser.add_argument("--workload", choices=speech, default="librispeech_conformer")
    parser.add_argument("--framework", choices=base.FRAMEWORKS)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--steps", type=int, default=7)
    options = parser.parse_args()
    for framework in [options.framework] if options.framework else base.FRAMEWORKS:
        for measure in (step, log_mel):
            process = multiprocessing.get_context("spawn").Process(
                target=measure, args=(framework, options)
            )
            process.start()
            process.join()


def step(framework: str, options: argparse.Namespace) -> None:
    """Prints seconds of a training pass, of which the first one compiles."""
    backend = base.make(framework)
    folders = Folders(registry.ROOT / "no data needed")
    workload = Workload(registry.get(options.workload), backend, folders)
    batch = workload.place(random_batch(options.batch, options.seconds))
    made = torch_step if framework == "pytorch" else jax_step
    first, wall, cpu = timed(made(workload, batch), options.steps)
    show(
        "step",
        workload=options.workload,
        framework=framework,
        batch=options.batch,
        seconds_of_sound=options.seconds,
        first_wall_s=first,
        median_wall_s=statistics.median(wall),
        min_wall_s=min(wall),
        median_cpu_s=statistics.median(cpu),
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    )


def log_mel(framework: str, options: argparse.Namespace) -> None:
    """Prints the speed of the features on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    base.make(framework)  # for its process settings
    size, seconds = 32, 3.0
    audio, paddings = random_batch(size, seconds)["inputs"]
    if framework == "pytorch":
        import torch

        from workloads._librispeech.pytorch import FrontEnd

        front_end, inputs = FrontEnd(0, 0), [torch.from_numpy(audio)]
        inputs.append(torch.from_numpy(paddings))
        task: Task = functools.partial(front_end.log_mel, *inputs)
    else:
        import jax

        from workloads._librispeech import jax as front

        task = waiting(functools.partial(jax.jit(front.log_mel), audio, paddings))
    _, _, cpu = timed(task, 5 * options.steps)
    median = statistics.median(cpu)
    show(
        "log_mel",
        framework=framework,
        median_cpu_s=median,
        times_real_time_per_core=size * seconds / median,
    )


def random_batch(size: int, seconds: float) -> dict[str, Any]:
    """Returns noise that fills the batch, with labels."""
    random = np.random.default_rng(0)
    shape = (size, int(seconds * SAMPLE_RATE))
    audio = 1000 * random.standard_normal(shape, np.float32)
    labels = random.integers(1, 100, (size, int(seconds * LABELS_PER_SECOND)))
    return {
        "inputs": (audio, np.zeros_like(audio)),
        "targets": (labels.astype(np.float32), np.zeros(labels.shape, np.float32)),
        "weights": np.ones(size, np.float32),
    }


def torch_step(workload: Workload, batch: Any) -> Task:
    """Returns forward, loss and backward."""
    module, _ = workload.init_model_fn(np.int32([0, 1]))

    def task() -> None:
        module.zero_grad()
        mean_loss(workload, module, batch, None, None)[0].backward()

    return task


def jax_step(workload: Workload, batch: Any) -> Task:
    """Returns forward, loss, backward and the new running statistics, compiled."""
    import jax

    rng = jax.random.key(0)
    params, state = workload.init_model_fn(np.uint32([0, 1]))
    loss = functools.partial(mean_loss, workload)
    gradients = jax.jit(jax.grad(loss, has_aux=True))
    return waiting(functools.partial(gradients, params, batch, state, rng))


def mean_loss(
    workload: Workload, params: Any, batch: Any, state: Any, rng: Any
) -> tuple[Any, Any]:
    """Returns the loss per valid token of a training pass, and the new state."""
    train = spec.ForwardPassMode.TRAIN
    outputs, state = workload.model_fn(params, batch, state, train, rng, True)
    loss = workload.loss_fn(batch["targets"], outputs, batch["weights"])
    return loss["summed"] / loss["n_valid_examples"], state


def waiting(task: Task) -> Task:
    """Returns the task followed by the wait for JAX's devices."""
    import jax

    return lambda: jax.block_until_ready(task())


def timed(task: Task, steps: int) -> tuple[float, list[float], list[float]]:
    """Returns wall seconds of the first run, and wall and CPU seconds of the others."""
    rows = []
    for _ in range(steps + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        task()
        rows.append((time.perf_counter() - wall, time.process_time() - cpu))
    return rows[0][0], [row[0] for row in rows[1:]], [row[1] for row in rows[1:]]


def show(name: str, **values: Any) -> None:
    """Prints one JSON line."""
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}
    print(json.dumps({"benchmark": name, **rounded}), flush=True)


if __name__ == "__main__":
    main()
