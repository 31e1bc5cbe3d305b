"""The front of the speech models in PyTorch: features, SpecAugment, subsampling."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from algorithmic_efficiency.backends.pytorch_ops import TorchOps
from algorithmic_efficiency.nn import pytorch_cpu
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm
from algorithmic_efficiency.nn.pytorch import ACTIVATIONS, Dense, with_plain_gradient
from workloads._librispeech import features as constants
from workloads._librispeech.metrics import best_labels

Inputs = tuple[Tensor, Tensor]  # audio [B, S] in units of 16 bits, paddings [B, S]


class FrontEnd(nn.Module):
    """Audio to normalised logarithmic mel features; it has no parameters.

    Attributes:
      time_masks, frequency_masks: how many each example gets while training.
    """

    filters: Tensor
    mean: Tensor
    stddev: Tensor
    window: Tensor

    def __init__(self, time_masks: int, frequency_masks: int) -> None:
        super().__init__()
        self.time_masks, self.frequency_masks = time_masks, frequency_masks
        arrays = {
            "filters": constants.mel_filters(),
            "mean": constants.MEAN,
            "stddev": constants.STDDEV,
            "window": constants.window(),
        }
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(array), persistent=False)

    def forward(self, inputs: Inputs, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns features [B, T, 80] and which frames are valid, bool [B, T].

        Args:
          inputs: audio and paddings, 1 from the first sample that does not count.
          weights: [B], 0 where an example is padding; None: all are real.
        """
        audio, paddings = inputs
        features = self.log_mel(audio, paddings)
        # A frame counts if any of its samples does, so if its first one does.
        starts = paddings[:, :: constants.HOP] == 0
        valid = F.pad(starts, (0, features.shape[1] - starts.shape[1]))
        if weights is not None:
            valid = valid & (weights != 0)[:, None]
        if self.training:
            features = self.spec_augment(features, valid)
        return features, valid

    @torch.no_grad()
    def log_mel(self, audio: Tensor, paddings: Tensor) -> Tensor:
        """Returns features [B, T, 80] of padded audio, T being odd; see `features`."""
        size = constants.padded_samples(audio.shape[1])
        sound = audio.new_zeros(len(audio), size)
        torch.addcmul(audio, audio, paddings, value=-1, out=sound[:, : audio.shape[1]])
        sound = torch.sub(sound[:, 1:], sound[:, :-1], alpha=constants.PRE_EMPHASIS)
        frames = sound.unfold(1, len(self.window), constants.HOP)
        windowed = sound.new_zeros(*frames.shape[:2], constants.FFT_SIZE)
        torch.mul(frames, self.window, out=windowed[..., : len(self.window)])
        spectrum = torch.fft.rfft(windowed)
        power = spectrum.real.square() + spectrum.imag.square()
        mel = torch.matmul(power, self.filters).clamp_(min=constants.FLOOR)
        return mel.log_().sub_(self.mean).div_(self.stddev)

    def spec_augment(self, features: Tensor, valid: Tensor) -> Tensor:
        """Returns features with random spans of frames and of bins set to 0.

        Draws from PyTorch's generator of the device, as often whatever the length.
        """
        length = valid.sum(1, dtype=features.dtype)[:, None]
        for axis, count in ((1, self.time_masks), (2, self.frequency_masks)):
            drawn = torch.rand(len(features), count, 2, device=features.device)
            if axis == 1:
                largest, limit = length * constants.TIME_MASK_SHARE, length
            else:
                largest = length.new_tensor(constants.FREQUENCY_MASK_BINS)
                limit = length.new_tensor(constants.BINS)
            hidden = spans(drawn, largest, limit, features.shape[axis])
            features = features.masked_fill(hidden.unsqueeze(3 - axis), 0.0)
        return features


def spans(drawn: Tensor, largest: Tensor, limit: Tensor, size: int) -> Tensor:
    """Returns which of `size` places lie in a random span, bool [B, size].

    Args:
      drawn: in [0, 1), [B, spans, 2]: the width and the place of each span.
      largest: the bound of the widths, broadcastable to [B, spans].
      limit: the spans lie in the first `limit` places; likewise.
      size: all places.
    """
    width = (drawn[..., 0] * largest).floor()
    start = (drawn[..., 1] * (limit - width + 1)).floor()
    place = torch.arange(size, device=drawn.device)
    inside = (place >= start[..., None]) & (place < (start + width)[..., None])
    return inside.any(1)


class StridedConv(nn.Conv2d):
    """The parameters of a 3x3 convolution with stride 2; they start at zero."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, 2)

    def reset_parameters(self) -> None:
        """Fills weights and bias with zeros instead of drawing them."""
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


class Subsample(nn.Module):
    """Two strided convolutions and a dense layer: a quarter of the frames.

    `activation` must map 0 to 0, which keeps padded frames at 0.
    """

    def __init__(self, channels: int, features: int, activation: str) -> None:
        super().__init__()
        self.act = ACTIVATIONS[activation]
        self.conv1 = StridedConv(1, channels)
        self.conv2 = StridedConv(channels, channels)
        self.linear = Dense(constants.BINS // 4 * channels, features)

    def forward(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Returns [B, ceil(T / 4), features], and which of its frames are valid.

        Args:
          features: [B, T, 80], T odd.
          valid: bool [B, T].
        """
        valid = valid[:, : features.shape[1] - 1 : 2]
        x = self._first(features, valid)
        valid = valid[:, ::2]
        weight = with_plain_gradient(self.conv2.weight)
        x = strided_conv(x.permute(0, 3, 1, 2), weight).permute(0, 2, 3, 1)
        x = self.act(x + self.conv2.bias) * valid[:, :, None, None]
        return self.linear(x.flatten(2)), valid

    def _first(self, features: Tensor, valid: Tensor) -> Tensor:
        """Returns the first convolution with the zeros around it that the second needs.

        As a product of the windows: those outside, and of padded frames, are 0 and have
        no bias, so that no mask and no padding has to touch the large result.
        """
        (before, after), (_, right) = (
            constants.TIME_PADS[1],
            constants.FREQUENCY_PADS[1],
        )
        border = (0, constants.FREQUENCY_PADS[0][1] + 2 * right, 2 * before, 2 * after)
        windows = F.pad(features, border).unfold(1, 3, 2).unfold(2, 3, 2).flatten(3)
        inside = F.pad(valid, (before, after))[:, :, None].expand(windows.shape[:3])
        inside = inside.clone()
        inside[:, :, -right:] = False
        windows = F.pad(windows, (0, 1), value=1.0) * inside[..., None]
        # [10, channels], so that its gradient is a product that reads by rows.
        weight = with_plain_gradient(self.conv1.weight)
        kernel = torch.cat([weight.flatten(1).T, self.conv1.bias[None]])
        return self.act(pytorch_cpu.linear(windows, kernel.T, None))


def strided_conv(x: Tensor, weight: Tensor) -> Tensor:
    """Convolves [B, C, H, W] with [F, C, 3, 3], stride 2, without padding."""
    wide = x.shape[1] >= WIDE
    if wide and x.is_cpu and not torch.compiler.is_compiling():
        return _ConvOnCpu.apply(x, weight)  # type: ignore[no-any-return]
    return F.conv2d(x, weight, stride=2)


WIDE = 256  # channels
_X_ONLY = (True, False, False)  # of the gradients of input, weight and bias


class _ConvOnCpu(torch.autograd.Function):
    """PyTorch's convolution, its weight gradient as nine matrix products.

    Its own gradient of the weights takes twice as long with 512 channels; with 128 or
    fewer it does not.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight, stride=2)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        g = gradients[0].contiguous(memory_format=torch.channels_last)
        x_gradient, weight_gradient = None, None
        if ctx.needs_input_grad[0]:
            x_gradient = torch.ops.aten.convolution_backward(
                g, x, weight, None, (2, 2), (0, 0), (1, 1), False, (0, 0), 1, _X_ONLY
            )[0]
        if ctx.needs_input_grad[1]:
            (height, width), seen = g.shape[2:], []
            for i, j in ((i, j) for i in range(3) for j in range(3)):
                part = x[:, :, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2]
                seen.append(part.permute(0, 2, 3, 1))
            products = pytorch_cpu.weight_gradients(g.permute(0, 2, 3, 1), seen)
            stacked = torch.stack(products, 1).unflatten(1, (3, 3))
            weight_gradient = stacked.permute(0, 3, 1, 2)
        return x_gradient, weight_gradient


def batch_norm(features: int, momentum: float = 0.001) -> BatchNorm:
    """Returns the published batch norm of the speech models, channels last."""
    return BatchNorm(
        features,
        momentum=momentum,
        eps=1e-3,
        variance="population",
        channel_axis=-1,
        zero_centered_scale=True,
    )


def evaluate(model: nn.Module, batch: Mapping[str, Any]) -> Any:
    """Returns what the metrics need of the outputs; see `metrics.best_labels`."""
    return best_labels(TorchOps(), batch, model(batch))
