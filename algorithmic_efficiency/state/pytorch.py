"""PyTorch's tensors, which share storages, and its constants and generators."""

from typing import Any

import numpy as np
import torch

from algorithmic_efficiency.state import classes, plain
from algorithmic_efficiency.state.arrays import ALIGNMENT
from algorithmic_efficiency.state.functions import Code
from algorithmic_efficiency.state.parts import Block, Misfit
from algorithmic_efficiency.state.walk import Decoder, Encoder, Kind, Node

_TENSORS = (torch.Tensor, torch.nn.Parameter)
_CONSTANTS = (torch.dtype, torch.device, torch.layout, torch.memory_format)


class Tensor:
    """A tensor or parameter: a view of a storage, which others may share."""

    name = "tensor"
    in_place = True
    is_code = False

    def takes(self, cls: type) -> bool:
        """Takes plain tensors and parameters."""
        return cls in _TENSORS

    def encode(self, value: torch.Tensor, path: str, encoder: Encoder) -> Node:
        """Returns the form of the view, its gradient and its attributes."""
        encoder.forms[path] = (list(value.shape), str(value.dtype))
        unusual = _unusual(value)
        if unusual:
            encoder.lost(value, path, f"{unusual} is not saved; keep a dense one")
            return {}
        if value.grad_fn is not None and encoder.origin is not None:
            encoder.note(
                value, path,
                "its value is saved, but not the graph that leads to its gradient; "
                "keep tensor.detach()",
            )  # fmt: skip
        node: Node = {
            "dtype": str(value.dtype).removeprefix("torch."),
            "device": str(value.device),
            "shape": list(value.shape),
            "strides": list(value.stride()),
            "offset": value.storage_offset(),
            "block": _block(value, encoder),
            "parameter": isinstance(value, torch.nn.Parameter),
            "requires_grad": value.requires_grad and value.is_leaf,
        }
        if value.is_leaf and value.grad is not None:
            node["grad"] = encoder.encode(value.grad, f"{path}.grad")
        found = vars(value)
        if found:
            node["attrs"] = {
                k: encoder.encode(item, f"{path}.{k}") for k, item in found.items()
            }
        return node

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns the fresh tensor with the saved view as its data, or a new one."""
        fresh = decoder.fresh(node)
        data = _view(node, decoder, fresh)
        if fresh is None:
            value = torch.nn.Parameter(data, False) if node["parameter"] else data
        else:
            value = fresh
            if not _is_same_view(fresh, data):
                fresh.data = data
        decoder.begin(node, value)
        if value.requires_grad != node["requires_grad"]:
            value.requires_grad_(node["requires_grad"])
        value.grad = decoder.decode(node.get("grad"))
        found = {k: decoder.decode(v) for k, v in node.get("attrs", {}).items()}
        if found or vars(value):
            vars(value).clear()
            vars(value).update(found)
        return value


def _unusual(value: torch.Tensor) -> str | None:
    """Returns what keeps a tensor from being a plain view of memory, or None."""
    if value.layout is not torch.strided:
        return f"a tensor of layout {value.layout}"
    if value.is_quantized or value.is_meta or value.is_nested:
        return "a tensor that is quantized, nested or without memory"
    if value.is_conj() or value.is_neg():
        return "a lazily conjugated or negated tensor"
    return None


def _block(value: torch.Tensor, encoder: Encoder) -> int:
    """Returns the number of the tensor's storage among the blocks."""
    storage = value.untyped_storage()
    encoder.keep(storage)
    low = high = int(value.storage_offset()) * value.itemsize
    if value.numel():
        ends = zip(value.shape, value.stride(), strict=True)
        high += (1 + sum((size - 1) * stride for size, stride in ends)) * value.itemsize
    block = Block(
        storage.nbytes(),
        low // ALIGNMENT * ALIGNMENT,
        high,
        lambda a, b: _bytes(storage, a, b).cpu().numpy(),
    )
    return encoder.block(("torch", storage._cdata), block)


def _bytes(storage: torch.UntypedStorage, low: int, high: int) -> torch.Tensor:
    """Returns a part of a storage, uint8 [high - low] on its device."""
    empty = torch.empty(0, dtype=torch.uint8, device=storage.device)
    return empty.set_(storage, low, (high - low,), (1,))


def _view(node: Node, decoder: Decoder, fresh: torch.Tensor | None) -> torch.Tensor:
    number = node["block"]
    if ("torch", number) not in decoder.shared:
        decoder.shared["torch", number] = _storage(node, decoder, fresh)
    storage, low = decoder.shared["torch", number]
    dtype = getattr(torch, node["dtype"])
    empty = torch.empty(0, dtype=dtype, device=storage.device)
    offset = node["offset"] - low // empty.itemsize
    ends = zip(node["shape"], node["strides"], strict=True)
    last = offset + sum((size - 1) * stride for size, stride in ends)
    if 0 not in node["shape"] and (last + 1) * empty.itemsize > storage.nbytes():
        raise Misfit("a tensor reaches beyond its memory")
    return empty.set_(storage, offset, node["shape"], node["strides"])


def _storage(
    node: Node, decoder: Decoder, fresh: torch.Tensor | None
) -> tuple[torch.UntypedStorage, int]:
    """Returns the storage with the saved bytes in it, and at which byte it begins.

    It is that of the fresh tensor where that is as large and not yet filled.
    """
    block, data = decoder.blocks[node["block"]]
    device = _device(node["device"])
    taken = decoder.shared.setdefault("torch storages", set())
    if fresh is not None and _unusual(fresh) is None:
        storage = fresh.untyped_storage()
        is_free = storage._cdata not in taken and storage.device == device
        if is_free and storage.nbytes() == block.total:
            taken.add(storage._cdata)
            _fill(storage, block.low, data)
            return storage, 0
    storage = torch.empty(len(data), dtype=torch.uint8, device=device).untyped_storage()
    _fill(storage, 0, data)
    taken.add(storage._cdata)
    return storage, block.low


def _fill(storage: torch.UntypedStorage, low: int, data: np.ndarray) -> None:
    if len(data):
        _bytes(storage, low, low + len(data)).copy_(torch.from_numpy(data))


def _device(name: str) -> torch.device:
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        return torch.device("cpu")
    return device


def _is_same_view(first: torch.Tensor, second: torch.Tensor) -> bool:
    return (
        _unusual(first) is None
        and first.untyped_storage()._cdata == second.untyped_storage()._cdata
        and first.storage_offset() == second.storage_offset()
        and (first.dtype, first.shape) == (second.dtype, second.shape)
        and first.stride() == second.stride()
    )


class Constant:
    """A dtype, device, layout or memory format."""

    name = "torch constant"
    in_place = False
    is_code = False

    def takes(self, cls: type) -> bool:
        """Takes their classes."""
        return cls in _CONSTANTS

    def encode(self, value: Any, path: str, encoder: Encoder) -> Node:
        """Returns its name."""
        return {"value": str(value)}

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns the constant."""
        name = node["value"]
        if not name.startswith("torch."):
            return torch.device(name)
        value = getattr(torch, name.removeprefix("torch."))
        if type(value) not in _CONSTANTS:
            raise TypeError(f"{name} is no constant")
        return value


class Generator:
    """A generator of random numbers on one device."""

    name = "torch.Generator"
    in_place = True
    is_code = False

    def takes(self, cls: type) -> bool:
        """Takes PyTorch's generators."""
        return cls is torch.Generator

    def encode(self, value: torch.Generator, path: str, encoder: Encoder) -> Node:
        """Returns its state."""
        state = plain.to_text(value.get_state().numpy().tobytes())
        return {"device": str(value.device), "state": state}

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns it."""
        value = decoder.fresh(node)
        if value is None:
            value = torch.Generator(_device(node["device"]))
        state = np.frombuffer(plain.from_text(node["state"]), np.uint8)
        value.set_state(torch.from_numpy(state.copy()))
        return value


class Compiled:
    """A module under torch.compile: its state is that of the module inside."""

    name = "compiled module"
    in_place = True
    is_code = False

    def takes(self, cls: type) -> bool:
        """Takes what torch.compile makes of a module."""
        return classes.described(cls) == "torch._dynamo.eval_frame.OptimizedModule"

    def encode(self, value: Any, path: str, encoder: Encoder) -> Node:
        """Returns the module inside."""
        if encoder.origin is not None and encoder.place(value, path) is None:
            encoder.lost(value, path)
        return {"inner": encoder.encode(value._orig_mod, f"{path}._orig_mod")}

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns the fresh compiled module, its inner one restored."""
        decoder.decode(node["inner"])
        return decoder.at(node["from"])


class TorchCode(Code):
    """Streams and events, which a fresh start makes again."""

    name = "torch code"

    def takes(self, cls: type) -> bool:
        """Takes their classes."""
        streams = (torch.Stream, torch.cuda.Stream, torch.cuda.Event)
        return issubclass(cls, streams)


ARRAYS: tuple[Kind, ...] = (
    Tensor(),
    Constant(),
    plain.Constant(torch.Size, list, torch.Size),
    Generator(),
    Compiled(),
)
CODE: tuple[Kind, ...] = (TorchCode(),)
