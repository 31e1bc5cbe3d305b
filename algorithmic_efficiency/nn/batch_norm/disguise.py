"""How our layer, which is no subclass, passes for torch's batch norm."""

import sys
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

_CONVERT = nn.SyncBatchNorm.convert_sync_batchnorm.__func__.__code__  # type: ignore[attr-defined]


class SeenAsTorch(nn.Module):
    """A module that isinstance takes for a batch norm of torch's.

    So torch.optim.swa_utils.update_bn, and whoever else asks isinstance(m, _BatchNorm),
    finds it. Only SyncBatchNorm.convert_sync_batchnorm does not: it would exchange the
    layer for one that has no masks, no other channel axis and no scale around 0, and
    the layer sums over processes itself.
    """

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The class that isinstance falls back to; type() gives the real one."""
        converting = sys._getframe(1).f_code is _CONVERT
        return type(self) if converting else _TorchBatchNorm

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Says how to copy a layer that is shy about its class."""
        return _blank, (type(self),), self.__getstate__()

    def _get_name(self) -> str:
        return type(self).__name__


def _blank(kind: type[nn.Module]) -> nn.Module:
    """Returns a layer of this class, before its state is set."""
    return kind.__new__(kind)


class _TorchBatchNorm(_BatchNorm):
    """What isinstance takes our layer for; nobody makes one."""
