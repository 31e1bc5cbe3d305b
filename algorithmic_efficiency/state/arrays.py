"""NumPy's arrays and generators, and the memory that arrays share."""

from typing import Any

import numpy as np

from algorithmic_efficiency.state import plain
from algorithmic_efficiency.state.parts import Block
from algorithmic_efficiency.state.walk import Decoder, Encoder, Kind, Node

ALIGNMENT = 16  # bytes; no item is larger


class Array:
    """An array of any dtype but Python objects; views of one array stay views."""

    name = "ndarray"
    in_place = True
    is_code = False

    def takes(self, cls: type) -> bool:
        """Takes plain arrays."""
        return cls is np.ndarray

    def encode(self, value: np.ndarray, path: str, encoder: Encoder) -> Node:
        """Returns dtype, shape, strides and the place in its block of memory."""
        encoder.forms[path] = (list(value.shape), str(value.dtype))
        if value.dtype.hasobject:
            encoder.lost(value, path, "an array of Python objects; keep a list instead")
            return {}
        root = value
        while type(root.base) is np.ndarray:
            root = root.base
        if not root.flags.forc:  # memory of another object, with gaps in it
            root = value = np.ascontiguousarray(value)
            encoder.keep(root)
        begin = _address(root)
        start, end = np.lib.array_utils.byte_bounds(value)
        low = (start - begin) // ALIGNMENT * ALIGNMENT
        block = encoder.block(
            ("numpy", id(root)),
            Block(root.nbytes, low, end - begin, lambda a, b: _bytes(root)[a:b]),
        )
        return {
            "dtype": plain.dtype_name(value.dtype),
            "shape": list(value.shape),
            "strides": list(value.strides),
            "offset": _address(value) - begin,
            "block": block,
            "writeable": value.flags.writeable,
        }

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns the array: the fresh one where it has the same form."""
        number = node["block"]
        block, data = decoder.blocks[number]
        memory = decoder.shared.get(("numpy", number))
        if memory is None:
            memory = decoder.shared["numpy", number] = data.copy()
        value: np.ndarray = np.ndarray(
            tuple(node["shape"]),
            plain.dtype_of(node["dtype"]),
            memory,
            node["offset"] - block.low,
            tuple(node["strides"]),
        )
        fresh = decoder.fresh(node)
        is_same = (
            fresh is not None and block.users == 1 and _form(fresh) == _form(value)
        )
        if is_same and fresh.flags.writeable:
            fresh[...] = value
            return fresh
        value.flags.writeable = node["writeable"]
        return value


def _address(array: np.ndarray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _bytes(array: np.ndarray) -> np.ndarray:
    """Returns the memory of a contiguous array, uint8 [nbytes]."""
    return array.reshape(-1, order="A").view(np.uint8)


def _form(array: np.ndarray) -> tuple[Any, ...]:
    return array.dtype, array.shape, array.strides


class BitGenerator:
    """The source of a NumPy generator, which several of them may share."""

    name = "numpy.random.BitGenerator"
    in_place = True
    is_code = False

    def takes(self, cls: type) -> bool:
        """Takes NumPy's own."""
        return cls in _BIT_GENERATORS

    def encode(self, value: Any, path: str, encoder: Encoder) -> Node:
        """Returns its state."""
        return {"class": type(value).__name__, "state": _listed(value.state)}

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns it."""
        value = decoder.fresh(node)
        if value is None:
            value = next(c for c in _BIT_GENERATORS if c.__name__ == node["class"])()
        value.state = _unlisted(node["state"])
        return value


class Generator:
    """A NumPy generator over a bit generator, of the new kind or of the old one."""

    in_place = True
    is_code = False

    def __init__(self, cls: Any) -> None:
        self.name = f"numpy.random.{cls.__name__}"
        self._cls = cls

    def takes(self, cls: type) -> bool:
        """Takes the class itself."""
        return cls is self._cls

    def encode(self, value: Any, path: str, encoder: Encoder) -> Node:
        """Returns its source, and what it keeps beside that."""
        source = getattr(value, "bit_generator", None) or value._bit_generator
        node: Node = {"source": encoder.encode(source, f"{path}.bit_generator")}
        if self._cls is np.random.RandomState:  # half of a pair of normal numbers
            state = value.get_state(legacy=False)
            node["gauss"] = [state["has_gauss"], state["gauss"]]
        return node

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns it."""
        source = decoder.decode(node["source"])
        value = decoder.fresh(node) or self._cls(source)
        if "gauss" in node:
            has, gauss = node["gauss"]
            state = {**value.get_state(legacy=False), "has_gauss": has, "gauss": gauss}
            value.set_state(state)
        return value


_BIT_GENERATORS = (
    np.random.PCG64,
    np.random.PCG64DXSM,
    np.random.MT19937,
    np.random.Philox,
    np.random.SFC64,
)


def _listed(state: Any) -> Any:
    """Returns the state of a bit generator as JSON; arrays become marked lists."""
    if isinstance(state, dict):
        return {key: _listed(item) for key, item in state.items()}
    if isinstance(state, np.ndarray):
        return [plain.dtype_name(state.dtype), state.tolist()]
    return state.item() if isinstance(state, np.generic) else state


def _unlisted(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _unlisted(item) for key, item in state.items()}
    if isinstance(state, list):
        return np.array(state[1], plain.dtype_of(state[0]))
    return state


KINDS: tuple[Kind, ...] = (
    Array(),
    BitGenerator(),
    Generator(np.random.Generator),
    Generator(np.random.RandomState),
)
