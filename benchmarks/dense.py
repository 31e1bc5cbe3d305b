"""Dense layers in PyTorch: MKL's products beside oneDNN's, shape by shape; JSON lines.

    python -m benchmarks.dense [--threads 1] [--rounds 9] [--shape 500,512,2048]
    python -m benchmarks.dense --workload librispeech_conformer

x [N, K], weight [M, K], gradient g [N, M]. One line per product: GFLOP/s of PyTorch's
own (`mkl`) and of each way of oneDNN, and the ratio of the best of them to MKL. Then
`layer`: milliseconds of forward and backward of `nn.pytorch.Linear` and of
`torch.nn.Linear`. With a speech workload: a step of it with each route of
`nn.pytorch_cpu` that was measured somewhere, and with none. All ways take turns, and
the least time of each counts, since other work only adds. Seconds are CPU time with one
thread, else wall time.
"""

import argparse
import functools
import json
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F

from algorithmic_efficiency import registry
from algorithmic_efficiency.backends import base, tuning_cpu
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.nn import pytorch_cpu
from algorithmic_efficiency.nn.pytorch import Linear
from algorithmic_efficiency.workload import Workload
from benchmarks import speech_step

Tasks = dict[str, Callable[[], object]]
SHAPES = (  # rows, inputs, outputs
    (500, 512, 2048),  # Conformer: feed-forward
    (500, 2048, 512),
    (500, 512, 512),  # attention, DeepSpeech's dense layers
    (500, 10240, 512),  # after the subsampling
    (500, 512, 1024),  # heads
    (10000, 512, 512),  # a tap of the subsampling's second convolution
    (1576, 384, 1536),  # ViT S/16: feed-forward
    (1576, 1536, 384),
    (1576, 384, 384),
    (1024, 1024, 1024),
    (4096, 128, 512),
    (8, 2048, 1000),  # ResNet-50's head
    (1024, 128, 128),  # small ones: where it begins to pay
    (512, 128, 128),
    (256, 128, 128),
    (128, 128, 64),
)


def main() -> None:
    """Prints the lines of every shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--shape", action="append", help="N,K,M; may be repeated")
    speech = [n for n in registry.definitions() if n.startswith("librispeech")]
    parser.add_argument("--workload", choices=speech)
    options = parser.parse_args()
    tuning_cpu.keep_freed_memory()
    torch.set_num_threads(options.threads)
    if options.workload:
        show("step", (), **least_seconds(steps(options.workload), options))
        return
    asked = [tuple(map(int, text.split(","))) for text in options.shape or ()]
    for shape in asked or SHAPES:
        for name, tasks in products(*shape).items():
            show_product(name, shape, least_seconds(tasks, options))
        seconds = least_seconds(layers(*shape), options)
        show(
            "layer",
            shape,
            ours_ms=1e3 * seconds["ours"],
            plain_ms=1e3 * seconds["plain"],
            ratio=seconds["ours"] / seconds["plain"],
            route=pytorch_cpu.describe(),
        )


def products(rows: int, inputs: int, outputs: int) -> dict[str, Tasks]:
    """Returns the ways of each product; transposes are views unless said."""
    x, w, g = (
        torch.randn(rows, inputs),
        torch.randn(outputs, inputs),
        torch.randn(rows, outputs),
    )
    product = pytorch_cpu.product
    return {
        "forward": {
            "mkl": lambda: F.linear(x, w),
            "onednn": lambda: product(x, w),
        },
        "input_gradient": {
            "mkl": lambda: g @ w,
            "onednn": lambda: product(g, w.t()),
            "onednn_weights_copied": lambda: product(g, w.t().contiguous()),
        },
        "weight_gradient": {
            "mkl": lambda: g.t() @ x,
            "onednn": lambda: product(g.t(), x.t()),
            "onednn_g_copied": lambda: product(g.t().contiguous(), x.t()),
            "onednn_transposed": lambda: product(x.t(), g.t()).t().contiguous(),
        },
    }


def layers(rows: int, inputs: int, outputs: int) -> Tasks:
    """Returns forward and backward of both layers, bias and input gradient included."""
    x, g = torch.randn(rows, inputs, requires_grad=True), torch.randn(rows, outputs)

    def task(layer: torch.nn.Module) -> None:
        x.grad = None
        layer.zero_grad()
        layer(x).backward(g)

    ours, plain = Linear(inputs, outputs), torch.nn.Linear(inputs, outputs)
    return {
        "ours": functools.partial(task, ours),
        "plain": functools.partial(task, plain),
    }


def steps(name: str) -> Tasks:
    """Returns a step of a speech workload by each route; batch 2 of 10 s."""
    backend = base.make("pytorch")
    folders = Folders(registry.ROOT / "no data needed")
    workload = Workload(registry.get(name), backend, folders)
    batch = workload.place(speech_step.random_batch(2, 10.0))
    step = speech_step.torch_step(workload, batch)

    def task(route: pytorch_cpu.Route) -> None:
        with mock.patch.object(pytorch_cpu, "route", lambda: route):
            step()

    routes = {"mkl": pytorch_cpu.Route()}
    for family, route in pytorch_cpu.MEASURED.items():
        routes[f"as_on_family_{family}"] = route
    return {key: functools.partial(task, route) for key, route in routes.items()}


def least_seconds(tasks: Tasks, options: argparse.Namespace) -> dict[str, float]:
    """Returns the least seconds of a call of each task, the tasks in turns."""
    clock = time.process_time if options.threads == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(options.rounds + 1):
        for name, task in tasks.items():
            calls, start = 0, clock()
            while calls == 0 or clock() - start < 4e-3:
                task()
                calls += 1
            if number:  # the first round warms up
                seconds[name].append((clock() - start) / calls)
    return {name: min(row) for name, row in seconds.items()}


def show_product(name: str, shape: tuple[int, ...], seconds: dict[str, float]) -> None:
    """Prints GFLOP/s of each way."""
    work = 2e-9 * shape[0] * shape[1] * shape[2]
    best = min(value for way, value in seconds.items() if way != "mkl")
    speeds = {way: work / value for way, value in seconds.items()}
    show(name, shape, **speeds, best_to_mkl=seconds["mkl"] / best)


def show(name: str, shape: tuple[int, ...], **values: Any) -> None:
    """Prints one JSON line."""
    line = {"product": name, "shape": shape, "threads": torch.get_num_threads()}
    rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in values.items()}
    print(json.dumps(line | rounded), flush=True)


if __name__ == "__main__":
    main()
