"""ViT S/16 forward + backward beside plain modules, as JSON lines.

    python -m benchmarks.vit_step [--framework pytorch|jax] [--batch 8] [--steps 7]

The four candidates take turns, one step each: ours and a plain one (nn.Module with
F.linear and F.scaled_dot_product_attention; Flax with its own attention) in PyTorch and
in JAX. The last line has ours over plain in each, and JAX over PyTorch.
"""

import argparse
from typing import Any

from algorithmic_efficiency.backends import tuning_cpu
from benchmarks.race import Step, print_line, race, ratios

Shape = tuple[int, ...]
WIDTH, DEPTH, HEADS, HIDDEN, PATCH, CLASSES = 384, 12, 6, 1536, 16, 1000


def main() -> None:
    """Races and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--framework", choices=("pytorch", "jax"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=7)
    asked = parser.parse_args()
    shape = (asked.batch, asked.size, asked.size, 3)
    named = {f.__name__: f for f in (pytorch_plain, pytorch_ours, jax_plain, jax_ours)}
    names = [name for name in named if name.startswith(asked.framework or "")]
    steps = race([named[name] for name in names], (shape,), asked.steps)
    seconds = dict(zip(names, steps, strict=True))
    pairs = {
        "pytorch_ours_over_plain": ("pytorch_ours", "pytorch_plain"),
        "jax_ours_over_plain": ("jax_ours", "jax_plain"),
        "jax_over_pytorch": ("jax_ours", "pytorch_ours"),
    }
    report = {
        f"{label}_{clock}": ratio
        for label, (above, below) in pairs.items()
        if {above, below} <= seconds.keys()
        for clock, ratio in ratios(seconds[above], seconds[below]).items()
    }
    print_line(shape=shape, steps=asked.steps, **report)


def pytorch_ours(shape: Shape) -> Step:
    """The workload's model as the harness runs it."""
    tuning_cpu.keep_freed_memory()
    import torch

    from workloads.imagenet_vit.pytorch import Model

    images = torch.randn(shape).permute(0, 3, 1, 2)
    return torch_step(Model(size=shape[1]), {"inputs": images})


def pytorch_plain(shape: Shape) -> Step:
    """Eager float32, written the usual way."""
    import torch

    images = torch.randn(shape[0], shape[3], *shape[1:3])
    return torch_step(plain_torch(shape[1]), images)


def torch_step(model: Any, batch: Any) -> Step:
    """Returns forward, loss and backward."""
    import torch

    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    images = batch["inputs"] if isinstance(batch, dict) else batch
    targets = torch.randint(CLASSES, (len(images),))

    def step() -> None:
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(batch), targets).backward()

    return step


def jax_ours(shape: Shape) -> Step:
    """The workload's model as the harness runs it."""
    tuning_cpu.keep_freed_memory()
    import jax

    from workloads.imagenet_vit.jax import Model

    images = jax.random.normal(jax.random.key(0), shape)
    return jax_step(Model(size=shape[1]), {"inputs": images})


def jax_plain(shape: Shape) -> Step:
    """Flax under jit, written the usual way."""
    import jax

    return jax_step(plain_flax(), jax.random.normal(jax.random.key(0), shape))


def jax_step(model: Any, batch: Any) -> Step:
    """Returns forward, loss and backward, compiled."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    random = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), batch)
    params = jax.tree.map(
        lambda s: jnp.asarray(random.standard_normal(s.shape) * 0.05, s.dtype), shapes
    )
    size = len(jax.tree.leaves(batch)[0])
    targets = jnp.asarray(random.integers(CLASSES, size=size))

    @jax.jit
    def gradients(params: Any, batch: Any) -> Any:
        def loss(params: Any) -> Any:
            logits = model.apply(params, batch)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
            return losses.mean()

        return jax.grad(loss)(params)

    def step() -> None:
        jax.block_until_ready(gradients(params, batch))

    return step


def plain_torch(size: int) -> Any:
    """Returns the Vision Transformer from torch.nn alone."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
            self.up, self.down = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.norm1(x)
            q, k, v = (
                f(y).unflatten(-1, (HEADS, -1)).transpose(1, 2)
                for f in (self.q, self.k, self.v)
            )
            y = F.scaled_dot_product_attention(q, k, v)
            x = x + self.o(y.transpose(1, 2).flatten(2))
            y = F.gelu(self.up(self.norm2(x)), approximate="tanh")
            return x + self.down(y)

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch = nn.Conv2d(3, WIDTH, PATCH, PATCH)
            self.places = nn.Buffer(torch.randn((size // PATCH) ** 2, WIDTH))
            self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
            self.norm, self.pre = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)
            self.head = nn.Linear(WIDTH, CLASSES)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.patch(x).flatten(2).transpose(1, 2) + self.places
            x = self.norm(self.blocks(x)).mean(1)
            return self.head(torch.tanh(self.pre(x)))

    return Plain()


def plain_flax() -> Any:
    """Returns the Vision Transformer from flax.linen alone."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from flax import linen as nn

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            x = x + nn.MultiHeadDotProductAttention(HEADS)(nn.LayerNorm()(x))
            y = nn.gelu(nn.Dense(HIDDEN)(nn.LayerNorm()(x)))
            return x + nn.Dense(WIDTH)(y)

    class Plain(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            x = nn.Conv(WIDTH, (PATCH, PATCH), (PATCH, PATCH), padding="VALID")(x)
            x = x.reshape(len(x), -1, WIDTH)
            places = np.random.default_rng(0).standard_normal(x.shape[1:], np.float32)
            x = x + places
            for _ in range(DEPTH):
                x = Block()(x)
            x = jnp.tanh(nn.Dense(WIDTH)(nn.LayerNorm()(x).mean(1)))
            return nn.Dense(CLASSES)(x)

    return Plain()


if __name__ == "__main__":
    main()
