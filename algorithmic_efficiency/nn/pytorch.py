"""PyTorch layers and functions that several models share.

Parameters start at zero: their values are drawn once for both frameworks, from
`Definition.initial`, so drawing them here as well would only cost time.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from algorithmic_efficiency.nn import pytorch_cpu

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": partial(F.relu, inplace=True),
    "silu": F.silu,
    "gelu": partial(F.gelu, approximate="tanh"),
    "tanh": torch.tanh,
}
LAYER_NORM_EPSILON = 1e-6


class Conv(nn.Conv2d):
    """A square 2-D convolution without bias that starts at zero.

    The input is padded by (size - 1) / 2 on every side, whatever the stride. Channels
    come last in memory where they do in the input; weights and their gradients are
    contiguous whatever the input is.
    """

    def __init__(
        self, in_channels: int, out_channels: int, size: int, stride: int = 1
    ) -> None:
        super().__init__(
            in_channels, out_channels, size, stride, padding=size // 2, bias=False
        )

    def reset_parameters(self) -> None:
        """Fills the weights with zeros instead of drawing them."""
        nn.init.zeros_(self.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns [B, F, ceil(H / stride), ceil(W / stride)] of x [B, C, H, W]."""
        weight = with_plain_gradient(self.weight)
        return F.conv2d(x, weight, None, self.stride, self.padding)


def with_plain_gradient(weight: torch.Tensor) -> torch.Tensor:
    """Returns a parameter for an operation whose gradient may have any layout.

    The parameter's own gradient is contiguous then, so that `grad.view(-1)` works. One
    that has no gradient, as in an export, is returned as it is.
    """
    if not weight.requires_grad:
        return weight
    result: torch.Tensor = _PlainGradient.apply(weight)  # type: ignore[no-untyped-call]
    return result


class _PlainGradient(torch.autograd.Function):
    """The identity, and the identity's gradient in contiguous memory."""

    @staticmethod
    def forward(weight: torch.Tensor) -> torch.Tensor:
        return weight.view_as(weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Saves nothing: the gradient does not depend on the values."""

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return gradients[0].contiguous()


class Linear(nn.Linear):
    """A dense layer whose products oneDNN makes where MKL is slower (`pytorch_cpu`)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns [..., M] of x [..., K]."""
        return pytorch_cpu.linear(x, self.weight, self.bias)


class Dense(Linear):
    """A dense layer that starts at zero."""

    def reset_parameters(self) -> None:
        """Fills weights and bias with zeros instead of drawing them."""
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


class LayerNorm(nn.Module):
    """Layer norm whose scale is 1 + parameter; both parameters start at zero.

    y = (x - mean) / sqrt(variance + 1e-6) * (1 + weight) + bias over the last axis, the
    variance being the population's.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns [..., C], in the dtype of x."""
        shape = (len(self.weight),)
        return F.layer_norm(x, shape, 1.0 + self.weight, self.bias, LAYER_NORM_EPSILON)
