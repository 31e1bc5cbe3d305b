"""The batch norm layer of our JAX models; the formulas are in `__init__.py`."""

import contextlib
import contextvars
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from algorithmic_efficiency.nn.batch_norm import check_mask, check_variance

Tree = Mapping[str, Any]
_MAPPED: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar(
    "mapped axes", default=()
)


@contextlib.contextmanager
def summed_over(axes: tuple[str, ...]) -> Iterator[None]:
    """Lets every layer without an axis_name sum over these mapped axes meanwhile."""
    token = _MAPPED.set(axes)
    try:
        yield
    finally:
        _MAPPED.reset(token)


class BatchNorm(nn.Module):
    """Batch norm that counts only valid positions and updates only when told.

    The last axis holds the channels. It updates the collection 'batch_stats' (mean
    and var, [C] float32, and count, the number of updates) if and only if that
    collection is mutable and the batch normaliser is used; initialising is no update.

    Attributes:
      momentum: weight of the new batch; None is cumulative.
      epsilon: added to the variance.
      variance: 'unbiased' or 'population', what enters the running variance.
      axis_name: the mapped axis to sum over inside shard_map. Under jit with sharded
        batches the statistics are those of the global batch without it.
      zero_centered_scale: the scale is 1 + parameter, and the parameter starts at 0.
    """

    momentum: float | None = 0.1
    epsilon: float = 1e-5
    variance: str = "unbiased"
    axis_name: str | None = None
    zero_centered_scale: bool = False

    @nn.compact
    def __call__(
        self, x: jax.Array, mask: jax.Array | None = None, *, use_running_average: bool
    ) -> jax.Array:
        """Returns x normalised, in its shape and dtype, and 0 where it is not valid.

        Args:
          x: [B, ..., C].
          mask: nonzero = valid; its shape is a prefix of [B, ...]. None: all valid.
          use_running_average: selects the running normaliser, which never updates.
        """
        check_variance(self.variance)
        shape = x.shape[-1:]
        zeros, ones = nn.initializers.zeros, nn.initializers.ones
        scale = self.param("scale", zeros if self.zero_centered_scale else ones, shape)
        bias = self.param("bias", zeros, shape)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        count = self.variable("batch_stats", "count", jnp.zeros, (), jnp.int32)

        z = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        valid = _positions(mask, x)
        if use_running_average:
            m = c = lax.stop_gradient(mean.value)
            v = lax.stop_gradient(var.value)
        else:
            self._check_size(x, mask)
            m, c, v, n = self._moments(z, valid)
            if not self.is_initializing():
                self._update((mean, var, count), m, v, n)
                self._accumulate(m, v, n)
        factor = (scale + self.zero_centered_scale) * lax.rsqrt(v + self.epsilon)
        # Equal to (z - m) * factor + bias, since c = m; see `_moments`.
        y = _select(valid, z - c) * factor + (bias - (m - c) * factor)
        return _select(valid, y).astype(x.dtype)

    def _check_size(self, x: jax.Array, mask: jax.Array | None) -> None:
        """Refuses what PyTorch refuses; only a mask may leave one value or none."""
        alone = self.axis_name is None and not _MAPPED.get()
        sole = mask is None and alone and x.size == x.shape[-1]
        if sole and not self.is_initializing():
            raise ValueError(
                f"Found one value per channel in an input of shape {x.shape}; batch "
                "statistics need two. Use a larger batch or use_running_average=True."
            )

    def _moments(
        self, z: jax.Array, valid: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Returns mean m, c = m without gradient, population variance v, number n.

        v = sum((z - c)^2) / n - (m - c)^2 for every constant c. With c = m this is
        the accurate two-pass formula, and differentiating it needs no third pass.
        """
        axes = tuple(range(z.ndim - 1))
        positions = jnp.ones(z.shape[:-1] + (1,), z.dtype)
        n = self._total(jnp.sum(_select(valid, positions)))
        m = self._total(jnp.sum(_select(valid, z), axes)) / jnp.maximum(n, 1)
        c = lax.stop_gradient(m)
        squares = jnp.square(_select(valid, z - c))
        v = self._total(jnp.sum(squares, axes)) / jnp.maximum(n, 1) - (m - c) ** 2
        return m, c, v, n

    def _total(self, local: jax.Array) -> Any:
        axes = _MAPPED.get() if self.axis_name is None else self.axis_name
        return lax.psum(local, axes) if axes else local  # type: ignore[no-untyped-call]

    def _estimate(self, squares: jax.Array, n: jax.Array) -> jax.Array:
        """Returns the variance that enters the state, given sum((x - m)^2)."""
        return squares / jnp.maximum(n - (self.variance == "unbiased"), 1)

    def _update(
        self, state: tuple[Any, Any, Any], m: jax.Array, v: jax.Array, n: jax.Array
    ) -> None:
        """Moves a mutable state: new = (1 - momentum) * old + momentum * batch."""
        if not self.is_mutable_collection("batch_stats"):
            return
        mean, var, count = state
        count.value = count.value + (n > 0)
        if self.momentum == 0:
            return
        a = 1 / jnp.maximum(count.value, 1) if self.momentum is None else self.momentum
        for running, batch in ((mean, m), (var, self._estimate(v * n, n))):
            new = (1 - a) * running.value + a * batch.astype(jnp.float32)
            running.value = lax.stop_gradient(jnp.where(n > 0, new, running.value))

    def _accumulate(self, m: jax.Array, v: jax.Array, n: jax.Array) -> None:
        """Merges the batch into a mutable collection 'moments' (see `recalibrate`)."""
        if not self.is_mutable_collection("moments"):
            return
        mean = self.variable("moments", "mean", jnp.zeros_like, m)
        var = self.variable("moments", "var", jnp.zeros_like, v)
        count = self.variable("moments", "count", jnp.zeros_like, n)
        old, total = count.value, count.value + n
        squares = var.value * jnp.maximum(old - (self.variance == "unbiased"), 0)
        change, share = m - mean.value, n / jnp.maximum(total, 1)
        mean.value = mean.value + change * share
        squares = squares + v * n + change**2 * old * share
        var.value = self._estimate(squares, total)
        count.value = total


def recalibrate(
    forward: Callable[[Tree, Any], Tree], batch_stats: Tree, batches: Iterable[Any]
) -> Tree:
    """Returns `batch_stats` with the exact statistics over all of `batches`.

    Counters stay. Averaged weights and schedule-free methods need this before an
    evaluation.

    Args:
      forward: (moments, batch) -> moments; applies the model with the collections
        {'params', 'batch_stats', 'moments'}, use_running_average=False and
        mutable=['moments'], and returns the new 'moments'.
      batch_stats: the collection of this name.
      batches: what `forward` takes.
    """
    moments = jax.tree.map(lambda x: jnp.zeros_like(x, jnp.float32), batch_stats)
    for batch in batches:
        moments = forward(moments, batch)
    exact: Tree = jax.tree.map(_replaced, batch_stats, moments, is_leaf=_is_layer)
    return exact


def _is_layer(tree: Any) -> bool:
    return "count" in tree


def _replaced(state: Tree, moments: Tree) -> Tree:
    if moments["count"] == 0:
        return state
    return {**state, "mean": moments["mean"], "var": moments["var"]}


def _positions(mask: jax.Array | None, x: jax.Array) -> jax.Array | None:
    """Returns the mask as bool, broadcastable to x, or None."""
    if mask is None:
        return None
    check_mask(mask.shape, x.shape[:-1])
    return jnp.reshape(mask != 0, mask.shape + (1,) * (x.ndim - mask.ndim))


def _select(valid: jax.Array | None, x: jax.Array) -> jax.Array:
    """Returns x with 0 where it is not valid; there, nothing flows back either."""
    return x if valid is None else jnp.where(valid, x, 0)
