"""ResNet-18 for small images out of PyTorch's own layers alone."""

import torch
import torch.nn.functional as F
from torch import nn


def norm(width):
    return nn.BatchNorm2d(width, eps=1e-5, momentum=0.1)


class PlainBlock(nn.Module):
    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = norm(width)
        self.downsample = nn.Sequential()
        if stride > 1 or channels != width:
            self.downsample.add_module(
                "conv", nn.Conv2d(channels, width, 1, stride, bias=False)
            )
            self.downsample.add_module("bn", norm(width))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class PlainResNet(nn.Module):
    """Images [B, 3, H, W] to logits; a 4x4 average pool takes the last H and W."""

    def __init__(self, width, sizes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = norm(width)
        channels = width
        for i, count in enumerate(sizes):
            blocks = []
            for k in range(count):
                stride = 2 if i > 0 and k == 0 else 1
                blocks.append(PlainBlock(channels, width * 2**i, stride))
                channels = width * 2**i
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self.count = len(sizes)
        self.fc = nn.Linear(channels, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for i in range(self.count):
            x = self.get_submodule(f"layer{i + 1}")(x)
        return self.fc(torch.flatten(F.avg_pool2d(x, 4), 1))
