"""Moving-average normalisation in JAX; see `ema` and docs/batch_norm.md."""

from typing import Any

import jax
import jax.numpy as jnp

from algorithmic_efficiency.nn.batch_norm.jax import BatchNorm, State
from algorithmic_efficiency.nn.batch_norm.jax_moments import (
    Moments,
    Seen,
    moved,
)
from algorithmic_efficiency.nn.batch_norm.norms import check_ema


class EmaBatchNorm(BatchNorm):
    """Batch norm whose running statistics carry no trace of their initial values.

    The state holds the debiased average: the weight of a batch is
    momentum / (1 - (1 - momentum)^t) at the t-th update, so 1 at the first.

    Attributes:
      normalise_with: 'ema': training normalises with the average after the update, in
        which the batch's own share has a gradient; 'batch': as plain batch norm.
      warmup_steps: updates over which 'ema' moves from the batch to the average.
      compatibility: 'equinox': the released Equinox layer number for number, what is
        wrong with it included; 'equinox-675': likewise its pull request 675; None.
    """

    normalise_with: str = "ema"
    warmup_steps: int = 1
    compatibility: str | None = None

    @property
    def _estimator(self) -> str:
        given = (self.normalise_with, self.warmup_steps, self.compatibility)
        return check_ema(*given, self.variance)

    @property
    def _ddof(self) -> int:
        return int(self._estimator == "unbiased")

    def _by_batch(
        self, z: jax.Array, valid: jax.Array | None, state: State | None, affine: Any
    ) -> jax.Array:
        ddof = self._ddof  # checks the settings
        if self.normalise_with == "batch" or state is None:
            seen = self._moments(z, valid)
            by_examples = self.compatibility == "equinox-675" and ddof
            if by_examples:  # the pull request's divisor, a fault where x has positions
                n, b = seen.count, len(z)
                faulty = seen.var * (n - 1) / n * b / max(b - 1, 1)
                self._learn(z, valid, state, seen._replace(var=faulty))
            else:
                self._learn(z, valid, state, seen)
            return self._normalised(z, valid, seen, affine)
        old_mean, old_var, count = state.values
        seen = self._moments(z, valid)
        self._learn(z, valid, state, seen)
        stored = self._stored(count)
        mean = (1 - stored) * seen.mean + stored * old_mean
        var = (1 - stored) * seen.var + stored * old_var
        used = Seen(mean, seen.constant, var, seen.count)
        return self._normalised(z, valid, used, affine)

    def _stored(self, count: jax.Array) -> jax.Array:
        """Returns the weight of the stored average in the normaliser.

        With f the part of the warm-up that is done, a the momentum and z what debiasing
        makes up for after the update: f (1 - a - z); the batch has the rest.
        """
        t = count.astype(jnp.float32)
        if self.compatibility == "equinox" and self.momentum is not None:
            return jnp.where(count > 0, 1 - self.momentum, 0.0)
        done = jnp.minimum(t / self.warmup_steps, 1)
        if self.momentum is None:
            return done * t / (t + 1)
        return done * (1 - self.momentum - _left(self.momentum, t + 1))

    def _weight(self, count: jax.Array) -> Any:
        """Returns the weight of the new batch in the update after `count` others."""
        t = count.astype(jnp.float32) + 1
        if self.momentum is None:
            return 1 / t
        if self.compatibility == "equinox":
            first = 1.0 if self.normalise_with == "ema" else self.momentum
            return jnp.where(count > 0, self.momentum, first)
        return self.momentum / (1 - _left(self.momentum, t))

    def _moved(self, state: State, new: Moments) -> tuple[jax.Array, ...]:
        if self.momentum == 0:
            return super()._moved(state, new)
        values = state.values
        return moved(values, self._weight(values[2]), new, self._ddof)

    def _running(self, state: State) -> Seen:
        seen = super()._running(state)
        if self.compatibility is None or self.momentum is None:
            return seen
        if (self.compatibility, self.normalise_with) == ("equinox", "batch"):
            gone = 1 - _left(self.momentum, seen.count.astype(jnp.float32))
            divisor = jnp.where(seen.count > 0, gone, 1.0)
            mean = seen.mean / divisor
            return Seen(mean, mean, seen.var / divisor, seen.count)
        return seen._replace(var=jnp.where(seen.count > 0, seen.var, 0.0))


def _left(momentum: float, t: jax.Array) -> jax.Array:
    """Returns (1 - momentum)^t, accurate for small momenta."""
    return jnp.exp(t * jnp.log1p(-jnp.float32(momentum))) if momentum < 1 else 0.0 * t
