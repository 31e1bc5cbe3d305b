"""The Conformer (Gulati et al., 2020) as AlgoPerf changed it, in PyTorch."""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from algorithmic_efficiency import rates
from algorithmic_efficiency.nn.pytorch import ACTIVATIONS, Dense, LayerNorm
from workloads._librispeech.pytorch import FrontEnd, Subsample, batch_norm
from workloads._librispeech.pytorch import evaluate as evaluate


class Model(nn.Module):
    """Audio to logits: features, subsampling, Conformer blocks, head.

    `channels` is the width of the subsampling convolutions; `activation` that of the
    blocks, silu or gelu (tanh approximation); `attention_temperature` multiplies what
    attention gives; `post_layer_norm` puts a layer norm at the end of each block;
    `momentum` is that of batch norm, and `norm` a word of `batch_norm.norms`;
    `aux_dropout_rate` is the dropout rate after the subsampling, None meaning
    `dropout_rate`.
    """

    def __init__(
        self,
        vocabulary_size: int = 1024,
        features: int = 512,
        channels: int = 512,
        blocks: int = 4,
        heads: int = 8,
        activation: str = "silu",
        attention_temperature: float = 1.0,
        post_layer_norm: bool = True,
        momentum: float = 0.001,
        time_masks: int = 10,
        frequency_masks: int = 2,
        dropout_rate: float = 0.1,
        aux_dropout_rate: float | None = None,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        self.dropout_rate, self.aux_dropout_rate = dropout_rate, aux_dropout_rate
        self.front_end = FrontEnd(time_masks, frequency_masks)
        self.subsample = Subsample(channels, features, "relu")
        self.conformers = nn.ModuleList()
        for _ in range(blocks):
            attention = Attention(features, heads, attention_temperature)
            bn = batch_norm(features, momentum, norm)
            convolution = Convolution(features, activation, bn)
            self.conformers.append(
                Block(features, attention, convolution, activation, post_layer_norm)
            )
        self.ln = LayerNorm(features)
        self.lin = Dense(features, vocabulary_size)

    def forward(
        self,
        batch: Mapping[str, Any],
        dropout_rate: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Returns logits [B, ceil(T / 4), V] and their paddings, 1 where padded.

        Args:
          batch: `inputs`, which are audio [B, S] in units of 16 bits and paddings
            [B, S]; `weights` [B], 0 where an example is padding, or none.
          dropout_rate: None means the model's own two.
        """
        own = (self.dropout_rate, self.aux_dropout_rate)
        rate, aux = rates.of_pass(dropout_rate, *own)
        x, valid = self.subsample(
            *self.front_end(batch["inputs"], batch.get("weights"))
        )
        x = F.dropout(x + positions(x), aux, self.training)
        for block in self.conformers:
            x = block(x, valid, rate)
        return self.lin(self.ln(x)), 1.0 - valid.to(x.dtype)


def positions(x: Tensor) -> Tensor:
    """Returns a code of each place in x [B, T, C]: sines, then cosines, [T, C].

    Their timescales grow geometrically from 1 to 10,000 (Vaswani et al., 2017).
    """
    steps, channels = x.shape[1:]
    scale = torch.arange(channels // 2, device=x.device, dtype=x.dtype)
    scale = torch.exp(scale * (-math.log(10_000.0) / (channels // 2 - 1)))
    angle = torch.arange(steps, device=x.device, dtype=x.dtype)[:, None] * scale
    return torch.cat([angle.sin(), angle.cos()], 1)


class Block(nn.Module):
    """Attention and a convolution between two half feed-forward layers."""

    def __init__(
        self,
        features: int,
        attention: "Attention",
        convolution: "Convolution",
        activation: str,
        post_layer_norm: bool,
    ) -> None:
        super().__init__()
        self.ff1 = FeedForward(features, activation)
        self.mhsa, self.conv = attention, convolution
        self.ff2 = FeedForward(features, activation)
        self.ln = LayerNorm(features) if post_layer_norm else None

    def forward(self, x: Tensor, valid: Tensor, rate: float) -> Tensor:
        """Returns [B, T, C]; `rate` is that of dropout before the residual sums."""
        x = x + 0.5 * F.dropout(self.ff1(x), rate, self.training)
        x = x + F.dropout(self.mhsa(x, valid), rate, self.training)
        x = x + self.conv(x, valid)
        x = x + 0.5 * F.dropout(self.ff2(x), rate, self.training)
        return x if self.ln is None else self.ln(x)


class FeedForward(nn.Module):
    """Layer norm and two dense layers, four times as wide between them."""

    def __init__(self, features: int, activation: str) -> None:
        super().__init__()
        self.ln = LayerNorm(features)
        self.linear1 = Dense(features, 4 * features)
        self.act = ACTIVATIONS[activation]
        self.linear2 = Dense(4 * features, features)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, T, C]."""
        return self.linear2(self.act(self.linear1(self.ln(x))))


class QueryScaler(nn.Module):
    """Multiplies queries by softplus(weight) / softplus(0), the same for all heads."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(size))

    def forward(self, query: Tensor) -> Tensor:
        """Returns [..., size]."""
        return query * (F.softplus(self.weight) / math.log(2.0))


class Attention(nn.Module):
    """Layer norm and self-attention over the valid frames."""

    def __init__(self, features: int, heads: int, temperature: float) -> None:
        super().__init__()
        self.heads, self.temperature = heads, temperature
        self.ln = LayerNorm(features)
        self.query = Dense(features, features)
        self.key = Dense(features, features)
        self.value = Dense(features, features)
        self.qs = QueryScaler(features // heads)
        self.out = Dense(features, features)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Returns [B, T, C]; where no frame is valid, all are looked at."""
        y = self.ln(x)
        query, key, value = (
            layer(y).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        seen = (valid | ~valid.any(1, keepdim=True))[:, None, None]
        y = F.scaled_dot_product_attention(self.qs(query), key, value, attn_mask=seen)
        return self.out(self.temperature * y.transpose(1, 2).flatten(2))


class Depthwise(nn.Conv1d):
    """A convolution of each channel over 5 frames, without bias; it starts at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 5, groups=channels, padding=2, bias=False)

    def reset_parameters(self) -> None:
        """Fills the weights with zeros instead of drawing them."""
        nn.init.zeros_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, T, C] of x [B, T, C]."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Convolution(nn.Module):
    """Layer norm, a gate, a depthwise convolution, batch norm and a dense layer."""

    def __init__(self, features: int, activation: str, bn: nn.Module) -> None:
        super().__init__()
        self.ln = LayerNorm(features)
        self.lin1 = Dense(features, features)
        self.lin2 = Dense(features, features)
        self.conv1 = Depthwise(features)
        self.bn = bn
        self.act = ACTIVATIONS[activation]
        self.lin3 = Dense(features, features)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Returns [B, T, C]; the convolution sees zeros at padding."""
        y = self.ln(x)
        y = self.lin1(y) * torch.sigmoid(self.lin2(y)) * valid[..., None]
        return self.lin3(self.act(self.bn(self.conv1(y), valid)))
