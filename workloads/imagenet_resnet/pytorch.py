"""ResNet-50 v1.5 in PyTorch (He et al. 2016; the stride is on the 3x3 convolution)."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm
from algorithmic_efficiency.nn.pytorch import ACTIVATIONS, Conv, Dense
from workloads._resnet.pytorch import Downsample, stages


class Model(nn.Module):
    """Images [B, 3, H, W] in channels_last format to logits [B, num_classes].

    Stage i has `stage_sizes[i]` blocks of `width * 2**i` inner and four times as many
    outer channels. `activation` is relu, silu or gelu (tanh approximation).
    """

    def __init__(
        self,
        num_classes: int = 1000,
        stage_sizes: tuple[int, ...] = (3, 4, 6, 3),
        width: int = 64,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.act = ACTIVATIONS[activation]
        self.conv1 = Conv(3, width, 7, 2)
        self.bn1 = BatchNorm(width)
        block = partial(Bottleneck, activation=activation)
        made = stages(block, stage_sizes, width, expansion=4)
        self.stages = list(made)
        for name, stage in made.items():
            self.add_module(name, stage)
        self.fc = Dense(4 * width * 2 ** (len(stage_sizes) - 1), num_classes)

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """Returns logits; examples of weight 0 do not enter the batch statistics."""
        weights = batch.get("weights")
        x = self.act(self.bn1(self.conv1(batch["inputs"]), weights))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for name in self.stages:
            for block in self.get_submodule(name):
                x = block(x, weights)
        return self.fc(x.mean((2, 3)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut."""

    def __init__(self, channels: int, inner: int, stride: int, activation: str) -> None:
        super().__init__()
        self.act = ACTIVATIONS[activation]
        self.conv1 = Conv(channels, inner, 1)
        self.bn1 = BatchNorm(inner)
        self.conv2 = Conv(inner, inner, 3, stride)
        self.bn2 = BatchNorm(inner)
        self.conv3 = Conv(inner, 4 * inner, 1)
        self.bn3 = BatchNorm(4 * inner)
        if stride != 1 or channels != 4 * inner:
            self.downsample = Downsample(channels, 4 * inner, stride)
        else:
            self.downsample = None

    def forward(self, x: Tensor, weights: Tensor | None) -> Tensor:
        """Returns act(shortcut + branch)."""
        y = self.act(self.bn1(self.conv1(x), weights))
        y = self.act(self.bn2(self.conv2(y), weights))
        y = self.bn3(self.conv3(y), weights)
        y += self.downsample(x, weights) if self.downsample else x
        return self.act(y)
