"""Draws the picture of the batch norm family in docs/batch_norm.md.

    python -m docs.scripts.batch_norm_family_pictures

Every point is the result of running the layers; the means are printed.
"""

import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch

from algorithmic_efficiency.nn.batch_norm.accumulated import AccumulateBatchNorm
from algorithmic_efficiency.nn.batch_norm.family import batch_norm

DOCS = Path(__file__).resolve().parent.parent
STEPS, EXAMPLES, MICRO = 200, 64, (1, 4, 16)
COLOURS = {"plain": "#9a9a9a", "ghost": "#d1600a", "accumulated": "#2563a8"}


def main() -> None:
    """Draws the picture."""
    matplotlib.use("Agg")
    draw_variance(DOCS / "images" / "batch_norm_family.png")


def errors(kind: str, micro: int) -> list[float]:
    """Returns the relative error of the running variance after each step.

    A batch of 64 values has four groups of 16 with means that are as far apart as the
    values of a group, as where a batch is cut by its order. The truth is the variance
    of all values that could have been drawn.

    Args:
      kind: 'plain': every micro-batch is a forward pass that updates; 'ghost': one pass
        with `micro` ghost batches; 'accumulated': micro-batches that are one step.
      micro: how many micro-batches a step has.
    """
    rng = np.random.default_rng(0)
    size = EXAMPLES // micro
    layers = {
        "plain": lambda: batch_norm("batch", 1),
        "ghost": lambda: batch_norm(f"ghost:{size}", 1),
        "accumulated": lambda: AccumulateBatchNorm(1),
    }
    layer, found = layers[kind](), []
    for _ in range(STEPS):
        means = np.repeat([-1.5, -0.5, 0.5, 1.5], EXAMPLES // 4)
        batch = torch.tensor(rng.normal(means)[:, None], dtype=torch.float32)
        for part in [batch] if kind == "ghost" else batch.split(size):
            layer(part)
        if isinstance(layer, AccumulateBatchNorm):
            layer.update_stats()
        truth = 1.0 + 1.25
        found.append(abs(layer.running_var.item() - truth) / truth)
    return found


def draw_variance(path: Path) -> None:
    """Draws the errors of plain, ghost and accumulated batch norm."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - after the choice of a backend

    figure, axes = plt.subplots(1, len(MICRO), figsize=(9, 3), sharey=True)
    for axis, micro in zip(axes, MICRO, strict=True):
        for kind, colour in COLOURS.items():
            found = errors(kind, micro)
            axis.plot(found, color=colour, label=kind, linewidth=1)
            line = {"kind": kind, "micro_batches": micro}
            print_line(line | {"mean_of_last_100": float(np.mean(found[100:]))})
        axis.set(title=f"K = {micro}", xlabel="step", yscale="log", ylim=(1e-4, 2))
    axes[0].set_ylabel("relative error of the running variance")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def print_line(values: dict[str, Any]) -> None:
    """Prints one JSON line."""
    print(json.dumps(values))


if __name__ == "__main__":
    main()
