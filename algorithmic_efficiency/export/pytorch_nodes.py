"""Batch norm as one node of ONNX, for the trace of a model.

The exporter would write batch norm as whatever operations our layer consists of. Here
the node is written by us: its `momentum` is ONNX's, the weight of the old value.
"""

import torch
from torch import Tensor, nn

from algorithmic_efficiency.errors import UsageError
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm

STATISTICS = ("running_mean", "running_var")


class OnnxBatchNorm(nn.Module):
    """A layer of ours as the operator BatchNormalization, to be traced and not run.

    Its parameters have the layer's names; its weight is the factor, so 1 + weight of a
    layer with a zero-centred scale.

    Attributes:
      old: running mean and variance [C]; inputs of the trace, as the exporter would
        compute with constants beforehand.
      new: what they become in training mode.
    """

    def __init__(self, layer: BatchNorm, *, training: bool) -> None:
        super().__init__()
        if not layer.track_running_stats:
            raise UsageError(
                "Found a batch norm without running statistics, which ONNX's operator "
                "needs."
            )
        if layer.momentum is None and training:
            raise UsageError(
                "Found momentum None, a cumulative average, which ONNX does not have. "
                "Export without --training."
            )
        self.on_axis_1 = layer.on_axis_1
        self.by_batch, self.eps = training, layer.eps
        self.momentum = layer.momentum
        scale = torch.ones_like(layer.running_mean)
        if layer.weight is not None:
            scale = layer.weight.detach() + layer.zero_centered_scale
        bias = torch.zeros_like(scale) if layer.bias is None else layer.bias.detach()
        self.weight = nn.Parameter(scale, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.old = tuple(getattr(layer, name).detach().clone() for name in STATISTICS)
        self.new: tuple[Tensor, ...] = ()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Returns x normalised, 0 where it is not valid; see `BatchNorm.forward`."""
        z, valid = self.on_axis_1(x, mask)
        if valid is None:
            return self._node(z).reshape(x.shape)
        if self.by_batch:
            raise UsageError(
                "Found a batch norm that leaves padding out, which ONNX's operator "
                "cannot do in training mode. Export without --training."
            )
        y = self._node(torch.where(valid, z, 0))
        return torch.where(valid, y, 0).reshape(x.shape)

    def _node(self, z: Tensor) -> Tensor:
        """Returns y of the node, and keeps what the running statistics become."""
        old = 0.9 if self.momentum is None else 1 - self.momentum
        outputs = [z, *self.old] if self.by_batch else [z]
        y, *new = torch.onnx.ops.symbolic_multi_out(
            "BatchNormalization",
            [z, self.weight, self.bias, *self.old],
            {"epsilon": self.eps, "momentum": old, "training_mode": int(self.by_batch)},
            dtypes=[like.dtype for like in outputs],
            shapes=[like.shape for like in outputs],
            version=15,
        )
        # They are outputs of the file as they are: ONNX Runtime gives the old and the
        # new statistics one piece of memory where they are anything else.
        self.new = tuple(new)
        return y


def replace(model: nn.Module, *, training: bool) -> None:
    """Puts an `OnnxBatchNorm` in the place of each batch norm of ours."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is BatchNorm:
                setattr(parent, name, OnnxBatchNorm(child, training=training))
            elif training and isinstance(child, BatchNorm):
                raise UsageError(
                    f"Found a {type(child).__name__}; ONNX's operator has no other "
                    "training mode than plain batch norm's. Export without --training."
                )


def nodes(model: nn.Module) -> list[tuple[str, OnnxBatchNorm]]:
    """Returns the replaced batch norms and their names."""
    return [(n, m) for n, m in model.named_modules() if isinstance(m, OnnxBatchNorm)]
