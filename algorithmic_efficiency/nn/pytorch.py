"""PyTorch layers and functions that several models share.

Parameters start at zero: their values are drawn once for both frameworks, from
`Definition.initial`, so drawing them here as well would only cost time.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": partial(F.relu, inplace=True),
    "silu": F.silu,
    "gelu": partial(F.gelu, approximate="tanh"),
    "tanh": torch.tanh,
}
LAYER_NORM_EPSILON = 1e-6


class Conv(nn.Conv2d):
    """A square 2-D convolution without bias, weights zero and channels last.

    The input is padded by (size - 1) / 2 on every side, whatever the stride.
    """

    def __init__(
        self, in_channels: int, out_channels: int, size: int, stride: int = 1
    ) -> None:
        super().__init__(
            in_channels, out_channels, size, stride, padding=size // 2, bias=False
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def reset_parameters(self) -> None:
        """Fills the weights with zeros instead of drawing them."""
        nn.init.zeros_(self.weight)


class Dense(nn.Linear):
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
