"""What a block changes in a layer for a while, and how the layer gets it back.

A block notes what it will change when it begins, and puts it back when it ends. Blocks
may overlap in any order: where a later one has changed the same thing, and so noted
what an earlier one had put there, the note of the earlier one passes to it when the
earlier one ends first. So the last to end leaves what was there before the first.

A copy that is made meanwhile, by deepcopy, pickle or torch.save, is a copy of the layer
as it was before all blocks: for that time the layer's `__getstate__` is shadowed.
"""

import functools
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

_MISSING: Any = object()
_OPEN = "_open_blocks"  # the layer's attribute with its open blocks, oldest first
_STATE = "__getstate__"


class Block:
    """One open block's notes about one layer.

    Attributes:
      before: attribute -> its value, or _MISSING, before the block changed it.
      buffers: name of a buffer -> the buffer that the layer is without for now.
      hooks: the keys of forward pre-hooks that no copy shall have.
    """

    __slots__ = ("before", "buffers", "hooks")

    def __init__(self, layer: nn.Module, names: Iterable[str]) -> None:
        attributes = layer.__dict__
        self.before = {name: attributes.get(name, _MISSING) for name in names}
        self.buffers: dict[str, Tensor] = {}
        self.hooks: list[int] = []
        if _OPEN in attributes:
            attributes[_OPEN].append(self)
        else:
            attributes[_OPEN] = [self]
            attributes[_STATE] = functools.partial(_state, layer)

    def lend(self, layer: nn.Module, name: str, buffer: Tensor) -> None:
        """Gives the layer another buffer until the block ends."""
        buffers: dict[str, Any] = layer._buffers
        self.buffers[name] = buffers[name]
        buffers[name] = buffer

    def end(self, layer: nn.Module) -> None:
        """Puts back what no later block has changed; the rest is theirs to put back."""
        attributes = layer.__dict__
        blocks = attributes[_OPEN]
        later = [] if blocks[-1] is self else blocks[blocks.index(self) + 1 :]
        blocks.remove(self)
        if not blocks:
            del attributes[_OPEN], attributes[_STATE]
        for block in later:  # the first one that has noted a thing inherits it
            for own, other in (
                (self.before, block.before),
                (self.buffers, block.buffers),
            ):
                for name in own.keys() & other.keys():
                    other[name] = own.pop(name)
        for name, value in self.before.items():
            _put(attributes, name, value)
        for name, buffer in self.buffers.items():
            layer._buffers[name] = buffer


def _put(attributes: dict[str, Any], name: str, value: Any) -> None:
    if value is _MISSING:
        attributes.pop(name, None)
    else:
        attributes[name] = value


def _state(layer: nn.Module) -> Any:
    """Returns what a copy of the layer is made from: its state before all blocks."""
    state = type(layer).__getstate__(layer)
    if not isinstance(state, dict):  # a class that says itself what its copies are
        return state
    state = dict(state)
    blocks = state.pop(_OPEN, [])
    state.pop(_STATE, None)
    for block in reversed(blocks):  # so that the oldest has the last word
        for name, value in block.before.items():
            _put(state, name, value)
    hooks = {key for block in blocks for key in block.hooks}
    if hooks:
        for name in ("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs"):
            state[name] = type(state[name])(
                (key, hook) for key, hook in state[name].items() if key not in hooks
            )
    return state
