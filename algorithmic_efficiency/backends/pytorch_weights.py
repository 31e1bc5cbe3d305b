"""Which examples of a PyTorch batch are real, without asking a GPU more than needed.

Batch norm is fastest where no example is padding, and whether there is one is known
when a batch is placed. A submission may change `weights` afterwards, in place or by
another tensor, so that knowledge holds for one tensor, and while PyTorch has counted no
change of it. The counter misses what goes through `weights.data` or a NumPy view; on a
CPU that does not matter, since there the values themselves are looked at every time.
"""

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary


class RealWeights:
    """Remembers tensors that held no 0 when they were placed."""

    def __init__(self) -> None:
        self._seen = WeakTensorKeyDictionary()

    def remember(self, weights: Tensor) -> None:
        """Notes that `weights` [B] holds no 0 now."""
        if not weights.is_inference():  # whose changes nobody counts
            self._seen[weights] = _state(weights)

    def unchanged(self, weights: Tensor) -> bool:
        """Says whether this very tensor was noted and has not been changed since."""
        return weights in self._seen and self._seen[weights] == _state(weights)

    def mask(self, weights: Tensor | None) -> Tensor | None:
        """Returns None where every example is known to be real, else the weights."""
        if weights is None:
            return None
        if weights.device.type == "cpu":
            return None if bool((weights != 0).all()) else weights
        return None if self.unchanged(weights) else weights


def _state(weights: Tensor) -> tuple[int, int, torch.Size]:
    """Returns what differs after a change in place, or of the memory behind it."""
    return weights._version, weights.data_ptr(), weights.shape
