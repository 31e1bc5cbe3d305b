"""Exact statistics over several batches in PyTorch: accumulate, recalibrate, average.

The moments of two disjoint sets of values merge without loss (Chan, Golub and LeVeque
1979), so micro-batches, batches and processes combine to what one batch of all their
values would have given. The sums are float64 and hold no graph.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from algorithmic_efficiency.nn.batch_norm.blocks import Block
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm
from algorithmic_efficiency.nn.batch_norm.switch import batch_norm_mode, running_layers


@dataclasses.dataclass
class Moments:
    """The count n, mean and sum of squared deviations m2 of some values per channel.

    Attributes:
      count: scalar float64.
      mean, m2: [C] float64.
    """

    count: Tensor
    mean: Tensor
    m2: Tensor

    def merge(self, other: "Moments") -> None:
        """Adds the values of `other`; empty moments change nothing."""
        count = self.count + other.count
        share = other.count / count.clamp(min=1)
        change = other.mean - self.mean
        self.m2 = self.m2 + other.m2 + change.square() * self.count * share
        self.mean = self.mean + change * share
        self.count = count

    def add(self, mean: Tensor, var: Tensor, count: Tensor | int) -> None:
        """Adds values of which mean, unbiased variance and number are known."""
        mean, var = mean.detach().double(), var.detach().double()
        n = torch.as_tensor(count, dtype=torch.float64, device=mean.device)
        self.merge(Moments(n, mean, var * (n - 1).clamp(min=0)))


@contextlib.contextmanager
def accumulate(module: nn.Module) -> Iterator[None]:
    """Makes one update of all updating forwards of our layers in the block.

    The update is the one that a single batch of all the micro-batches' layer inputs
    would have made; each micro-batch is still normalised by itself. Frozen and
    evaluating forwards do not count, a block without forward is no update, and an
    exception drops what was collected. The sums live in the block only: they are not
    part of the model's state.
    """
    collected = {
        layer: empty(layer)
        for layer in running_layers(module)
        if isinstance(layer, BatchNorm) and layer.track_running_stats
    }
    with contextlib.ExitStack() as stack:
        for layer, moments in collected.items():
            stack.callback(Block(layer, ("accumulating",)).end, layer)
            layer.accumulating = moments
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield
    for layer, moments in collected.items():
        layer.update(moments.mean, _unbiased(moments), moments.count)


def recalibrate(
    module: nn.Module,
    batches: Iterable[Any],
    forward: Callable[[Any], Any] | None = None,
) -> None:
    """Replaces running statistics by the exact ones over all of `batches`.

    Every layer sees its input under batch statistics and without dropout; counters
    and momenta stay. Averaged weights and schedule-free methods need this before an
    evaluation. In several processes each brings its own share of the batches.

    Args:
      module: with layers of ours or torch's batch norm layers.
      batches: what `forward` takes.
      forward: runs the model on one batch with the batch normaliser; by default
        `module(batch)` in evaluation mode.
    """
    layers = [
        layer
        for layer in running_layers(module)
        if isinstance(layer, BatchNorm | _BatchNorm) and layer.running_mean is not None
    ]
    with (
        torch.no_grad(),
        _evaluating(module),
        batch_norm_mode(module, update=False, use_running_average=False),
        _collecting(layers) as collected,
    ):
        for batch in batches:
            (forward or module)(batch)
    for layer, moments in collected.items():
        if moments.count > 0:
            population = getattr(layer, "variance", "unbiased") == "population"
            var = moments.m2 / moments.count if population else _unbiased(moments)
            layer.get_buffer("running_mean").copy_(moments.mean)
            layer.get_buffer("running_var").copy_(var)


def average_statistics(module: nn.Module) -> None:
    """Sets running statistics of layers with sync=False to their mean over processes.

    This is what evaluation and checkpoints of such a model mean: with statistics per
    process there is one model only after averaging. Every process must call it.
    """
    for layer in running_layers(module):
        ours = isinstance(layer, BatchNorm) and layer.track_running_stats
        if ours and not layer.sync and _processes() > 1:
            for buffer in (layer.running_mean, layer.running_var):
                dist.all_reduce(buffer)
                buffer /= _processes()


@contextlib.contextmanager
def _collecting(
    layers: Iterable[Any],
) -> Iterator[dict[Any, Moments]]:
    """Yields the moments of the inputs of each of these layers in the block.

    After the block they are those of all processes.
    """
    collected = {layer: empty(layer) for layer in layers}

    def collect(layer: nn.Module, inputs: Any, named: Any) -> None:
        collected[layer].merge(_moments(layer, *inputs, **named))

    with contextlib.ExitStack() as stack:
        for layer in collected:
            block = Block(layer, ())
            stack.callback(block.end, layer)
            hook = layer.register_forward_pre_hook(collect, with_kwargs=True)
            stack.callback(hook.remove)
            block.hooks.append(hook.id)
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield collected
    for layer, moments in collected.items():
        _over_processes(layer, moments)


def _processes() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def empty(layer: Any) -> Moments:
    """Returns the moments of no values at all, on the layer's device."""
    zeros = torch.zeros_like(layer.running_mean, dtype=torch.float64)
    return Moments(zeros.sum(), zeros, zeros)


def _unbiased(moments: Moments) -> Tensor:
    return moments.m2 / (moments.count - 1).clamp(min=1)


def _moments(layer: nn.Module, x: Tensor, mask: Tensor | None = None) -> Moments:
    """Returns the moments of one input of a layer, over its valid positions."""
    x, valid = x.detach(), None
    if isinstance(layer, BatchNorm):
        x, valid = layer.on_axis_1(x, mask)
    rows = x.double().movedim(1, -1)
    if valid is None:
        rows = rows.reshape(-1, x.shape[1])
    else:
        rows = rows[valid.expand_as(x[:, :1]).movedim(1, -1).squeeze(-1)]
    count = torch.tensor(float(len(rows)), dtype=torch.float64, device=x.device)
    mean = rows.sum(0) / count.clamp(min=1)
    return Moments(count, mean, (rows - mean).square().sum(0))


def _over_processes(layer: nn.Module, moments: Moments) -> None:
    """Merges the moments of all processes, unless the layer keeps them apart."""
    if _processes() == 1 or not getattr(layer, "sync", True):
        return
    own = torch.cat([moments.count[None], moments.mean, moments.m2])
    everyone = [torch.empty_like(own) for _ in range(_processes())]
    dist.all_gather(everyone, own)
    merged = empty(layer)
    for row in everyone:
        mean, m2 = row[1:].chunk(2)
        merged.merge(Moments(row[0], mean, m2))
    moments.count, moments.mean, moments.m2 = merged.count, merged.mean, merged.m2


@contextlib.contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Puts every layer in evaluation mode for one block, whatever mode each was in."""
    training = {layer: layer.training for layer in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for layer, mode in training.items():
            layer.training = mode
