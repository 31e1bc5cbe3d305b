"""One hidden layer of sigmoids over the pixels of an image, in PyTorch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from algorithmic_efficiency.nn.pytorch import Dense


class Model(nn.Module):
    """Images [B, 1, H, W] of `pixels` pixels to logits [B, num_classes]."""

    def __init__(
        self, pixels: int = 784, width: int = 128, num_classes: int = 10
    ) -> None:
        super().__init__()
        self.fc1 = Dense(pixels, width)
        self.fc2 = Dense(width, num_classes)

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """Returns logits."""
        return self.fc2(torch.sigmoid(self.fc1(batch["inputs"].flatten(1))))
