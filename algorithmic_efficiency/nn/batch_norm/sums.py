"""Sums and statistics over the valid positions of one process or of all of them."""

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor


class Seen(NamedTuple):
    """What one forward pass has seen per channel, over the valid positions.

    Attributes:
      mean, var: [1, C, 1, ...], var being the population's; gradients flow.
      constant: mean without gradient.
      centred: x - constant, 0 where x is not valid.
      count: how many positions.
    """

    mean: Tensor
    var: Tensor
    constant: Tensor
    centred: Tensor
    count: Tensor


class SumOverProcesses(torch.autograd.Function):
    """All-reduce; each process's loss depends on the sum, so gradients are summed."""

    @staticmethod
    def forward(local: Tensor) -> Tensor:
        """Returns the sum over all processes."""
        total = local.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Saves nothing: the gradient does not depend on the values."""

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Returns the sum of the processes' gradients."""
        return SumOverProcesses.apply(gradients[0])  # type: ignore[no-untyped-call]


def own(local: Tensor) -> Tensor:
    """Returns what one process has: the sum where there is one process."""
    return local


def select(valid: Tensor | None, x: Tensor) -> Tensor:
    """Returns x with 0 where it is not valid; there, nothing flows back either."""
    return x if valid is None else torch.where(valid, x, 0)


def column(value: Tensor, x: Tensor) -> Tensor:
    """Returns a value per channel [C], broadcastable to x [B, C, ...]."""
    return value.view([1, -1] + [1] * (x.ndim - 2))
