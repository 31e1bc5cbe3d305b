"""The PyTorch layer that a model argument `norm` names; see `norms`."""

from typing import Any

from algorithmic_efficiency.nn.batch_norm.accumulated import AccumulateBatchNorm
from algorithmic_efficiency.nn.batch_norm.ema import EmaBatchNorm
from algorithmic_efficiency.nn.batch_norm.ghost import GhostBatchNorm
from algorithmic_efficiency.nn.batch_norm.norms import parse
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm


def batch_norm(norm: str, num_features: int, **settings: Any) -> BatchNorm:
    """Returns the member of the family that `norm` names.

    Args:
      norm: a word such as 'batch' or 'ghost:32'.
      num_features: channels.
      settings: of `pytorch.BatchNorm`, which every member takes.

    Raises:
      ValueError: there is no such word.
    """
    wanted = parse(norm)
    if wanted.kind == "accumulated":
        settings["automatic"] = True
    return _KINDS[wanted.kind](num_features, **settings, **wanted.options)


_KINDS = {
    "batch": BatchNorm,
    "ghost": GhostBatchNorm,
    "ema": EmaBatchNorm,
    "accumulated": AccumulateBatchNorm,
}
