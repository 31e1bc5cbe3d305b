"""How projects keep a batch norm layer: names, conventions and defaults, one row each.

`interchange` reads and writes them. Sources: torch.nn.BatchNorm2d of 2.13, flax 0.12
(linen and nnx), equinox 0.13, and the operator BatchNormalization of ONNX, opset 15.
"""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a project keeps a layer; names of nested entries are joined by dots.

    Attributes:
      convention: what its momentum means, a project of `momentum_from`.
      momentum: its default setting.
      variance: what enters its running variance; None: the layer says it.
      epsilon: the name of that setting.
      count: the name of the number of updates, if it keeps that.
      first: the name of a flag that is true before the first update; this update then
        fills in the statistics instead of moving them.
    """

    convention: str
    momentum: float
    variance: str | None
    scale: str = "weight"
    bias: str = "bias"
    mean: str = "mean"
    var: str = "var"
    count: str | None = None
    first: str | None = None
    epsilon: str = "epsilon"


_BUFFERS: dict[str, Any] = {
    "mean": "running_mean",
    "var": "running_var",
    "count": "num_batches_tracked",
    "epsilon": "eps",
}
_COLLECTIONS: dict[str, Any] = {
    "scale": "params.scale",
    "bias": "params.bias",
    "mean": "batch_stats.mean",
    "var": "batch_stats.var",
}
LAYOUTS: dict[str, Layout] = {
    # A state_dict of BatchNorm1d, 2d, 3d or SyncBatchNorm, and of our PyTorch layer.
    "torch": Layout("pytorch", 0.1, "unbiased", **_BUFFERS),
    "ours_pytorch": Layout("pytorch", 0.1, None, **_BUFFERS),
    # The variables of flax.linen.BatchNorm, and of our JAX layer.
    "linen": Layout("flax", 0.99, "population", **_COLLECTIONS),
    "ours_jax": Layout("pytorch", 0.1, None, count="batch_stats.count", **_COLLECTIONS),
    # nnx.to_pure_dict(nnx.state(layer)) of flax.nnx.BatchNorm.
    "nnx": Layout("flax", 0.99, "population", scale="scale"),
    # equinox.nn.BatchNorm: weight and bias; mean and var are the two arrays that
    # state.get(layer.batch_state_index) gives, counter is that of batch_counter; with
    # mode='ema' those of ema_state_index, and first_time of ema_first_time_index.
    "equinox": Layout("equinox", 0.99, "population", count="counter", epsilon="eps"),
    "equinox_ema": Layout(
        "equinox", 0.99, "population", first="first_time", epsilon="eps"
    ),
    # The inputs of the operator BatchNormalization, under the names of opset 15.
    "onnx": Layout(
        "onnx", 0.9, "population", "scale", "B", "input_mean", "input_var"
    ),
}  # fmt: skip
