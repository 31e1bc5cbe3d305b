"""Ghost batch norm in PyTorch: chunks of a batch normalised apart (Hoffer et al. 2017).

A batch of N examples is cut as torch.chunk cuts it into c = ceil(N / ghost_batch_size)
chunks; each is normalised by its own statistics. docs/batch_norm.md has the formulas.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from algorithmic_efficiency.nn.batch_norm.chunks import normalise_chunks
from algorithmic_efficiency.nn.batch_norm.norms import check_ghost, ghost_groups
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm


class GhostBatchNorm(BatchNorm):
    """Batch norm by ghost batches; evaluation is that of plain batch norm.

    Attributes:
      ghost_batch_size: the most examples that a chunk has; a smaller batch is one.
      statistics: 'sequential': each chunk moves the running statistics by momentum / c
        in turn, as in Composer; 'exact': one update with those of the whole batch.
    """

    ghost_batch_size: int
    statistics: str

    def __init__(
        self,
        num_features: int,
        *,
        ghost_batch_size: int = 32,
        statistics: str = "sequential",
        **settings: Any,
    ) -> None:
        super().__init__(num_features, **settings)
        self.__dict__.update(check_ghost(ghost_batch_size, statistics))

    def _normalise(self, z: Tensor, valid: Tensor | None, examples: int) -> Tensor:
        if not self._by_batch:
            return super()._normalise(z, valid, examples)
        y, table = ghosts(self, z, valid, examples, self._affine(z))
        if self._updates:
            self._learn(table if self._processes == 1 else _of_all(table))
        return y

    @torch.no_grad()
    def _learn(self, table: Tensor) -> None:
        """Updates with a table [c, 2 C + 1] of mean, unbiased variance and number."""
        means, variances, counts = split(table)
        if self.statistics == "exact" or self.accumulating is not None:
            return self.update(*merged(means, variances, counts))
        if self.variance == "population":
            n = counts.clamp(min=1)[:, None]
            variances = variances * ((n - 1) / n)
        before = self.num_batches_tracked.clone()
        self.num_batches_tracked += (counts > 0).sum()
        return recurrence(self, means, variances, counts, before)


def ghosts(
    layer: Any, z: Tensor, valid: Tensor | None, examples: int, affine: Any
) -> tuple[Tensor, Tensor]:
    """Returns y and the table [c, 2 C + 1] of mean, unbiased variance and number.

    One call normalises all chunks of one size.

    Args:
      layer: has ghost_batch_size and eps.
      z: [N, C, ...].
      valid: bool, broadcastable to z, or None.
      examples: N is a multiple of them.
      affine: scale and bias [C].
    """
    parts, tables, start, rows = [], [], 0, len(z) // examples
    for chunks, size in ghost_groups(examples, layer.ghost_batch_size):
        here = slice(start, start + chunks * size * rows)
        seen = None if valid is None else valid.expand_as(z[:, :1])[here]
        _check_size(z[here], seen, chunks)
        y, *found = normalise_chunks(z[here], seen, chunks, affine, layer.eps)
        parts.append(y)
        tables.append(torch.cat([*found[:2], found[2][:, None]], 1))
        start = here.stop
    whole = parts[0] if len(parts) == 1 else torch.cat(parts)
    return whole, torch.cat(tables).double()


def _check_size(z: Tensor, valid: Tensor | None, chunks: int) -> None:
    if valid is None and z.numel() == chunks * z.shape[1]:
        raise ValueError(
            f"Found a ghost batch with one value per channel, in an input of shape "
            f"{tuple(z.shape)} for {chunks} chunks; batch statistics need two. Choose "
            "another batch size or ghost_batch_size."
        )


def split(table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns means [c, C], variances [c, C] and numbers [c] of a table."""
    means, variances = table[:, :-1].chunk(2, 1)
    return means, variances, table[:, -1]


def merged(means: Tensor, variances: Tensor, counts: Tensor) -> tuple[Tensor, ...]:
    """Returns mean, unbiased variance and number of all chunks together."""
    count, n = counts.sum(), counts[:, None]
    mean = (means * n).sum(0) / count.clamp(min=1)
    within = (variances * (n - 1).clamp(min=0)).sum(0)
    m2 = within + ((means - mean).square() * n).sum(0)
    return mean, m2 / (count - 1).clamp(min=1), count


def recurrence(
    layer: Any, means: Tensor, variances: Tensor, counts: Tensor, before: Tensor
) -> None:
    """Moves the buffers c times, as if the chunks came one after another.

    Unrolled: with a = momentum / c, each of k chunks with values has the weight
    a (1 - a)^(chunks after it), and the old value (1 - a)^k.

    Args:
      layer: has momentum, running_mean and running_var.
      means, variances: [c, C], what enters the state.
      counts: [c]; a chunk of none is no update.
      before: the number of updates so far, for a cumulative momentum.
    """
    if layer.momentum is not None and float(layer.momentum) == 0.0:
        return
    real = (counts > 0).double()
    if layer.momentum is None:
        total = (before + real.sum()).clamp(min=1)
        weights, keep = real / total, before / total
    else:
        left = 1 - torch.as_tensor(layer.momentum / len(counts), dtype=torch.float64)
        left = left.to(real.device)
        after = real.flip(0).cumsum(0).flip(0) - real
        weights, keep = real * (1 - left) * left**after, left ** real.sum()
    for old, rows in ((layer.running_mean, means), (layer.running_var, variances)):
        old.copy_(old * keep + weights @ rows)


def _of_all(table: Tensor) -> Tensor:
    """Returns the tables of all processes, one under another."""
    tables = [torch.empty_like(table) for _ in range(dist.get_world_size())]
    dist.all_gather(tables, table)
    return torch.cat(tables)


class _Ghost:
    """What a layer of torch's needs to become a ghost batch norm; see `surgery`."""

    def forward(self: Any, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Returns y, in the shape and dtype of the input."""
        self._check_input_dim(input)
        if not self.training and self.running_mean is not None:
            return super().forward(input)  # type: ignore[misc]
        z = input if input.ndim > 1 else input[None]
        dtype = torch.promote_types(z.dtype, torch.float32)
        ones = z.new_ones(self.num_features, dtype=dtype)
        scale = ones if self.weight is None else self.weight.to(dtype)
        bias = ones - ones if self.bias is None else self.bias.to(dtype)
        y, table = ghosts(self, z, None, len(z), (scale, bias))
        if self.track_running_stats and self.running_mean is not None:
            with torch.no_grad():
                self._learn(*split(table))
        return y

    def _learn(self: Any, means: Tensor, variances: Tensor, counts: Tensor) -> None:
        if self.statistics == "exact":
            means, variances, n = merged(means, variances, counts)
            means, variances, counts = means[None], variances[None], n[None]
        before = torch.zeros_like(counts[0])
        if self.num_batches_tracked is not None:
            before = self.num_batches_tracked.clone()
            self.num_batches_tracked += len(counts)
        recurrence(self, means, variances, counts, before)


class GhostBatchNorm1d(_Ghost, nn.BatchNorm1d):
    """torch's BatchNorm1d by ghost batches."""


class GhostBatchNorm2d(_Ghost, nn.BatchNorm2d):
    """torch's BatchNorm2d by ghost batches."""


class GhostBatchNorm3d(_Ghost, nn.BatchNorm3d):
    """torch's BatchNorm3d by ghost batches."""


_GHOSTS: dict[type[nn.Module], type[nn.Module]] = {
    BatchNorm: GhostBatchNorm,
    nn.BatchNorm1d: GhostBatchNorm1d,
    nn.BatchNorm2d: GhostBatchNorm2d,
    nn.BatchNorm3d: GhostBatchNorm3d,
}
_PLAIN = {ghost: plain for plain, ghost in _GHOSTS.items()}


def apply_ghost_batchnorm(
    model: nn.Module,
    ghost_batch_size: int = 32,
    optimizers: torch.optim.Optimizer | Iterable[torch.optim.Optimizer] | None = None,
    statistics: str = "sequential",
) -> nn.Module:
    """Turns every batch norm of a model into a ghost batch norm and returns the model.

    Layers of ours and torch's BatchNorm1d, 2d and 3d change their class in place, so
    parameters, state, hooks, device, dtype and flags are the same objects as before,
    and an optimizer has nothing to exchange. Doing it again only sets the size.
    Subclasses of theirs, among them SyncBatchNorm and lazy layers, stay as they are.

    Args:
      model: may be a batch norm itself.
      ghost_batch_size: the most examples that are normalised together.
      optimizers: need no change; taken so that callers of Composer's function can stay.
      statistics: see `GhostBatchNorm`.
    """
    del optimizers
    settings = check_ghost(ghost_batch_size, statistics)
    for layer in model.modules():
        kind = type(layer)
        if kind in _GHOSTS or kind in _PLAIN:
            _set_class(layer, _GHOSTS.get(kind, kind))
            layer.__dict__.update(settings)
    return model


def remove_ghost_batchnorm(model: nn.Module) -> nn.Module:
    """Undoes `apply_ghost_batchnorm` and returns the model."""
    for layer in model.modules():
        if type(layer) in _PLAIN:
            _set_class(layer, _PLAIN[type(layer)])
            del layer.ghost_batch_size, layer.statistics
    return model


def _set_class(layer: nn.Module, kind: type[nn.Module]) -> None:
    object.__dict__["__class__"].__set__(layer, kind)  # ours hides its class
