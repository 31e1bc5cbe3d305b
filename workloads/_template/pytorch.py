"""The network in PyTorch; jax.py has the same layers under the same names."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class Model(nn.Module):
    """Rows [B, 4] to numbers [B, 1]; its arguments are `model` in workload.py."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(4, width)
        self.fc2 = nn.Linear(width, 1)

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """Returns a number for each row, those of weight 0 included."""
        return self.fc2(self.fc1(batch["inputs"]).tanh())
