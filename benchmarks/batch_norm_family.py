"""Measures ghost and accumulated batch norm; `benchmarks.batch_norm` runs it.

Compared layers alternate within one run; ratios are of median CPU seconds of all
threads, which other work on the machine disturbs less than the time on the wall.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from algorithmic_efficiency.nn.batch_norm.family import batch_norm
from algorithmic_efficiency.nn.batch_norm.jax_family import batch_norm as jax_batch_norm
from algorithmic_efficiency.nn.batch_norm.moments import accumulate

IMAGES = (256, 64, 32, 32)  # PyTorch's order
WORDS = ("batch", "ghost:128", "ghost:32", "ghost:4")  # 2, 8 and 64 chunks
Report = Callable[..., None]


def family(rounds: int, report: Report) -> None:
    """Runs every measurement."""
    for layout in ("contiguous_format", "channels_last"):
        report_ratios(f"PyTorch {layout}", ghosts(layout, rounds), 1.25, report)
    report_ratios("JAX", jax_ghosts(rounds), 1.25, report)
    report_ratios("PyTorch, 4 micro-batches", accumulated(rounds), 1.15, report)
    loop_differences(report)


def ghosts(layout: str, rounds: int) -> dict[str, float]:
    """Returns CPU seconds of forward and backward of plain and ghost layers."""
    x, gradient = images(getattr(torch, layout))
    layers = {word: batch_norm(word, IMAGES[1]) for word in WORDS}

    def run(layer: Any) -> None:
        x.grad = None
        layer(x).backward(gradient)

    runs = {word: lambda layer=layer: run(layer) for word, layer in layers.items()}
    return alternate(runs, rounds)


def jax_ghosts(rounds: int) -> dict[str, float]:
    """The same in JAX, compiled, with channels last."""
    rng = np.random.default_rng(0)
    shape = (IMAGES[0], *IMAGES[2:], IMAGES[1])
    x, gradient = (jnp.asarray(rng.normal(size=shape), jnp.float32) for _ in range(2))

    def compiled(word: str) -> Callable[[], Any]:
        layer = jax_batch_norm(word)
        variables = layer.init(jax.random.key(0), x[:2], use_running_average=True)

        @jax.jit
        def step(variables: Any, x: Any) -> Any:
            def forward(params: Any, x: Any) -> Any:
                given = {**variables, "params": params}
                return layer.apply(
                    given, x, use_running_average=False, mutable=["batch_stats"]
                )

            y, back, state = jax.vjp(forward, variables["params"], x, has_aux=True)
            return y, back(gradient), state

        return lambda: jax.block_until_ready(step(variables, x))

    return alternate({word: compiled(word) for word in WORDS}, rounds)


def accumulated(rounds: int) -> dict[str, float]:
    """Returns CPU seconds of four micro-batches, plain and in two ways accumulated."""
    x, gradient = images(torch.contiguous_format)
    parts, gradients = x.detach().chunk(4), gradient.chunk(4)
    plain, own = batch_norm("batch", IMAGES[1]), batch_norm("accumulated", IMAGES[1])

    def run(layer: Any) -> None:
        for part, dy in zip(parts, gradients, strict=True):
            layer(part.requires_grad_()).backward(dy)

    def inside() -> None:
        with accumulate(plain):
            run(plain)

    runs = {"batch": lambda: run(plain), "accumulated": lambda: run(own)}
    return alternate({**runs, "accumulate(model)": inside}, rounds)


def loop_differences(report: Report) -> None:
    """The largest differences of ghosts in one call from chunks in a loop."""
    x, gradient = images(torch.contiguous_format)
    ghost, loop = batch_norm("ghost:32", IMAGES[1]), batch_norm("batch", IMAGES[1])
    loop.momentum = 0.1 / 8
    seen = []
    for run in (ghost, lambda x: torch.cat([loop(chunk) for chunk in x.chunk(8)])):
        x.grad = None
        y = run(x)
        y.backward(gradient)
        seen.append((y.detach(), x.grad))
    pairs = dict(zip(("y", "dx"), zip(*seen, strict=True), strict=True))
    for name in ("running_mean", "running_var"):
        pairs[name] = ghost.get_buffer(name), loop.get_buffer(name)
    found = {f"{k}_e9": 1e9 * float((a - b).abs().max()) for k, (a, b) in pairs.items()}
    report("ghost:32 against a loop, largest difference in 1e-9", **found, bar=1000)


def images(layout: torch.memory_format) -> tuple[Any, Any]:
    """Returns x, which wants a gradient, and the gradient of y."""
    generator = torch.Generator().manual_seed(0)
    x, gradient = (
        torch.randn(IMAGES, generator=generator).contiguous(memory_format=layout)
        for _ in range(2)
    )
    return x.requires_grad_(), gradient


def alternate(functions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Returns the median CPU seconds of each, called in turn after one call each."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for i in range(rounds + 1):
        for name, function in functions.items():
            start = time.process_time()
            function()
            if i:
                seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def report_ratios(
    what: str, medians: dict[str, float], bar: float, report: Report
) -> None:
    """Prints CPU milliseconds of all and each one's ratio to plain batch norm."""
    for name, seconds in medians.items():
        report(
            f"{what} {IMAGES}, {name}",
            cpu_milliseconds=1e3 * seconds,
            ratio=seconds / medians["batch"],
            bar=bar,
        )
