"""The batch norm layer of our JAX models; the formulas are in `__init__.py`."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from algorithmic_efficiency.nn.batch_norm import check_variance


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
        features = x.shape[-1]
        first = (
            nn.initializers.zeros if self.zero_centered_scale else nn.initializers.ones
        )
        scale = self.param("scale", first, (features,)) + self.zero_centered_scale
        bias = self.param("bias", nn.initializers.zeros, (features,))
        mean = self.variable("batch_stats", "mean", jnp.zeros, (features,), jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, (features,), jnp.float32)
        count = self.variable("batch_stats", "count", jnp.zeros, (), jnp.int32)

        z, valid = _select(x, mask)
        if use_running_average:
            centred, v = z - mean.value, var.value
        else:
            m, centred, v, n = self._moments(z, valid)
            if self.is_mutable_collection("batch_stats") and not self.is_initializing():
                self._update((mean, var, count), m, v, n)
        y = centred * (scale * lax.rsqrt(v + self.epsilon)) + bias
        return (y if valid is None else jnp.where(valid, y, 0)).astype(x.dtype)

    def _moments(self, z: jax.Array, valid: jax.Array | None) -> tuple[jax.Array, ...]:
        """Returns mean [C], z - mean (0 where invalid), v [C] and the number n."""
        axes = tuple(range(z.ndim - 1))
        positions = z[..., :1]
        counted = jnp.ones_like(positions) if valid is None else valid
        n = self._total(
            jnp.sum(jnp.broadcast_to(counted, positions.shape).astype(z.dtype))
        )
        mean = self._total(jnp.sum(z, axes)) / jnp.maximum(n, 1)
        centred = z - mean
        if valid is not None:
            centred = jnp.where(valid, centred, 0)
        v = self._total(jnp.sum(jnp.square(centred), axes)) / jnp.maximum(n, 1)
        return mean, centred, v, n

    def _total(self, local: jax.Array) -> jax.Array:
        return local if self.axis_name is None else lax.psum(local, self.axis_name)

    def _update(
        self, state: tuple[Any, Any, Any], mean: jax.Array, v: jax.Array, n: jax.Array
    ) -> None:
        """Moves the state, new = (1 - momentum) * old + momentum * batch, if n > 0."""
        if self.variance == "unbiased":
            v = v * (n / jnp.maximum(n - 1, 1))
        count = state[2].value + (n > 0)
        a = 1 / jnp.maximum(count, 1) if self.momentum is None else self.momentum
        for running, batch in zip(state[:2], (mean, v), strict=True):
            new = (1 - a) * running.value + a * lax.stop_gradient(batch)
            new = lax.stop_gradient(jnp.where(n > 0, new, running.value))
            running.value = new.astype(jnp.float32)
        state[2].value = count


def _select(x: jax.Array, mask: Any) -> tuple[jax.Array, jax.Array | None]:
    """Returns x in float32 or wider with 0 where invalid, and the mask as [..., 1]."""
    z = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    if mask is None:
        return z, None
    valid = (mask != 0).reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
    return jnp.where(valid, z, 0), valid
