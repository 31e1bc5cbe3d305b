"""Accumulated batch norm in JAX; see `accumulated` and docs/batch_norm.md."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from algorithmic_efficiency.nn.batch_norm.jax import BatchNorm, State
from algorithmic_efficiency.nn.batch_norm.jax_moments import Moments, merged, moved


class AccumulateBatchNorm(BatchNorm):
    """Batch norm that updates once for all micro-batches of an optimizer step.

    Each micro-batch is normalised by itself; what they collect is part of the state. A
    step ends where the layer's scale or bias has changed, or by `update_stats`; the
    running statistics are at any time those of a step that ends now. Without scale and
    bias every micro-batch is a step.
    """

    def _variables(self, shape: tuple[int, ...]) -> State | None:
        state = super()._variables(shape)
        if state is not None:
            for name in _VECTORS:
                start = jnp.ones if name == "base_var" else jnp.zeros
                self.variable("batch_stats", name, start, shape, jnp.float32)
            self.variable("batch_stats", "step_count", jnp.zeros, (), jnp.float32)
        return state

    @property
    def _collects(self) -> bool:
        moves = self.is_mutable_collection("batch_stats")
        return (moves and self.track_running_stats) or super()._collects

    def _move_by(self, state: State, new: Moments) -> None:
        self._accumulate(new)
        if not self.is_mutable_collection("batch_stats"):
            return
        keys = ("step_shift", "step_mean", "step_m2", "step_count")
        step = Moments(*(self._get(key) for key in keys))
        now = self._parameters()
        same = [jnp.all(self._get(key) == value) for key, value in now.items()]
        begins = step.count == 0
        begins = begins | ~jnp.all(jnp.stack(same)) if same else begins | True
        mean, var, count = state.values
        base_mean = jnp.where(begins, mean, self._get("base_mean"))
        base_var = jnp.where(begins, var, self._get("base_var"))
        step = Moments(*(jnp.where(begins, 0, value) for value in step))
        base_count = count - jnp.where(step.count > 0, 1, 0)
        step = merged(step, new)
        base = (base_mean, base_var, base_count)
        shown = moved(base, self.momentum, step, self._ddof)
        if self.momentum == 0:
            shown = (mean, var, shown[2])
        state.set(shown)
        names = (*keys, "base_mean", "base_var", *now)
        for name, value in zip(
            names, (*step, base_mean, base_var, *now.values()), strict=True
        ):
            self.put_variable("batch_stats", name, lax.stop_gradient(value))

    def _get(self, name: str) -> Any:
        return lax.stop_gradient(self.get_variable("batch_stats", name))

    def _parameters(self) -> dict[str, jax.Array]:
        """Returns the layer's own parameters by the name under which they are kept."""
        given = {"step_scale": "scale", "step_bias": "bias"}
        return {
            kept: lax.stop_gradient(self.get_variable("params", name)).astype(
                jnp.float32
            )
            for kept, name in given.items()
            if self.has_variable("params", name)
        }


_VECTORS = ("step_shift", "step_mean", "step_m2")
_VECTORS += ("step_scale", "step_bias", "base_mean", "base_var")


def update_stats(model_state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the model state after the end of a step: what follows is another one.

    The running statistics have those of the step already.
    """

    def ended(layer: Any) -> Any:
        if not isinstance(layer, Mapping):
            return layer
        if "step_count" in layer:
            return {**layer, "step_count": jnp.zeros_like(layer["step_count"])}
        return {key: ended(value) for key, value in layer.items()}

    return {**model_state, "batch_stats": ended(model_state.get("batch_stats", {}))}
