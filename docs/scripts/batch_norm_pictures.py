"""Draws the pictures of docs/batch_norm.md and prints its truth table.

    python -m docs.scripts.batch_norm_pictures          draws docs/images/batch_norm_*
    python -m docs.scripts.batch_norm_pictures --table  prints the table

Every point and every cell is the result of running the layers.
"""

import argparse
import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import torch
from torch import nn

from algorithmic_efficiency.nn.batch_norm import jax as jax_bn
from algorithmic_efficiency.nn.batch_norm import resolve
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm, batch_norm_mode
from algorithmic_efficiency.spec import ForwardPassMode

IMAGES = Path(__file__).resolve().parent.parent / "images"
TRAIN, EVAL = ForwardPassMode.TRAIN, ForwardPassMode.EVAL
CELLS = [(TRAIN, True), (TRAIN, False), (EVAL, False), (EVAL, True)]
STEPS, WARM_UP, MEAN = 40, 10, 3.0
BLUE, ORANGE, GREY = "#2563a8", "#d1600a", "#9a9a9a"


def main() -> None:
    """Prints the table or draws the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true")
    if parser.parse_args().table:
        print(table())
        return
    matplotlib.use("Agg")
    draw_cells(IMAGES / "batch_norm_cells.png")
    draw_fault(IMAGES / "batch_norm_freezing.png")


def batches() -> list[np.ndarray]:
    """Returns a batch [16, 1] for each step, with mean 3."""
    rng = np.random.default_rng(0)
    return [rng.normal(MEAN, 3, (16, 1)).astype(np.float32) for _ in range(STEPS)]


# The two layers behind one interface: call it, read its state.


class Torch:
    """Our PyTorch layer."""

    name = "PyTorch"

    def __init__(self) -> None:
        self.layer = BatchNorm(1)

    def __call__(self, x: np.ndarray, *, update: bool, running: bool) -> np.ndarray:
        """Returns the output of one forward pass."""
        with batch_norm_mode(self.layer, update=update, use_running_average=running):
            result: np.ndarray = self.layer(torch.tensor(x)).detach().numpy()
        return result

    def state(self) -> tuple[float, ...]:
        """Returns running mean, running variance and number of updates."""
        return tuple(buffer.item() for buffer in self.layer.buffers())


class Jax:
    """Our JAX layer."""

    name = "JAX"

    def __init__(self) -> None:
        self.layer = jax_bn.BatchNorm()
        x = jnp.zeros((2, 1))
        self.variables = self.layer.init(jax.random.key(0), x, use_running_average=True)

    def __call__(self, x: np.ndarray, *, update: bool, running: bool) -> np.ndarray:
        """Returns the output of one forward pass."""
        y, new = self.layer.apply(
            self.variables,
            x,
            use_running_average=running,
            mutable=["batch_stats"] if update else [],
        )
        self.variables = {**self.variables, **new}
        return np.asarray(y)

    def state(self) -> tuple[float, ...]:
        """Returns running mean, running variance and number of updates."""
        stats = self.variables["batch_stats"]
        return tuple(float(stats[key].item()) for key in ("mean", "var", "count"))


def forward(
    layer: Any, x: np.ndarray, mode: Any, update: bool, running: bool | None = None
) -> np.ndarray:
    """One forward pass by our policy."""
    running, update = resolve(mode, update, running)
    result: np.ndarray = layer(x, update=update, running=running)
    return result


# The truth table.


def table() -> str:
    """Returns the truth table in Markdown, as both frameworks behave."""
    rows = [
        "| mode | update_batch_norm | use_running_average_bn |"
        " normalises with | running statistics |",
        "|---|---|---|---|---|",
    ]
    for mode, update, running in itertools.product(
        (TRAIN, EVAL), (True, False), (None, False, True)
    ):
        found = {behaviour(make(), mode, update, running) for make in (Torch, Jax)}
        if len(found) != 1:
            raise RuntimeError(f"The frameworks differ: {found}.")
        rows.append(f"| {mode.name} | {update} | {running} | {found.pop()} |")
    return "\n".join(rows)


def behaviour(layer: Any, mode: Any, update: bool, running: bool | None) -> str:
    """Says what one forward pass did, from its output and the state."""
    first, second = batches()[:2]
    forward(layer, first, TRAIN, True)
    before = mean, var, _ = layer.state()
    try:
        y = forward(layer, second, mode, update, running)
    except ValueError:
        return "- | unchanged: ValueError"
    stored = (second - mean) / np.sqrt(var + 1e-5)
    own = (second - second.mean()) / np.sqrt(second.var() + 1e-5)
    normaliser = "batch" if np.allclose(y, own, atol=1e-4) else "running"
    if normaliser == "running" and not np.allclose(y, stored, atol=1e-4):
        raise RuntimeError("The output fits neither normaliser.")
    moved = "updated" if layer.state() != before else "unchanged"
    return f"{normaliser} statistics | {moved}"


# The pictures.


def draw_cells(path: Path) -> None:
    """The running mean against the step for the four cells, in both frameworks."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(11, 2.9), sharey=True)
    for axis, (mode, update) in zip(axes, CELLS, strict=True):
        for make, style in (
            (Torch, {"color": BLUE, "linewidth": 2.5}),
            (
                Jax,
                {"color": ORANGE, "linestyle": "none", "marker": ".", "markevery": 2},
            ),
        ):
            means, refused = follow(make(), mode, update)
            axis.plot(means, label=make.name, **style)
        axis.axvspan(0, WARM_UP, color="#eeeeee", linewidth=0)
        title = "ValueError, nothing moves" if refused else "moves every step"
        title = title if update else "stays, bit for bit"
        axis.set_title(f"{mode.name}, update={update}\n{title}", fontsize=10)
        decorate(axis)
    axes[0].set_ylabel("running mean")
    axes[0].text(0.6, 3.25, "training", fontsize=8.5)
    axes[0].legend(loc="lower right", frameon=False, fontsize=9)
    axes[0].text(STEPS, MEAN + 0.12, "mean of the data", ha="right", fontsize=8.5)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def follow(layer: Any, mode: Any, update: bool) -> tuple[list[float], bool]:
    """Returns the running mean before and after every step, and whether it raised.

    The first steps are ordinary training, so that the cell starts from a state that
    has moved.
    """
    means, refused = [layer.state()[0]], False
    for step, x in enumerate(batches()):
        try:
            forward(layer, x, *((mode, update) if step >= WARM_UP else (TRAIN, True)))
        except ValueError:
            refused = True
        means.append(layer.state()[0])
    return means, refused


def draw_fault(path: Path) -> None:
    """Two frozen calls in a row: the public project's fault beside ours."""
    from matplotlib import pyplot as plt

    theirs, ours = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    panels = {
        "the public project before its repair": (theirs, public_forward),
        "here": (ours, our_forward),
    }
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.3), sharey=True)
    for axis, (title, (layer, call)) in zip(axes, panels.items(), strict=True):
        means = [layer.running_mean.item()]
        for step, x in enumerate(batches()):
            call(layer, torch.tensor(x), step not in (10, 11))
            means.append(layer.running_mean.item())
        axis.axvspan(10, 12, color="#e9d8a6", alpha=0.7, linewidth=0)
        broken = layer is theirs
        axis.plot(means, color=ORANGE if broken else BLUE, linewidth=2.5)
        note = "frozen for ever:\nmomentum is lost" if broken else "goes on as before"
        axis.text(26, 1.35, note, ha="center", fontsize=9.5)
        axis.set_title(title, fontsize=11)
        axis.text(12.4, 0.12, "two calls with\nupdate_batch_norm=False", fontsize=8.5)
        decorate(axis)
    axes[0].set_ylabel("running mean")
    axes[0].text(STEPS, MEAN + 0.1, "mean of the data", ha="right", fontsize=8.5)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def public_forward(layer: Any, x: torch.Tensor, update: bool) -> None:
    """The fault, in our words: each freeze saves the momentum, even a frozen one."""
    if not update:
        layer.saved = layer.momentum
        layer.momentum = 0.0
    elif hasattr(layer, "saved"):
        layer.momentum = layer.saved
    layer(x)


def our_forward(layer: Any, x: torch.Tensor, update: bool) -> None:
    """The same layer of torch's inside our switch."""
    with batch_norm_mode(layer, update=update):
        layer(x)


def decorate(axis: Any) -> None:
    """Gives a panel its mean line, limits and labels."""
    axis.axhline(MEAN, color=GREY, linestyle="--", linewidth=1)
    axis.set_xlim(0, STEPS)
    axis.set_ylim(-0.15, MEAN + 0.6)
    axis.set_xlabel("step")
    axis.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
