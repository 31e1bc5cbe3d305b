"""Measures batch norm: the freeze switch, the masked layers, graphs and traces.

    python -m benchmarks.batch_norm [--rounds=15] [--family]

Prints one JSON line per measurement. Compared layers alternate within one run, and a
ratio is that of the medians, so that a busy machine slows both sides alike.
"""

import argparse
import functools
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import linen
from torch import nn
from torch._dynamo.testing import CompileCounter

from algorithmic_efficiency import registry
from algorithmic_efficiency.nn.batch_norm import jax as jax_bn
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm, batch_norm_mode
from benchmarks.batch_norm_family import family
from workloads.imagenet_resnet.pytorch import Model

SHAPE = (32, 500, 512)  # examples, steps, channels, as in DeepSpeech


def main() -> None:
    """Runs every measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--family", action="store_true", help="only ghosts and so on")
    asked = parser.parse_args()
    rounds = asked.rounds
    torch.set_num_threads(2)
    family(rounds, report)
    if asked.family:
        return
    freeze_switch(rounds)
    masked_pytorch(rounds)
    masked_jax(rounds)
    graphs()
    traces()


def freeze_switch(rounds: int) -> None:
    """The cost of entering and leaving the switch around ResNet-50 (53 batch norms)."""
    definition = registry.get("imagenet_resnet")
    with torch.device("meta"):
        model = Model(**definition.model)

    def switch() -> None:
        with batch_norm_mode(model, update=False, use_running_average=False):
            pass

    seconds = alternate({"switch": switch}, 20 * rounds)["switch"]
    report("freeze switch, ResNet-50", microseconds=1e6 * seconds, bar=300)


def masked_pytorch(rounds: int) -> None:
    """Our masked layer against torch's own without a mask, forward and backward."""
    x, gradient, mask = (torch.tensor(value) for value in data())
    features = SHAPE[-1]
    ours, own = BatchNorm(features, channel_axis=-1), nn.BatchNorm1d(features)
    x.requires_grad_()

    def run(forward: Callable[[Any], Any]) -> None:
        x.grad = None
        forward(x).backward(gradient)

    medians = alternate(
        {
            "masked": lambda: run(lambda x: ours(x, mask)),
            "unmasked": lambda: run(ours),
            "torch": lambda: run(lambda x: own(x.view(-1, features)).view(SHAPE)),
        },
        rounds,
    )
    report_ratios("PyTorch", medians, own="torch", bar=2.0)


def masked_jax(rounds: int) -> None:
    """Our masked layer against flax's with the same mask, forward and backward."""
    x, gradient, mask = (jnp.asarray(value) for value in data())
    ours, own = jax_bn.BatchNorm(), linen.BatchNorm(use_running_average=False)

    def compiled(layer: Any, **options: Any) -> Callable[[], Any]:
        variables = layer.init(jax.random.key(0), x[:2], **options)

        @jax.jit
        def step(variables: Any, x: Any) -> Any:
            def forward(params: Any, x: Any) -> Any:
                given = {**variables, "params": params}
                return layer.apply(given, x, mutable=["batch_stats"], **options)

            y, back, state = jax.vjp(forward, variables["params"], x, has_aux=True)
            return y, back(gradient), state

        return lambda: jax.block_until_ready(step(variables, x))

    options = {"use_running_average": False}
    functions = {
        "masked": compiled(_WithMask(ours, mask, options)),
        "flax": compiled(_WithMask(own, mask[..., None], {})),
    }
    report_ratios("JAX", alternate(functions, rounds), own="flax", bar=1.3)


class _WithMask(linen.Module):
    """A layer with its mask bound."""

    layer: Any
    mask: Any
    options: dict[str, Any]

    @linen.compact
    def __call__(self, x: Any) -> Any:
        mask = self.mask[: len(x)]
        return self.layer(x, mask=mask, **self.options)


def graphs() -> None:
    """Graphs of torch.compile for all modes of a small model."""
    counter = CompileCounter()
    model = nn.Sequential(nn.Linear(4, 3), BatchNorm(3), nn.ReLU(), BatchNorm(3))
    compiled = torch.compile(model, backend=counter)
    for _ in range(3):
        for train, update in ((True, True), (True, False), (False, False)):
            model.train(train)
            with (
                torch.set_grad_enabled(train),
                batch_norm_mode(compiled, update=update, use_running_average=not train),
            ):
                compiled(torch.randn(8, 4))
    report("torch.compile", graphs=counter.frame_count, bar=3)


def traces() -> None:
    """Traces of jit for all modes of one layer."""
    layer, x = jax_bn.BatchNorm(), jnp.ones((8, 4))
    variables = layer.init(jax.random.key(0), x, use_running_average=True)
    seen = []

    @functools.partial(jax.jit, static_argnums=(1, 2))
    def forward(stats: Any, train: bool, update: bool) -> Any:
        seen.append((train, update))
        return layer.apply(
            {**variables, "batch_stats": stats},
            x,
            use_running_average=not train,
            mutable=["batch_stats"] if update else [],
        )[1].get("batch_stats", stats)

    stats = variables["batch_stats"]
    for _ in range(3):
        for flags in ((True, True), (True, False), (False, False)):
            stats = forward(stats, *flags)
    report("jax.jit", traces=len(seen), bar=3)


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns x, the gradient of y, and a mask with half to all steps valid."""
    rng = np.random.default_rng(0)
    x = rng.normal(1, 2, SHAPE).astype(np.float32)
    lengths = rng.integers(SHAPE[1] // 2, SHAPE[1] + 1, SHAPE[0])
    mask = np.arange(SHAPE[1])[None] < lengths[:, None]
    return x, rng.normal(size=SHAPE).astype(np.float32), mask


def alternate(functions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Returns the median seconds of each, called in turn after one call each."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for i in range(rounds + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if i:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def report_ratios(
    framework: str, medians: dict[str, float], own: str, bar: float
) -> None:
    """Prints milliseconds of all and each one's ratio to the library's own layer."""
    for name, seconds in medians.items():
        report(
            f"{framework} {SHAPE} forward + backward, {name}",
            milliseconds=1e3 * seconds,
            ratio=seconds / medians[own],
            bar=bar,
        )


def report(what: str, **values: float) -> None:
    """Prints one JSON line."""
    print(json.dumps({"what": what} | {k: round(v, 3) for k, v in values.items()}))


if __name__ == "__main__":
    main()
