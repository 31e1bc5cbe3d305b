"""ResNet-50 forward + backward beside plain baselines, as JSON lines.

python -m benchmarks.resnet_step [--framework pytorch|jax] [--batch 8] [--steps 5]
"""

import argparse
from collections.abc import Callable
from typing import Any

from algorithmic_efficiency.backends import tuning_cpu
from benchmarks.race import Step, print_line, race, ratios


def main() -> None:
    """Prints one line per candidate and one with the ratios, for each framework."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--framework", choices=("pytorch", "jax"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=7)
    options = parser.parse_args()
    shape = (options.batch, options.size, options.size, 3)
    pairs = {
        "pytorch": (pytorch_plain, pytorch_ours),
        "jax": (jax_plain, jax_ours),
    }
    for framework in [options.framework] if options.framework else pairs:
        plain, ours = race(pairs[framework], (shape,), options.steps)
        report = {f"ours_over_plain_{k}": r for k, r in ratios(ours, plain).items()}
        print_line(framework=framework, shape=shape, **report)


def pytorch_plain(shape: tuple[int, ...]) -> Step:
    """Eager float32 NCHW, written the usual way."""
    import torch

    model = plain_torch_resnet50()
    images = torch.randn(shape[0], shape[3], *shape[1:3])
    return torch_step(model, images, images)


def pytorch_ours(shape: tuple[int, ...]) -> Step:
    """The workload's model as the harness runs it."""
    tuning_cpu.keep_freed_memory()
    import torch

    from workloads.imagenet_resnet.pytorch import Model

    model = Model()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    images = torch.randn(shape).permute(0, 3, 1, 2)
    return torch_step(model, images, {"inputs": images})


def torch_step(model: Any, images: Any, batch: Any) -> Step:
    """Returns forward, loss and backward; `batch` is what the model takes."""
    import torch

    targets = torch.randint(1000, (len(images),))

    def step() -> None:
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(batch), targets).backward()

    return step


def jax_plain(shape: tuple[int, ...]) -> Step:
    """Flax NHWC under jit, written the usual way."""
    return jax_step(plain_flax_resnet50(), shape, lambda images: images)


def jax_ours(shape: tuple[int, ...]) -> Step:
    """The workload's model as the harness runs it."""
    tuning_cpu.keep_freed_memory()
    from workloads.imagenet_resnet.jax import Model

    return jax_step(Model(), shape, lambda images: {"inputs": images})


def jax_step(model: Any, shape: tuple[int, ...], taken: Callable[[Any], Any]) -> Step:
    """Returns forward, loss, backward and the new running statistics, compiled.

    `taken` makes of images what the model takes.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    random = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), taken(jnp.zeros(shape)))
    variables = jax.tree.map(
        lambda s: jnp.asarray(random.standard_normal(s.shape) * 0.05, s.dtype), shapes
    )
    params, stats = variables["params"], variables["batch_stats"]
    images = jnp.asarray(random.standard_normal(shape, np.float32))
    targets = jnp.asarray(random.integers(1000, size=shape[0]))

    @jax.jit
    def gradients(params: Any, stats: Any) -> Any:
        def loss(params: Any) -> Any:
            variables = {"params": params, "batch_stats": stats}
            logits, new = model.apply(variables, taken(images), mutable=["batch_stats"])
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
            return losses.mean(), new

        return jax.grad(loss, has_aux=True)(params)

    def step() -> None:
        jax.block_until_ready(gradients(params, stats))

    return step


def plain_torch_resnet50() -> Any:
    """Returns ResNet-50 v1.5 from torch.nn alone."""
    import torch
    from torch import nn

    def conv_bn(channels: int, features: int, size: int, stride: int = 1) -> Any:
        conv = nn.Conv2d(channels, features, size, stride, size // 2, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(features))

    class Block(nn.Module):
        def __init__(self, channels: int, inner: int, stride: int) -> None:
            super().__init__()
            self.a = conv_bn(channels, inner, 1)
            self.b = conv_bn(inner, inner, 3, stride)
            self.c = conv_bn(inner, 4 * inner, 1)
            self.shortcut = nn.Identity()
            if channels != 4 * inner:
                self.shortcut = conv_bn(channels, 4 * inner, 1, stride)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.relu(self.b(torch.relu(self.a(x))))
            return torch.relu(self.shortcut(x) + self.c(y))

    stem = [*conv_bn(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    blocks, channels = [], 64
    for i, count in enumerate((3, 4, 6, 3)):
        for j in range(count):
            blocks.append(Block(channels, 64 * 2**i, 2 if i and not j else 1))
            channels = 256 * 2**i
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000)]
    return nn.Sequential(*stem, *blocks, *head)


def plain_flax_resnet50() -> Any:
    """Returns ResNet-50 v1.5 from flax.linen alone."""
    import jax
    from flax import linen as nn

    def conv(features: int, size: int, stride: int = 1) -> Any:
        pad = [(size // 2, size // 2)] * 2
        return nn.Conv(features, (size, size), stride, padding=pad, use_bias=False)

    def norm() -> Any:
        return nn.BatchNorm(use_running_average=False, momentum=0.9)

    class Block(nn.Module):
        inner: int
        stride: int

        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            y = nn.relu(norm()(conv(self.inner, 1)(x)))
            y = nn.relu(norm()(conv(self.inner, 3, self.stride)(y)))
            y = norm()(conv(4 * self.inner, 1)(y))
            if x.shape != y.shape:
                x = norm()(conv(4 * self.inner, 1, self.stride)(x))
            return nn.relu(x + y)

    class ResNet50(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            x = nn.relu(norm()(conv(64, 7, 2)(x)))
            x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
            for i, count in enumerate((3, 4, 6, 3)):
                for j in range(count):
                    x = Block(64 * 2**i, 2 if i and not j else 1)(x)
            return nn.Dense(1000)(x.mean((1, 2)))

    return ResNet50()


if __name__ == "__main__":
    main()
