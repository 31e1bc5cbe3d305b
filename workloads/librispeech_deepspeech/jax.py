"""DeepSpeech 2 as AlgoPerf changed it (Amodei et al., 2015), in JAX."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from flax import linen as nn

from algorithmic_efficiency import rates
from algorithmic_efficiency.nn.jax import ACTIVATIONS, Dense, Dropout, LayerNorm
from algorithmic_efficiency.nn.lstm.jax import LSTM
from workloads._librispeech.jax import FrontEnd, Subsample, batch_norm
from workloads._librispeech.jax import evaluate as evaluate


class Model(nn.Module):
    """Audio to logits: features, subsampling, LSTM layers, dense layers, head.

    `activation` is that of the subsampling and of the dense layers; `norm` is 'bn' (of
    this `momentum`), 'ln', or another word of `batch_norm.norms`; `residual` adds what
    goes into a layer to what comes out; `aux_dropout_rate` is the dropout rate after
    the subsampling, None meaning `dropout_rate`.
    """

    vocabulary_size: int = 1024
    features: int = 512
    channels: int = 512
    lstm_layers: int = 6
    dense_layers: int = 3
    activation: str = "relu"
    residual: bool = True
    norm: str = "bn"
    momentum: float = 0.001
    final_norm: bool = True
    time_masks: int = 10
    frequency_masks: int = 2
    dropout_rate: float = 0.1
    aux_dropout_rate: float | None = None

    @nn.compact
    def __call__(
        self,
        batch: Mapping[str, Any],
        *,
        train: bool = True,
        use_running_average: bool = False,
        dropout_rate: Any = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Returns logits [B, T / 4, V] and their paddings, 1 where padded.

        Args:
          batch: `inputs`, which are audio [B, S] in units of 16 bits and paddings
            [B, S]; `weights` [B], 0 where an example is padding, or none.
          train: whether there are SpecAugment and dropout.
          use_running_average: selects the normaliser of batch norm.
          dropout_rate: a number, traced or not; None means the model's own two.
        """
        own = (self.dropout_rate, self.aux_dropout_rate)
        rate, aux = rates.of_pass(dropout_rate if train else 0.0, *own)
        front_end = FrontEnd(self.time_masks, self.frequency_masks)
        subsample = Subsample(
            self.channels, self.features, self.activation, name="subsample"
        )
        sound = front_end(batch["inputs"], batch.get("weights"), train=train)
        x, valid = subsample(*sound)
        x = Dropout()(x, aux)
        norm = Norm(self.norm, self.momentum, use_running_average)
        recurrent = functools.partial(Recurrent, norm)
        dense = functools.partial(FeedForward, norm, self.activation)
        for name, count, layer in (
            ("lstms", self.lstm_layers, recurrent),
            ("ffns", self.dense_layers, dense),
        ):
            layers = Layers(count, layer, self.residual, name=name)
            x = layers(x, valid, rate)
        if self.final_norm:
            x = LayerNorm(name="ln")(x)
        return Dense(self.vocabulary_size, name="lin")(x), 1.0 - valid


class Norm(NamedTuple):
    """Which norm each layer begins with: 'bn', 'ln' or a word."""

    kind: str
    momentum: float
    use_running_average: bool


class Layers(nn.Module):
    """Layers that are named by their numbers; a residual one adds its input."""

    count: int
    layer: Callable[..., nn.Module]
    residual: bool

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, rate: Any) -> jax.Array:
        """Returns [B, T, C]; what is at padding is of no meaning."""
        for i in range(self.count):
            y = self.layer(name=str(i))(x, valid, rate)
            x = x + y if self.residual else y
        return x


class Recurrent(nn.Module):
    """Normalisation and a bidirectional LSTM."""

    norm: Norm

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, rate: Any) -> jax.Array:
        """Returns [B, T, C], 0 at padding; there is no dropout here."""
        del rate
        y = normalise(self.norm, x, valid)
        return LSTM(x.shape[-1] // 2, name="lstm")(y, valid)


class FeedForward(nn.Module):
    """Normalisation, a dense layer, its activation and dropout."""

    norm: Norm
    activation: str

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, rate: Any) -> jax.Array:
        """Returns [B, T, C], 0 at padding."""
        y = normalise(self.norm, x, valid)
        y = ACTIVATIONS[self.activation](Dense(x.shape[-1], name="lin")(y))
        y = y * valid[..., None]
        return Dropout()(y, rate)


def normalise(norm: Norm, x: jax.Array, valid: jax.Array) -> jax.Array:
    """Applies the norm of the module that calls this; its name is its kind."""
    if norm.kind == "ln":
        return LayerNorm(name="ln")(x)
    word = "batch" if norm.kind == "bn" else norm.kind
    layer = batch_norm("bn", norm.momentum, word)
    return layer(x, valid, use_running_average=norm.use_running_average)
