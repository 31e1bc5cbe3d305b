"""The Vision Transformer S/16 (Dosovitskiy et al., 2021) as AlgoPerf has it.

Fixed positions and the mean of the tokens in place of learned ones and a class token
(Beyer et al., Better plain ViT baselines, 2022).
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from algorithmic_efficiency.nn.jax import ACTIVATIONS, Dense, Dropout
from workloads.imagenet_vit.positions import positions

LAYER_NORM_EPSILON = 1e-6
Batch = Mapping[str, Any]


class Model(nn.Module):
    """Images [B, H, W, 3] to logits [B, num_classes].

    `size` is the side of an image and `patch` that of a patch, in pixels; tokens have
    `width` entries, the dense layers of a block `hidden`. `gated` multiplies what is
    between these layers by one more dense layer of it; `post_layer_norm` norms after
    each residual sum in place of before each branch; `attention_pooling` replaces the
    mean of the tokens by what a learned probe attends to.
    """

    num_classes: int = 1000
    size: int = 224
    patch: int = 16
    width: int = 384
    depth: int = 12
    heads: int = 6
    hidden: int = 1536
    gated: bool = False
    post_layer_norm: bool = False
    attention_pooling: bool = False
    dropout_rate: float = 0.0

    @nn.compact
    def __call__(
        self,
        batch: Batch,
        *,
        train: bool = True,
        use_running_average: bool = False,
        dropout_rate: Any = None,
    ) -> jax.Array:
        """Returns logits of `inputs`; `dropout_rate` None means the model's own."""
        del use_running_average  # no example sees another one
        rate = self.dropout_rate if dropout_rate is None else dropout_rate
        rate = rate if train else 0.0
        x = PatchConv(self.width, self.patch, name="conv_patch")(batch["inputs"])
        x = Dropout()(x + positions(self.size // self.patch, self.width), rate)
        x = Blocks(
            self.depth,
            self.heads,
            self.hidden,
            self.gated,
            self.post_layer_norm,
            name="blocks",
        )(x, rate)
        if not self.post_layer_norm:
            x = layer_norm("ln")(x)
        if self.attention_pooling:
            x = AttentionPooling(self.heads, self.hidden, name="map")(x)
        else:
            x = x.mean(1)
        x = jnp.tanh(Dense(self.width, name="linear")(x))
        return Dense(self.num_classes, name="linear_head")(x)


def layer_norm(name: str) -> nn.LayerNorm:
    """Returns the layer norm of this model, with an exact variance."""
    return nn.LayerNorm(LAYER_NORM_EPSILON, use_fast_variance=False, name=name)


class PatchConv(nn.Module):
    """A convolution with bias of patches that do not overlap, as a product."""

    features: int
    size: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns tokens [B, H * W / size ** 2, features], row by row."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.zeros, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        batch, height, width, channels = x.shape
        rows, columns = height // self.size, width // self.size
        x = x.reshape(batch, rows, self.size, columns, self.size, channels)
        x = x.swapaxes(2, 3).reshape(batch, rows * columns, -1)
        return x @ kernel.reshape(-1, self.features) + bias


class Blocks(nn.Module):
    """All blocks."""

    count: int
    heads: int
    hidden: int
    gated: bool
    post_layer_norm: bool

    @nn.compact
    def __call__(self, x: jax.Array, rate: Any) -> jax.Array:
        """Returns [B, T, width]; `rate` is that of dropout."""
        make = PostBlock if self.post_layer_norm else PreBlock
        for i in range(self.count):
            x = make(self.heads, self.hidden, self.gated, name=str(i))(x, rate)
        return x


class PreBlock(nn.Module):
    """Attention and a dense branch, each behind a layer norm."""

    heads: int
    hidden: int
    gated: bool

    @nn.compact
    def __call__(self, x: jax.Array, rate: Any) -> jax.Array:
        """Returns [B, T, width]; `rate` is that of dropout."""
        y = layer_norm("ln1")(x)
        x = x + Dropout()(Attention(self.heads, name="attention")(y, y), rate)
        mlp = MLP(self.hidden, self.gated, name="mlp")
        return x + Dropout()(mlp(layer_norm("ln2")(x), rate), rate)


class PostBlock(nn.Module):
    """Attention and a dense branch, with a layer norm behind each sum."""

    heads: int
    hidden: int
    gated: bool

    @nn.compact
    def __call__(self, x: jax.Array, rate: Any) -> jax.Array:
        """Returns [B, T, width]; `rate` is that of dropout."""
        attention = Attention(self.heads, name="attention")
        x = layer_norm("ln1")(x + Dropout()(attention(x, x), rate))
        mlp = MLP(self.hidden, self.gated, name="mlp")
        return layer_norm("ln2")(x + Dropout()(mlp(x, rate), rate))


class Attention(nn.Module):
    """Attention of queries to tokens, with a bias in all four dense layers."""

    heads: int

    @nn.compact
    def __call__(self, queries: jax.Array, tokens: jax.Array) -> jax.Array:
        """Returns [B, Q, width] of queries [B, Q, width] and tokens [B, T, width]."""
        width = tokens.shape[-1]

        def split(name: str, x: jax.Array) -> jax.Array:
            y = Dense(width, name=name)(x).reshape(*x.shape[:-1], self.heads, -1)
            # Heads first, and kept so: faster than what XLA makes of it on a CPU.
            return lax.optimization_barrier(y.swapaxes(1, 2))

        query, key, value = (
            split("query", queries),
            split("key", tokens),
            split("value", tokens),
        )
        scores = jnp.einsum("bhqd,bhtd->bhqt", query, key) / np.sqrt(query.shape[-1])
        y = jnp.einsum("bhqt,bhtd->bhqd", nn.softmax(scores), value)
        y = y.swapaxes(1, 2).reshape(queries.shape[:-1] + (width,))
        return Dense(width, name="out")(y)


class MLP(nn.Module):
    """Two dense layers, with a gate between them where it is wanted."""

    hidden: int
    gated: bool

    @nn.compact
    def __call__(self, x: jax.Array, rate: Any) -> jax.Array:
        """Returns [..., width]; `rate` is that of dropout before the last layer."""
        y = ACTIVATIONS["gelu"](Dense(self.hidden, name="linear1")(x))
        if self.gated:
            y = y * Dense(self.hidden, name="linear_gate")(y)
        return Dense(x.shape[-1], name="linear2")(Dropout()(y, rate))


class AttentionPooling(nn.Module):
    """What a learned probe attends to, and a dense branch; it has no dropout."""

    heads: int
    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [B, width] of tokens [B, T, width]."""
        probe = self.param("probe", nn.initializers.zeros, (1, 1, x.shape[-1]))
        queries = jnp.broadcast_to(probe, (len(x), 1, x.shape[-1]))
        y = Attention(self.heads, name="attention")(queries, x)
        mlp = MLP(self.hidden, gated=False, name="mlp")
        return (y + mlp(layer_norm("ln")(y), 0.0))[:, 0]
