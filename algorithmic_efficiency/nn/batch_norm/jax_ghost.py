"""Ghost batch norm in JAX; see `ghost` and docs/batch_norm.md."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from algorithmic_efficiency.nn.batch_norm.jax import BatchNorm, State
from algorithmic_efficiency.nn.batch_norm.jax_moments import Moments, moments_of
from algorithmic_efficiency.nn.batch_norm.norms import check_ghost, ghost_groups


class GhostBatchNorm(BatchNorm):
    """Batch norm by ghost batches; evaluation is that of plain batch norm.

    Attributes:
      ghost_batch_size: the most examples that a chunk has; a smaller batch is one.
      statistics: 'sequential': each chunk moves the running statistics by momentum / c
        in turn, as in Composer; 'exact': one update with those of the whole batch.
    """

    ghost_batch_size: int = 32
    statistics: str = "sequential"

    def _by_batch(
        self, z: jax.Array, valid: jax.Array | None, state: State | None, affine: object
    ) -> jax.Array:
        check_ghost(self.ghost_batch_size, self.statistics)
        parts, tables, start = [], [], 0
        for chunks, size in ghost_groups(len(z), self.ghost_batch_size):
            stop = start + chunks * size
            here = _folded(z[start:stop], chunks)
            seen_here = valid
            if valid is not None:
                seen_here = _folded(
                    jnp.broadcast_to(valid, (len(z), *valid.shape[1:]))[start:stop],
                    chunks,
                )
            self._check_chunks(here, seen_here)
            seen = self._moments(here, seen_here, chunks=True)
            y = self._normalised(here, seen_here, seen, affine)
            parts.append(y.reshape(z[start:stop].shape))
            found = moments_of(seen)
            channels = (chunks, z.shape[-1])
            tables.append(
                Moments(
                    found.shift.reshape(channels),
                    found.mean.reshape(channels),
                    found.m2.reshape(channels),
                    found.count.reshape(chunks, 1),
                )
            )
            start = stop
        if state is not None and not self.is_initializing():
            table = jax.tree.map(
                lambda *rows: self._of_all(jnp.concatenate(rows)), *tables
            )
            self._move(state, table)
        return parts[0] if len(parts) == 1 else jnp.concatenate(parts)

    def _check_chunks(self, z: jax.Array, valid: jax.Array | None) -> None:
        if valid is None and z[0].size == z.shape[-1] and not self.is_initializing():
            raise ValueError(
                "Found a ghost batch with one value per channel; batch statistics need "
                "two. Choose another batch size or ghost_batch_size."
            )

    def _of_all(self, table: jax.Array) -> jax.Array:
        """Returns the rows of all mapped devices, one under another."""
        axes = self._axes
        return lax.all_gather(table, axes, tiled=True) if axes else table

    def _move(self, state: State, table: Moments) -> None:
        """Moves what is mutable with the moments [c, C] of all chunks."""
        if self.statistics == "exact" or self.is_mutable_collection("moments"):
            self._move_by(state, _together(table))
            return
        if not self.is_mutable_collection("batch_stats"):
            return
        mean, var, before = state.values
        real = (table.count > 0).astype(jnp.float32)  # [c, 1]
        k = jnp.sum(real)
        count = before + k.astype(before.dtype)
        if self.momentum == 0:
            state.set((mean, var, count))
            return
        if self.momentum is None:
            total = jnp.maximum(count, 1)
            weights, keep = real / total, before / total
        else:
            a = self.momentum / len(real)
            after = jnp.sum(real) - jnp.cumsum(real)[:, None]
            # Powers from a table, which NumPy makes in float64.
            powers = jnp.asarray(
                (1 - np.float64(a)) ** np.arange(len(real) + 1), mean.dtype
            )
            weights = a * real * powers[after.astype(jnp.int32)]
            keep = powers[k.astype(jnp.int32)]
        variances = table.m2 / jnp.maximum(table.count - self._ddof, 1)
        new = (
            keep * old + jnp.sum(weights * rows, 0)
            for old, rows in ((mean, table.shift), (var, variances))
        )
        state.set((*(lax.stop_gradient(value) for value in new), count))


def _folded(x: jax.Array, chunks: int) -> jax.Array:
    return x.reshape(chunks, -1, *x.shape[1:])


def _together(table: Moments) -> Moments:
    """Returns the moments of all rows."""
    count = jnp.sum(table.count)
    means = table.shift - table.shift[0]
    mean = jnp.sum(means * table.count, 0) / jnp.maximum(count, 1)
    m2 = table.m2 + jnp.square(means - mean) * table.count
    return Moments(table.shift[0], mean, jnp.sum(m2, 0), count)
