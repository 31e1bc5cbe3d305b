"""One bidirectional LSTM layer, forward + backward, beside other ways; JSON lines.

    python -m benchmarks.lstm [--batch 2] [--frames 250] [--features 512] [--steps 9]

Median milliseconds of CPU time on one core. PyTorch: ours (two directions by oneDNN)
and one call of nn.LSTM on packed frames. JAX: ours, and the same scan without the
gradient written by hand. The first example has two thirds of the frames.
"""

import argparse
import functools
import json
import os
import statistics
from typing import Any

import numpy as np

from algorithmic_efficiency.backends import tuning_cpu
from benchmarks.speech_step import Task, timed, waiting


def main() -> None:
    """Prints one line per way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--steps", type=int, default=9)
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    tuning_cpu.keep_freed_memory()
    random = np.random.default_rng(0)
    shape = (options.batch, options.frames, options.features)
    x = random.standard_normal(shape, np.float32)
    valid = np.ones(shape[:2], np.float32)
    valid[0, 2 * options.frames // 3 :] = 0
    for name, task in {**pytorch_tasks(x, valid), **jax_tasks(x, valid)}.items():
        _, _, cpu = timed(task, options.steps)
        milliseconds = round(1e3 * statistics.median(cpu), 1)
        print(json.dumps({"way": name, "cpu_ms": milliseconds}))


def pytorch_tasks(x: np.ndarray, valid: np.ndarray) -> dict[str, Task]:
    """Returns what runs a layer of random weights on x [B, T, D]."""
    import torch

    from algorithmic_efficiency.nn.lstm.pytorch import LSTM, Frames

    layer = LSTM(x.shape[-1], x.shape[-1] // 2)
    for parameter in layer.parameters():
        torch.nn.init.uniform_(parameter, -1 / 16, 1 / 16)
    frames = Frames.of(torch.from_numpy(valid))
    lengths = torch.from_numpy(valid.sum(1).astype(np.int64))
    packed = Frames(frames.valid, frames.order, lengths)
    inputs = torch.from_numpy(x).requires_grad_()

    def run(frames: Any) -> None:
        layer(inputs, frames).sum().backward()

    return {
        "pytorch, ours": functools.partial(run, frames),
        "pytorch, packed": functools.partial(run, packed),
    }


def jax_tasks(x: np.ndarray, valid: np.ndarray) -> dict[str, Task]:
    """Returns the same in JAX."""
    import jax

    from algorithmic_efficiency.nn.lstm import jax as lstm

    random = np.random.default_rng(0)
    layer = lstm.LSTM(x.shape[-1] // 2)
    shapes = jax.eval_shape(layer.init, jax.random.key(0), x, valid)
    variables = jax.tree.map(
        lambda s: random.uniform(-1 / 16, 1 / 16, s.shape).astype(np.float32), shapes
    )

    def total(variables: Any, x: Any) -> Any:
        return layer.apply(variables, x, valid).sum()

    def gradients() -> Task:
        compiled = jax.jit(jax.grad(total, (0, 1))).lower(variables, x).compile()
        return waiting(functools.partial(compiled, variables, x))

    ours, recurrence = gradients(), lstm.recurrence
    lstm.recurrence = lambda gates, weights: lstm._forward(gates, weights)[0]
    by_jax = gradients()
    lstm.recurrence = recurrence
    return {"jax, ours": ours, "jax, its own gradient": by_jax}


if __name__ == "__main__":
    main()
