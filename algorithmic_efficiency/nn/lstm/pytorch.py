"""The LSTM layer of our PyTorch models; the equations are in `__init__.py`."""

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


@dataclasses.dataclass(frozen=True)
class Frames:
    """The valid frames of a batch, prepared once for all its layers.

    Attributes:
      valid: bool [B, T].
      order: [B * T], the rows of [B * T, C] with each example's valid frames reversed.
      lengths: int64 [B] in the CPU's memory, at least 1; None where it is not needed.
    """

    valid: Tensor
    order: Tensor
    lengths: Tensor | None

    @classmethod
    def of(cls, valid: Tensor) -> "Frames":
        """Reads a mask [B, T], nonzero for the first frames of each example.

        An example may have none. On a GPU this waits for the device; no layer does.
        """
        valid = valid != 0
        size, steps = valid.shape
        length = valid.sum(1, keepdim=True)
        frame = torch.arange(steps, device=valid.device)
        order = torch.where(frame < length, length - 1 - frame, frame)
        first = steps * torch.arange(size, device=valid.device)[:, None]
        # Packing refuses 0; the one frame that such an example gets is hidden again.
        lengths = length.flatten().clamp(min=1).cpu() if valid.is_cuda else None
        return cls(valid, (order + first).flatten(), lengths)


class LSTM(nn.LSTM):
    """One bidirectional layer of H = `hidden_size` per direction; it starts at zero."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, batch_first=True, bidirectional=True)

    def reset_parameters(self) -> None:
        """Fills weights and biases with zeros instead of drawing them."""
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, frames: Frames) -> Tensor:  # type: ignore[override]
        """Returns [B, T, 2H] of x [B, T, D], 0 where a frame is not valid."""
        if frames.lengths is None:
            both = self._by_direction(x, frames.order)
        else:
            both = self._packed(x, frames.lengths)
        return torch.where(frames.valid[..., None], both, 0)

    def _packed(self, x: Tensor, lengths: Tensor) -> Tensor:
        """One call for both directions, which cuDNN runs side by side."""
        packed = pack_padded_sequence(x, lengths, True, enforce_sorted=False)
        both, _ = super().forward(packed)
        return pad_packed_sequence(both, True, total_length=x.shape[1])[0]

    def _by_direction(self, x: Tensor, order: Tensor) -> Tensor:
        """Two calls without packing, which are oneDNN's, four times as fast.

        Frames after the last valid one do not reach those before it, in a direction
        that reads them last.
        """
        one, other = self.all_weights
        ahead = self._direction(x, one)
        back = self._direction(permute(x, order), other)
        return torch.cat([ahead, permute(back, order)], -1)

    def _direction(self, x: Tensor, weights: Any) -> Tensor:
        start = x.new_zeros(1, len(x), self.hidden_size)
        return torch.lstm(
            x, (start, start), weights, True, 1, 0.0, self.training, False, True
        )[0]


def permute(x: Tensor, order: Tensor) -> Tensor:
    """Returns the rows of x [B, T, C] in an `order` [B * T] that undoes itself."""
    rows: Tensor = _Permute.apply(x.reshape(-1, x.shape[-1]), order)  # type: ignore[no-untyped-call]
    return rows.view(x.shape)


class _Permute(torch.autograd.Function):
    """Its gradient is another permutation, where PyTorch would add rows up."""

    @staticmethod
    def forward(rows: Tensor, order: Tensor) -> Tensor:
        return rows.index_select(0, order)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (order,) = ctx.saved_tensors
        rows: Tensor = _Permute.apply(gradients[0], order)  # type: ignore[no-untyped-call]
        return rows, None
