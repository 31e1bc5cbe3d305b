"""The JAX layer that a model argument `norm` names; see `norms`."""

from typing import Any

from algorithmic_efficiency.nn.batch_norm.jax import BatchNorm
from algorithmic_efficiency.nn.batch_norm.jax_accumulated import AccumulateBatchNorm
from algorithmic_efficiency.nn.batch_norm.jax_ema import EmaBatchNorm
from algorithmic_efficiency.nn.batch_norm.jax_ghost import GhostBatchNorm
from algorithmic_efficiency.nn.batch_norm.norms import parse


def batch_norm(norm: str, **settings: Any) -> BatchNorm:
    """Returns the member of the family that `norm` names.

    Args:
      norm: a word such as 'batch' or 'ghost:32'.
      settings: of `jax.BatchNorm`, which every member takes; `name` among them.

    Raises:
      ValueError: there is no such word.
    """
    wanted = parse(norm)
    return _KINDS[wanted.kind](**settings, **wanted.options)


_KINDS = {
    "batch": BatchNorm,
    "ghost": GhostBatchNorm,
    "ema": EmaBatchNorm,
    "accumulated": AccumulateBatchNorm,
}
