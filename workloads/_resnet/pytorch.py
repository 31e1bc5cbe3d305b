"""Stages and shortcuts of residual networks in PyTorch (He et al., 2016)."""

from collections.abc import Callable

from torch import Tensor, nn

from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm
from algorithmic_efficiency.nn.pytorch import Conv

# Makes a block of (input channels, width, stride), which is called with (x, weights).
Block = Callable[[int, int, int], nn.Module]


def stages(
    block: Block, stage_sizes: tuple[int, ...], width: int, expansion: int
) -> dict[str, nn.ModuleList]:
    """Returns 'layer1', 'layer2', ... for inputs of `width` channels.

    Stage i has `stage_sizes[i]` blocks of width `width * 2**i` and `expansion` times as
    many output channels; every stage but the first halves height and width.
    """
    made, channels = {}, width
    for i, blocks in enumerate(stage_sizes):
        stage = made[f"layer{i + 1}"] = nn.ModuleList()
        for number in range(blocks):
            stride = 1 if i == 0 or number else 2
            stage.append(block(channels, width * 2**i, stride))
            channels = expansion * width * 2**i
    return made


class Downsample(nn.Module):
    """The shortcut where the shape changes: a 1x1 convolution and batch norm."""

    def __init__(self, channels: int, features: int, stride: int) -> None:
        super().__init__()
        self.conv = Conv(channels, features, 1, stride)
        self.bn = BatchNorm(features)

    def forward(self, x: Tensor, weights: Tensor | None) -> Tensor:
        """Returns the input at the block's output shape."""
        return self.bn(self.conv(x), weights)
