"""The batch norm layer of our JAX models; the formulas are in `__init__.py`."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from algorithmic_efficiency.nn.batch_norm import check_mask, check_variance
from algorithmic_efficiency.nn.batch_norm.jax_moments import (
    MOMENTS,
    Moments,
    Seen,
    merged,
    moments_of,
    moved,
)
from algorithmic_efficiency.nn.batch_norm.jax_moments import recalibrate as recalibrate

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


class State(NamedTuple):
    """The variables of a layer with running statistics."""

    mean: Any
    var: Any
    count: Any

    @property
    def values(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What they hold, without gradient."""
        return tuple(lax.stop_gradient(each.value) for each in self)  # type: ignore[return-value]

    def set(self, values: tuple[jax.Array, ...]) -> None:
        """Writes mean, var and count."""
        for variable, value in zip(self, values, strict=True):
            variable.value = value


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
      affine: False: neither scale nor bias.
      use_bias: False: no bias.
      track_running_stats: False: no state; every pass uses batch statistics.
    """

    momentum: float | None = 0.1
    epsilon: float = 1e-5
    variance: str = "unbiased"
    axis_name: str | None = None
    zero_centered_scale: bool = False
    affine: bool = True
    use_bias: bool = True
    track_running_stats: bool = True

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
        z = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        valid = _positions(mask, x)
        affine, state = self._affine(x.shape[-1:]), self._state(x.shape[-1:])
        if use_running_average and state is not None:
            y = self._normalised(z, valid, self._running(state), affine)
        else:
            self._check_size(x, mask)
            y = self._by_batch(z, valid, state, affine)
        return _select(valid, y).astype(x.dtype)

    def _affine(self, shape: tuple[int, ...]) -> tuple[Any, Any]:
        """Returns scale and bias, [C] or numbers."""
        scale: Any = 1.0
        bias: Any = 0.0
        zeros, ones = nn.initializers.zeros, nn.initializers.ones
        if self.affine:
            start = zeros if self.zero_centered_scale else ones
            scale = self.param("scale", start, shape) + self.zero_centered_scale
        if self.affine and self.use_bias:
            bias = self.param("bias", zeros, shape)
        return scale, bias

    def _state(self, shape: tuple[int, ...]) -> State | None:
        if not self.track_running_stats:
            return None
        return State(
            self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32),
            self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32),
            self.variable("batch_stats", "count", jnp.zeros, (), jnp.int32),
        )

    def _running(self, state: State) -> Seen:
        """Returns what the running normaliser uses."""
        mean, var, count = state.values
        return Seen(mean, mean, var, count)

    def _by_batch(
        self, z: jax.Array, valid: jax.Array | None, state: State | None, affine: Any
    ) -> jax.Array:
        """Returns z normalised by its own statistics, having updated with them."""
        seen = self._moments(z, valid)
        self._learn(state, seen)
        return self._normalised(z, valid, seen, affine)

    def _learn(self, state: State | None, seen: Seen) -> None:
        """Moves what is mutable: the running statistics, or collected moments."""
        if state is not None and not self.is_initializing():
            self._update(state, seen)
            self._accumulate(moments_of(seen))

    def _normalised(
        self, z: jax.Array, valid: jax.Array | None, seen: Seen, affine: Any
    ) -> jax.Array:
        """Equal to (z - mean) * factor + bias since constant = mean; see `_moments`."""
        m, c, v, _ = seen
        scale, bias = affine
        factor = scale * lax.rsqrt(v + self.epsilon)
        return _select(valid, z - c) * factor + (bias - (m - c) * factor)

    def _check_size(self, x: jax.Array, mask: jax.Array | None) -> None:
        """Refuses what PyTorch refuses; only a mask may leave one value or none."""
        alone = self.axis_name is None and not _MAPPED.get()
        alone = alone and not self.is_mutable_collection("moments")
        sole = mask is None and alone and x.size == x.shape[-1]
        if sole and not self.is_initializing():
            raise ValueError(
                f"Found one value per channel in an input of shape {x.shape}; batch "
                "statistics need two. Use a larger batch or use_running_average=True."
            )

    def _moments(
        self, z: jax.Array, valid: jax.Array | None, chunks: bool = False
    ) -> Seen:
        """Returns mean m, c = m without gradient, population variance v, number n.

        v = sum((z - c)^2) / n - (m - c)^2 for every constant c. With c = m this is
        the accurate two-pass formula, and differentiating it needs no third pass.

        Args:
          z: [B, ..., C].
          valid: bool, broadcastable to z; None: every position.
          chunks: the first axis keeps statistics apart; [B, 1, ..., C] are returned.
        """
        axes = tuple(range(chunks, z.ndim - 1))
        total = (lambda local: local) if chunks else self._total
        positions = jnp.ones(z.shape[:-1] + (1,), z.dtype)
        count_axes = axes if chunks else None
        n = total(jnp.sum(_select(valid, positions), count_axes, keepdims=chunks))
        m = total(jnp.sum(_select(valid, z), axes, keepdims=chunks)) / jnp.maximum(n, 1)
        c = lax.stop_gradient(m)
        squares = jnp.square(_select(valid, z - c))
        squares = total(jnp.sum(squares, axes, keepdims=chunks))
        return Seen(m, c, squares / jnp.maximum(n, 1) - (m - c) ** 2, n)

    @property
    def _axes(self) -> Any:
        return _MAPPED.get() if self.axis_name is None else self.axis_name

    def _total(self, local: jax.Array) -> Any:
        axes = self._axes
        return lax.psum(local, axes) if axes else local  # type: ignore[no-untyped-call]

    def _update(self, state: State, seen: Seen) -> None:
        """Moves a mutable state: new = (1 - momentum) * old + momentum * batch."""
        if not self.is_mutable_collection("batch_stats"):
            return
        new = moved(state.values, self.momentum, moments_of(seen), self._ddof)
        if self.momentum == 0:
            new = (*state.values[:2], new[2])
        state.set(new)

    @property
    def _ddof(self) -> int:
        return int(self.variance == "unbiased")

    def _accumulate(self, new: Moments) -> None:
        """Merges the batch into a mutable collection 'moments' (see `jax_moments`)."""
        if not self.is_mutable_collection("moments"):
            return
        old = Moments(*(self.get_variable("moments", key) for key in MOMENTS))
        for key, value in zip(MOMENTS, merged(old, new), strict=True):
            self.put_variable("moments", key, value)
        momentum = -1.0 if self.momentum is None else self.momentum
        self.put_variable("moments", "momentum", jnp.asarray(momentum, jnp.float32))
        self.put_variable("moments", "ddof", jnp.asarray(self._ddof, jnp.float32))


def _positions(mask: jax.Array | None, x: jax.Array) -> jax.Array | None:
    """Returns the mask as bool, broadcastable to x, or None."""
    if mask is None:
        return None
    check_mask(mask.shape, x.shape[:-1])
    return jnp.reshape(mask != 0, mask.shape + (1,) * (x.ndim - mask.ndim))


def _select(valid: jax.Array | None, x: jax.Array) -> jax.Array:
    """Returns x with 0 where it is not valid; there, nothing flows back either."""
    return x if valid is None else jnp.where(valid, x, 0)
