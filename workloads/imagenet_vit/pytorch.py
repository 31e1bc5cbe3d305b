"""The Vision Transformer S/16 (Dosovitskiy et al., 2021) as AlgoPerf has it.

Fixed positions and the mean of the tokens in place of learned ones and a class token
(Beyer et al., Better plain ViT baselines, 2022).
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from algorithmic_efficiency.nn.pytorch import ACTIVATIONS, Dense, with_plain_gradient
from workloads.imagenet_vit.positions import positions

LAYER_NORM_EPSILON = 1e-6
Batch = Mapping[str, Any]


class Model(nn.Module):
    """Images [B, 3, H, W] to logits [B, num_classes].

    `size` is the side of an image and `patch` that of a patch, in pixels; tokens have
    `width` entries, the dense layers of a block `hidden`. `gated` multiplies what is
    between these layers by one more dense layer of it; `post_layer_norm` norms after
    each residual sum in place of before each branch; `attention_pooling` replaces the
    mean of the tokens by what a learned probe attends to.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        size: int = 224,
        patch: int = 16,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        hidden: int = 1536,
        gated: bool = False,
        post_layer_norm: bool = False,
        attention_pooling: bool = False,
        dropout_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout_rate = dropout_rate
        self.conv_patch = PatchConv(3, width, patch, patch)
        places = torch.from_numpy(positions(size // patch, width))
        self.register_buffer("places", places, persistent=False)
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            mlp = MLP(width, hidden, gated)
            block = PostBlock if post_layer_norm else PreBlock
            self.blocks.append(block(width, Attention(width, heads), mlp))
        self.ln = None if post_layer_norm else layer_norm(width)
        self.map = None
        if attention_pooling:
            self.map = AttentionPooling(width, heads, hidden)
        self.linear = Dense(width, width)
        self.linear_head = Dense(width, num_classes)

    def forward(self, batch: Batch, dropout_rate: float | None = None) -> Tensor:
        """Returns logits of `inputs`; `dropout_rate` None means the model's own."""
        rate = self.dropout_rate if dropout_rate is None else dropout_rate
        x = self.conv_patch(batch["inputs"]).flatten(2).transpose(1, 2) + self.places
        x = F.dropout(x, rate, self.training)
        for block in self.blocks:
            x = block(x, rate)
        x = x if self.ln is None else self.ln(x)
        x = x.mean(1) if self.map is None else self.map(x)
        return self.linear_head(torch.tanh(self.linear(x)))


def layer_norm(width: int) -> nn.LayerNorm:
    """Returns the layer norm of this model."""
    return nn.LayerNorm(width, eps=LAYER_NORM_EPSILON)


class PatchConv(nn.Conv2d):
    """A convolution with bias of patches that do not overlap; it starts at zero."""

    def reset_parameters(self) -> None:
        """Fills weights and bias with zeros instead of drawing them."""
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, width, H / patch, W / patch]."""
        weight = with_plain_gradient(self.weight)
        return F.conv2d(x, weight, self.bias, self.stride)


class PreBlock(nn.Module):
    """Attention and a dense branch, each behind a layer norm."""

    def __init__(self, width: int, attention: "Attention", mlp: "MLP") -> None:
        super().__init__()
        self.ln1, self.ln2 = layer_norm(width), layer_norm(width)
        self.attention, self.mlp = attention, mlp

    def forward(self, x: Tensor, rate: float) -> Tensor:
        """Returns [B, T, width]; `rate` is that of dropout."""
        y = self.ln1(x)
        x = x + F.dropout(self.attention(y, y), rate, self.training)
        return x + F.dropout(self.mlp(self.ln2(x), rate), rate, self.training)


class PostBlock(PreBlock):
    """Attention and a dense branch, with a layer norm behind each sum."""

    def forward(self, x: Tensor, rate: float) -> Tensor:
        """Returns [B, T, width]; `rate` is that of dropout."""
        x = self.ln1(x + F.dropout(self.attention(x, x), rate, self.training))
        return self.ln2(x + F.dropout(self.mlp(x, rate), rate, self.training))


class Attention(nn.Module):
    """Attention of queries to tokens, with a bias in all four dense layers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = Dense(width, width)
        self.key = Dense(width, width)
        self.value = Dense(width, width)
        self.out = Dense(width, width)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Returns [B, Q, width] of queries [B, Q, width] and tokens [B, T, width]."""
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in (
                (self.query, queries),
                (self.key, tokens),
                (self.value, tokens),
            )
        )
        y = F.scaled_dot_product_attention(query, key, value)
        return self.out(y.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Two dense layers, with a gate between them where it is wanted."""

    def __init__(self, width: int, hidden: int, gated: bool) -> None:
        super().__init__()
        self.act = ACTIVATIONS["gelu"]
        self.linear1 = Dense(width, hidden)
        self.linear_gate = Dense(hidden, hidden) if gated else None
        self.linear2 = Dense(hidden, width)

    def forward(self, x: Tensor, rate: float) -> Tensor:
        """Returns [..., width]; `rate` is that of dropout before the last layer."""
        y = self.act(self.linear1(x))
        if self.linear_gate is not None:
            y = y * self.linear_gate(y)
        return self.linear2(F.dropout(y, rate, self.training))


class AttentionPooling(nn.Module):
    """What a learned probe attends to, and a dense branch; it has no dropout."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.zeros(1, 1, width))
        self.attention = Attention(width, heads)
        self.ln = layer_norm(width)
        self.mlp = MLP(width, hidden, gated=False)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, width] of tokens [B, T, width]."""
        y = self.attention(self.probe.expand(len(x), 1, -1), x)
        return (y + self.mlp(self.ln(y), 0.0))[:, 0]
