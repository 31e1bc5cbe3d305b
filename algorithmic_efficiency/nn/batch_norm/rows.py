"""Takes the valid rows out of a matrix and puts them back: each undoes the other.

Normalising only the valid rows with PyTorch's own kernel is the fastest masked batch
norm on a CPU, and padding that is never read cannot do harm, in any derivative.
"""

from typing import Any

import torch
from torch import Tensor


def take_rows(x: Tensor, valid: Tensor) -> Tensor:
    """Returns the rows of x [N, C] where valid [N] is true, in order."""
    result: Tensor = _Take.apply(x, valid)  # type: ignore[no-untyped-call]
    return result


def put_rows(rows: Tensor, valid: Tensor) -> Tensor:
    """Returns [N, C] with `rows` where valid [N] is true and 0 elsewhere."""
    result: Tensor = _Put.apply(rows, valid)  # type: ignore[no-untyped-call]
    return result


class _Take(torch.autograd.Function):
    """Its gradient puts the rows' gradient back among zeros."""

    @staticmethod
    def forward(x: Tensor, valid: Tensor) -> Tensor:
        return x.index_select(0, valid.nonzero().squeeze(1))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (valid,) = ctx.saved_tensors
        return put_rows(gradients[0], valid), None


class _Put(torch.autograd.Function):
    """Its gradient takes the valid rows."""

    @staticmethod
    def forward(rows: Tensor, valid: Tensor) -> Tensor:
        full = rows.new_empty((valid.numel(), rows.shape[1]))
        full.index_copy_(0, valid.nonzero().squeeze(1), rows)
        return full.index_fill_(0, (~valid).nonzero().squeeze(1), 0)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (valid,) = ctx.saved_tensors
        return take_rows(gradients[0], valid), None
