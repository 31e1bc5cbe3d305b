"""The Conformer (Gulati et al., 2020) as AlgoPerf changed it, in JAX."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from algorithmic_efficiency import rates
from algorithmic_efficiency.nn.jax import ACTIVATIONS, Dense, Dropout, LayerNorm
from workloads._librispeech.jax import FrontEnd, Subsample, batch_norm
from workloads._librispeech.jax import evaluate as evaluate


@dataclasses.dataclass(frozen=True)
class How:
    """How a pass is made: its valid frames, bool [B, T], and what to do with them."""

    valid: jax.Array
    use_running_average: bool
    dropout_rate: Any  # 0.0 outside training
    momentum: float
    norm: str

    def dropout(self, x: jax.Array) -> jax.Array:
        """Returns x with dropout, in the module that calls this."""
        return Dropout()(x, self.dropout_rate)


class Model(nn.Module):
    """Audio to logits: features, subsampling, Conformer blocks, head.

    `channels` is the width of the subsampling convolutions; `activation` that of the
    blocks, silu or gelu (tanh approximation); `attention_temperature` multiplies what
    attention gives; `post_layer_norm` puts a layer norm at the end of each block;
    `momentum` is that of batch norm, and `norm` a word of `batch_norm.norms`;
    `aux_dropout_rate` is the dropout rate after the subsampling, None meaning
    `dropout_rate`.
    """

    vocabulary_size: int = 1024
    features: int = 512
    channels: int = 512
    blocks: int = 4
    heads: int = 8
    activation: str = "silu"
    attention_temperature: float = 1.0
    post_layer_norm: bool = True
    momentum: float = 0.001
    time_masks: int = 10
    frequency_masks: int = 2
    dropout_rate: float = 0.1
    aux_dropout_rate: float | None = None
    norm: str = "batch"

    @nn.compact
    def __call__(
        self,
        batch: Mapping[str, Any],
        *,
        train: bool = True,
        use_running_average: bool = False,
        dropout_rate: Any = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Returns logits [B, ceil(T / 4), V] and their paddings, 1 where padded.

        Args:
          batch: `inputs`, which are audio [B, S] in units of 16 bits and paddings
            [B, S]; `weights` [B], 0 where an example is padding, or none.
          train: whether dropout and SpecAugment are on; they need the rng 'dropout'.
          use_running_average: batch norm normalises with the running statistics.
          dropout_rate: a number, traced or not; None means the model's own two.
        """
        front_end = FrontEnd(self.time_masks, self.frequency_masks, name="front_end")
        subsample = Subsample(self.channels, self.features, "relu", name="subsample")
        sound = front_end(batch["inputs"], batch.get("weights"), train=train)
        x, valid = subsample(*sound)
        own = (self.dropout_rate, self.aux_dropout_rate)
        rate, aux = rates.of_pass(dropout_rate if train else 0.0, *own)
        how = How(valid, use_running_average, rate, self.momentum, self.norm)
        x = Dropout()(x + positions(*x.shape[1:]), aux)
        x = Blocks(
            self.blocks,
            self.heads,
            self.activation,
            self.attention_temperature,
            self.post_layer_norm,
            name="conformers",
        )(x, how)
        logits = Dense(self.vocabulary_size, name="lin")(LayerNorm(name="ln")(x))
        return logits, 1.0 - valid.astype(x.dtype)


def positions(steps: int, channels: int) -> np.ndarray:
    """Returns a code of each place: sines, then cosines, [steps, channels].

    Their timescales grow geometrically from 1 to 10,000 (Vaswani et al., 2017).
    """
    scale = np.arange(channels // 2) / (channels // 2 - 1)
    angle = np.arange(steps)[:, None] * np.exp(-math.log(10_000.0) * scale)
    return np.concatenate([np.sin(angle), np.cos(angle)], 1).astype(np.float32)


class Blocks(nn.Module):
    """All Conformer blocks."""

    count: int
    heads: int
    activation: str
    temperature: float
    post_layer_norm: bool

    @nn.compact
    def __call__(self, x: jax.Array, how: How) -> jax.Array:
        """Returns [B, T, C]: attention and a convolution between two feed-forwards."""
        for i in range(self.count):
            block = Block(
                self.heads,
                self.activation,
                self.temperature,
                self.post_layer_norm,
                name=str(i),
            )
            x = block(x, how)
        return x


class Block(nn.Module):
    """Attention and a convolution between two half feed-forward layers."""

    heads: int
    activation: str
    temperature: float
    post_layer_norm: bool

    @nn.compact
    def __call__(self, x: jax.Array, how: How) -> jax.Array:
        """Returns [B, T, C]."""
        attention = Attention(self.heads, self.temperature, name="mhsa")
        x = x + 0.5 * how.dropout(FeedForward(self.activation, name="ff1")(x))
        x = x + how.dropout(attention(x, how.valid))
        x = x + Convolution(self.activation, name="conv")(x, how)
        x = x + 0.5 * how.dropout(FeedForward(self.activation, name="ff2")(x))
        return LayerNorm(name="ln")(x) if self.post_layer_norm else x


class FeedForward(nn.Module):
    """Layer norm and two dense layers, four times as wide between them."""

    activation: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [B, T, C]."""
        features = x.shape[-1]
        y = Dense(4 * features, name="linear1")(LayerNorm(name="ln")(x))
        return Dense(features, name="linear2")(ACTIVATIONS[self.activation](y))


class QueryScaler(nn.Module):
    """Multiplies queries by softplus(scale) / softplus(0), the same for all heads."""

    @nn.compact
    def __call__(self, query: jax.Array) -> jax.Array:
        """Returns [..., size]."""
        scale = self.param("scale", nn.initializers.zeros, query.shape[-1:])
        return query * (nn.softplus(scale) / math.log(2.0))


class Attention(nn.Module):
    """Layer norm and self-attention over the valid frames."""

    heads: int
    temperature: float

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array) -> jax.Array:
        """Returns [B, T, C]; where no frame is valid, all are looked at."""
        features = x.shape[-1]
        y = LayerNorm(name="ln")(x)
        query, key, value = (
            Dense(features, name=name)(y).reshape(*y.shape[:-1], self.heads, -1)
            for name in ("query", "key", "value")
        )
        seen = (valid | ~valid.any(1, keepdims=True))[:, None, None]
        query = QueryScaler(name="qs")(query)
        y = jax.nn.dot_product_attention(query, key, value, mask=seen)
        return Dense(features, name="out")(self.temperature * y.reshape(x.shape))


class Depthwise(nn.Module):
    """A convolution of each channel over 5 frames, without bias; it starts at zero."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [B, T, C] of x [B, T, C], as a sum that XLA makes one loop."""
        kernel = self.param("kernel", nn.initializers.zeros, (5, 1, x.shape[-1]))
        steps, x = x.shape[1], jnp.pad(x, ((0, 0), (2, 2), (0, 0)))
        shifted = [x[:, i : i + steps] * kernel[i] for i in range(5)]
        return sum(shifted[1:], shifted[0])


class Convolution(nn.Module):
    """Layer norm, a gate, a depthwise convolution, batch norm and a dense layer."""

    activation: str

    @nn.compact
    def __call__(self, x: jax.Array, how: How) -> jax.Array:
        """Returns [B, T, C]; the convolution sees zeros at padding."""
        features = x.shape[-1]
        y = LayerNorm(name="ln")(x)
        gate = nn.sigmoid(Dense(features, name="lin2")(y))
        y = Dense(features, name="lin1")(y) * gate * how.valid[..., None]
        y = Depthwise(name="conv1")(y)
        norm = batch_norm("bn", how.momentum, how.norm)
        y = norm(y, how.valid, use_running_average=how.use_running_average)
        return Dense(features, name="lin3")(ACTIVATIONS[self.activation](y))
