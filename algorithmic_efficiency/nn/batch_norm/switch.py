"""Freezes running statistics in PyTorch: for one block, or until further notice.

Nothing here touches a momentum or writes to a buffer. A frozen layer is one that does
not hand its buffers to the kernel, so there is nothing to write to, and nothing to
restore but Python flags:

  our layers                     update_statistics = False.
  torch's batch norm layers      track_running_stats = False: in training mode the
                                 kernel gets no buffers and the counter stays.
  torch's instance norm layers   always hand over their buffers, so the one method
                                 that does so is shadowed by one that does not.
  a lazy layer without a shape   needs track_running_stats to make its buffers, so
                                 the method that makes them is shadowed as well.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy

from algorithmic_efficiency.nn.batch_norm.blocks import Block


@contextlib.contextmanager
def batch_norm_mode(
    module: nn.Module, *, update: bool, use_running_average: bool | None = None
) -> Iterator[None]:
    """Sets every layer with running statistics for one block and restores it exactly.

    Blocks nest, survive exceptions and may end in another order than that of their
    beginnings; a copy of the module that is made in a block is not frozen by it (see
    `blocks`).

    Args:
      module: any module, wrapped by DDP or torch.compile or not.
      update: whether running statistics move when batch statistics are used.
      use_running_average: the normaliser; None takes it from each layer's `training`.
    """
    blocks = [(layer, Block(layer, _FLAGS)) for layer in running_layers(module)]
    switch = thaw if update else freeze
    try:
        for layer, block in blocks:
            switch(layer)
            if use_running_average is not None:
                layer.__dict__["training"] = not use_running_average
            if not layer.training and torch.is_grad_enabled():
                _keep_buffers_apart(layer, block)
        yield
    finally:
        for layer, block in blocks:
            block.end(layer)


def running_layers(module: nn.Module) -> Iterator[nn.Module]:
    """Yields each layer that may have running statistics once, shared or not."""
    seen = {id(module)}
    stack = [module]
    while stack:
        layer = stack.pop()
        if has_statistics(layer):
            yield layer
        for child in layer._modules.values():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                stack.append(child)


def has_statistics(layer: nn.Module) -> bool:
    """Returns whether this very module is a layer that may have running statistics."""
    return "update_statistics" in layer.__dict__ or isinstance(layer, _NormBase)


def freeze(layer: nn.Module) -> None:
    """Makes one layer use batch statistics without writing any; idempotent."""
    flags = layer.__dict__
    if "update_statistics" in flags:
        flags["update_statistics"] = False
    elif flags["track_running_stats"]:
        flags["track_running_stats"] = False
        for name, shadow in _SHADOWS.items():
            if hasattr(type(layer), name):
                flags[name] = functools.partial(shadow, layer)
        flags["_frozen"] = True


def thaw(layer: nn.Module) -> None:
    """Undoes `freeze`; a layer that the user set not to track stays as it is."""
    flags = layer.__dict__
    if "update_statistics" in flags:
        flags["update_statistics"] = True
    elif flags.pop("_frozen", False):
        flags["track_running_stats"] = True
        for name in _SHADOWS:
            flags.pop(name, None)


def _instance_norm(layer: Any, x: Tensor) -> Tensor:
    """Instance norm with the layer's normaliser but without writing to its buffers."""
    return F.instance_norm(
        x,
        None if layer.training else layer.running_mean,
        None if layer.training else layer.running_var,
        layer.weight,
        layer.bias,
        layer.training,
        eps=layer.eps,
    )


def _materialise(layer: Any, x: Tensor) -> None:
    """Gives a frozen lazy layer its parameters and its buffers."""
    layer.__dict__["track_running_stats"] = True
    try:
        type(layer).initialize_parameters(layer, x)
    finally:
        layer.__dict__["track_running_stats"] = False


_SHADOWS = {
    "_apply_instance_norm": _instance_norm,
    "initialize_parameters": _materialise,
}
_FLAGS = ("training", "update_statistics", "track_running_stats", "_frozen", *_SHADOWS)


def _keep_buffers_apart(layer: nn.Module, block: Block) -> None:
    """Lends a layer of torch's copies of the statistics that a later backward reads.

    torch's kernel keeps the running statistics that it normalised with for backward,
    yet does not notice when a later update overwrites them: the gradient would be
    silently wrong. Only a running normaliser with gradients is concerned.
    """
    if "update_statistics" not in layer.__dict__ and isinstance(layer, _NormBase):
        for name, buffer in layer._buffers.items():
            if buffer is not None and not is_lazy(buffer):
                block.lend(layer, name, buffer.clone())
