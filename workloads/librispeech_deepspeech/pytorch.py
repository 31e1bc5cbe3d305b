"""DeepSpeech 2 as AlgoPerf changed it (Amodei et al., 2015), in PyTorch."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from algorithmic_efficiency import rates
from algorithmic_efficiency.nn.lstm.pytorch import LSTM, Frames
from algorithmic_efficiency.nn.pytorch import ACTIVATIONS, Dense, LayerNorm
from workloads._librispeech.pytorch import FrontEnd, Subsample, batch_norm
from workloads._librispeech.pytorch import evaluate as evaluate


class Model(nn.Module):
    """Audio to logits: features, subsampling, LSTM layers, dense layers, head.

    `activation` is that of the subsampling and of the dense layers; `norm` is 'bn' (of
    this `momentum`), 'ln', or another word of `batch_norm.norms`; `residual` adds what
    goes into a layer to what comes out; `aux_dropout_rate` is the dropout rate after
    the subsampling, None meaning `dropout_rate`.
    """

    def __init__(
        self,
        vocabulary_size: int = 1024,
        features: int = 512,
        channels: int = 512,
        lstm_layers: int = 6,
        dense_layers: int = 3,
        activation: str = "relu",
        residual: bool = True,
        norm: str = "bn",
        momentum: float = 0.001,
        final_norm: bool = True,
        time_masks: int = 10,
        frequency_masks: int = 2,
        dropout_rate: float = 0.1,
        aux_dropout_rate: float | None = None,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.dropout_rate, self.aux_dropout_rate = dropout_rate, aux_dropout_rate
        self.front_end = FrontEnd(time_masks, frequency_masks)
        self.subsample = Subsample(channels, features, activation)
        kind = (norm, momentum)
        self.lstms = nn.ModuleList(
            Recurrent(features, kind) for _ in range(lstm_layers)
        )
        self.ffns = nn.ModuleList(
            FeedForward(features, kind, activation) for _ in range(dense_layers)
        )
        self.ln = LayerNorm(features) if final_norm else None
        self.lin = Dense(features, vocabulary_size)

    def forward(
        self,
        batch: Mapping[str, Any],
        dropout_rate: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Returns logits [B, T / 4, V] and their paddings, 1 where padded.

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
        x = F.dropout(x, aux, self.training)
        frames = Frames.of(valid)
        for layer in self.lstms:
            y = layer(x, frames)
            x = x + y if self.residual else y
        for layer in self.ffns:
            y = F.dropout(layer(x, frames), rate, self.training)
            x = x + y if self.residual else y
        if self.ln is not None:
            x = self.ln(x)
        return self.lin(x), 1.0 - valid.to(x.dtype)


class Normalised(nn.Module):
    """What begins with a norm called `bn` or `ln`; `kind` is (name, momentum)."""

    def __init__(self, features: int, kind: tuple[str, float]) -> None:
        super().__init__()
        norm, momentum = kind
        word = "batch" if norm == "bn" else norm
        self.ln = LayerNorm(features) if norm == "ln" else None
        self.bn = None if self.ln else batch_norm(features, momentum, word)

    def normalise(self, x: Tensor, frames: Frames) -> Tensor:
        """Returns x [B, T, C] normalised; batch norm leaves padding out."""
        return self.ln(x) if self.bn is None else self.bn(x, frames.valid)


class Recurrent(Normalised):
    """Normalisation and a bidirectional LSTM."""

    def __init__(self, features: int, kind: tuple[str, float]) -> None:
        super().__init__(features, kind)
        self.lstm = LSTM(features, features // 2)

    def forward(self, x: Tensor, frames: Frames) -> Tensor:
        """Returns [B, T, C], 0 at padding."""
        return self.lstm(self.normalise(x, frames), frames)


class FeedForward(Normalised):
    """Normalisation, a dense layer and its activation."""

    def __init__(self, features: int, kind: tuple[str, float], activation: str) -> None:
        super().__init__(features, kind)
        self.act = ACTIVATIONS[activation]
        self.lin = Dense(features, features)

    def forward(self, x: Tensor, frames: Frames) -> Tensor:
        """Returns [B, T, C], 0 at padding."""
        y = self.act(self.lin(self.normalise(x, frames)))
        return y * frames.valid[..., None]
