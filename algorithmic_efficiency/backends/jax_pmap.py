"""JAX for submissions of the pmap style, as the public benchmark's first version was.

To them parameters, model state and batches have a leading device axis: [devices, ...]
and [devices, B / devices, ...]. Here the axis is added to what they get and taken from
what the harness uses; nothing else of the harness knows it. A copy lies on every
device, as `flax.jax_utils.replicate` puts it, and an evaluation uses the first one.

`sources.style_of` chooses this backend by what the submission calls.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from algorithmic_efficiency import jax_sharding_utils
from algorithmic_efficiency.backends.base import Pass
from algorithmic_efficiency.backends.jax import JaxBackend
from algorithmic_efficiency.definition import Definition
from algorithmic_efficiency.errors import SubmissionError
from algorithmic_efficiency.nn.batch_norm.jax import summed_over


def make() -> "PmapBackend":
    """Returns the backend over all local devices."""
    return PmapBackend()


class PmapBackend(JaxBackend):
    """See `backends.base.Backend`; `model_fn` is called inside of `jax.pmap`."""

    def init(self, model: Any, definition: Definition, seed: tuple[int, int]) -> Any:
        """Returns (params, model state), each array [devices, ...]."""
        return _replicated(super().init(model, definition, seed))

    def adopt(self, optimizer_state: Any) -> Any:
        """Returns the state with its replicated arrays where pmap will leave them.

        `jax_utils.replicate` puts them on a mesh of its own; the second step would be
        compiled anew.
        """
        return jax.tree.map(self._adopted, optimizer_state)

    def _adopted(self, leaf: Any) -> Any:
        spread = (
            isinstance(leaf, jax.Array)
            and leaf.shape[:1] == (self.device_count,)
            and len(leaf.sharding.device_set) == self.device_count
        )
        return jax_sharding_utils.shard_along_batch_dim(leaf) if spread else leaf

    def forward(
        self, model: Any, params: Any, batch: Any, model_state: Any, how: Pass
    ) -> tuple[Any, Any]:
        """Returns (outputs, new state) of one device's part of the batch.

        Batch statistics are those of the whole batch, as under jit: they are summed
        over the mapped axis, whatever its name.
        """
        axes = tuple(jax.sharding.get_abstract_mesh().manual_axes)
        try:
            with summed_over(axes):
                return super().forward(model, params, batch, model_state, how)
        except flax.errors.ScopeParamShapeError as error:
            if axes:
                raise
            raise SubmissionError(
                "model_fn was called outside of jax.pmap with parameters that have a "
                "device axis. Call it inside, or with flax.jax_utils.unreplicate of "
                "parameters and model state."
            ) from error

    def recalibrate(
        self, model: Any, params: Any, model_state: Any, batches: Iterable[Any]
    ) -> Any:
        """Returns a new state [devices, ...] with exact running statistics."""
        exact = super().recalibrate(
            model, _first(params), _first(model_state), map(_merged, batches)
        )
        return _replicated(exact)

    def predict(
        self,
        model: Any,
        params: Any,
        model_state: Any,
        batch: Any,
        how: Callable[..., Any] | None = None,
    ) -> Any:
        """Returns the outputs of the first device's parameters for the whole batch."""
        return super().predict(
            model, _first(params), _first(model_state), _merged(batch), how
        )

    def place(self, batch: Mapping[str, Any], fields: Mapping[str, Any]) -> Any:
        """Returns the batch as [devices, B / devices, ...], a part on every device."""
        count = self.device_count
        split = jax.tree.map(
            lambda x: np.reshape(x, (count, -1, *np.shape(x)[1:])), dict(batch)
        )
        return super().place(split, fields)

    def canonical(self, params: Any, model_state: Any) -> dict[str, Any]:
        """Returns the first device's parameters and running statistics."""
        return super().canonical(_first(params), _first(model_state))


def _replicated(tree: Any) -> Any:
    """Returns the tree with a copy of each array for each device, [devices, ...]."""
    count = jax.local_device_count()
    copies = jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), tree)
    return jax_sharding_utils.shard_along_batch_dim(copies)


def _first(tree: Any) -> Any:
    """Returns the first device's copy of every array, on all devices."""
    return jax_sharding_utils.replicate(jax.tree.map(lambda x: x[0], tree))


def _merged(batch: Any) -> Any:
    """Returns a batch [devices, B / devices, ...] as [B, ...]."""
    return jax.tree.map(lambda x: jnp.reshape(x, (-1, *x.shape[2:])), dict(batch))
