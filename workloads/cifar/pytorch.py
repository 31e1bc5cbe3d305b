"""ResNet-18 for images of 32 x 32 in PyTorch (He et al., 2016)."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm
from algorithmic_efficiency.nn.pytorch import Conv, Dense
from workloads._resnet.pytorch import Downsample, stages


class Model(nn.Module):
    """Images [B, 3, H, W] in channels_last format to logits [B, num_classes].

    The first convolution is 3x3 without a stride and no pooling follows it. Stage i has
    `stage_sizes[i]` blocks of `width * 2**i` channels.
    """

    def __init__(
        self,
        num_classes: int = 10,
        stage_sizes: tuple[int, ...] = (2, 2, 2, 2),
        width: int = 64,
    ) -> None:
        super().__init__()
        self.conv1 = Conv(3, width, 3)
        self.bn1 = BatchNorm(width)
        made = stages(BasicBlock, stage_sizes, width, expansion=1)
        self.stages = list(made)
        for name, stage in made.items():
            self.add_module(name, stage)
        self.fc = Dense(width * 2 ** (len(stage_sizes) - 1), num_classes)

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """Returns logits; examples of weight 0 do not enter the batch statistics."""
        weights = batch.get("weights")
        x = F.relu(self.bn1(self.conv1(batch["inputs"]), weights), inplace=True)
        for name in self.stages:
            for block in self.get_submodule(name):
                x = block(x, weights)
        return self.fc(x.mean((2, 3)))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = Conv(channels, width, 3, stride)
        self.bn1 = BatchNorm(width)
        self.conv2 = Conv(width, width, 3)
        self.bn2 = BatchNorm(width)
        if stride != 1 or channels != width:
            self.downsample = Downsample(channels, width, stride)
        else:
            self.downsample = None

    def forward(self, x: Tensor, weights: Tensor | None) -> Tensor:
        """Returns relu(shortcut + branch)."""
        y = F.relu(self.bn1(self.conv1(x), weights), inplace=True)
        y = self.bn2(self.conv2(y), weights)
        y += self.downsample(x, weights) if self.downsample else x
        return F.relu(y, inplace=True)
