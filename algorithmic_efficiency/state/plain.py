"""Constants: values that never change and are written as text."""

import base64
import datetime
import decimal
import enum
import fractions
import operator
import pathlib
import types
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np

from algorithmic_efficiency.state.walk import Decoder, Encoder, Kind, Node


def to_text(data: bytes | bytearray) -> str:
    """Returns bytes as JSON holds them."""
    return base64.b64encode(data).decode()


def from_text(text: str) -> bytes:
    """Returns the bytes; inverse of `to_text`."""
    return base64.b64decode(text)


class Constant:
    """A value of one exact class, written by one function and made by another."""

    in_place = False
    is_code = False

    def __init__(
        self, cls: type, write: Callable[[Any], Any], make: Callable[[Any], Any]
    ) -> None:
        self.name = cls.__name__
        self._cls = cls
        self._write = write
        self._make = make

    def takes(self, cls: type) -> bool:
        """Takes exactly the class."""
        return cls is self._cls

    def encode(self, value: Any, path: str, encoder: Encoder) -> Node:
        """Returns the text."""
        return {"value": self._write(value)}

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Makes the value of the text."""
        return self._make(node["value"])


class Scalar:
    """A NumPy scalar of any dtype."""

    name = "numpy scalar"
    in_place = False
    is_code = False

    def takes(self, cls: type) -> bool:
        """Takes NumPy's scalars, but not pointers to Python objects."""
        return issubclass(cls, np.generic) and cls is not np.object_

    def encode(self, value: Any, path: str, encoder: Encoder) -> Node:
        """Returns dtype and bytes."""
        return {"dtype": dtype_name(value.dtype), "value": to_text(value.tobytes())}

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns the scalar."""
        return np.frombuffer(from_text(node["value"]), dtype_of(node["dtype"]))[0]


class Dtype:
    """A NumPy dtype."""

    name = "dtype"
    in_place = False
    is_code = False

    def takes(self, cls: type) -> bool:
        """Takes all dtypes."""
        return issubclass(cls, np.dtype)

    def encode(self, value: Any, path: str, encoder: Encoder) -> Node:
        """Returns its description."""
        return {"value": dtype_name(value)}

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns the dtype."""
        return dtype_of(node["value"])


class EnumMember:
    """A member of an enumeration, found by its value's name."""

    name = "enum"
    in_place = False
    is_code = False

    def takes(self, cls: type) -> bool:
        """Takes all enumerations."""
        return issubclass(cls, enum.Enum)

    def encode(self, value: Any, path: str, encoder: Encoder) -> Node:
        """Returns class and value."""
        content = encoder.encode(value.value, f"{path}.value")
        return {"class": encoder.class_of(value, path), "value": content}

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns the member."""
        cls = decoder.class_of(node["class"])
        if not issubclass(cls, enum.Enum):
            raise TypeError(f"{cls.__name__} is no enumeration")
        return cls(decoder.decode(node["value"]))


def dtype_name(dtype: np.dtype) -> Any:
    """Returns a NumPy dtype as JSON."""
    if dtype.type.__module__.startswith("ml_dtypes"):  # bfloat16 and smaller ones
        return {"name": dtype.name}
    return np.lib.format.dtype_to_descr(dtype)


def dtype_of(name: Any) -> np.dtype:
    """Returns the dtype; inverse of `dtype_name`."""
    if isinstance(name, dict):
        import ml_dtypes  # noqa: PLC0415 - comes with JAX, which such an array needs

        scalar: type[np.generic] = getattr(ml_dtypes, name["name"])
        return np.dtype(scalar)
    return np.lib.format.descr_to_dtype(_tuples(name))


def _tuples(descr: Any) -> Any:
    """Returns a description of a dtype with tuples where JSON has made lists."""
    if not isinstance(descr, list):
        return descr
    return [
        (
            f[0] if isinstance(f[0], str) else tuple(f[0]),
            _tuples(f[1]),
            *map(tuple, f[2:]),
        )
        for f in descr
    ]


def _slice_parts(value: slice) -> list[int | None]:
    parts = (value.start, value.stop, value.step)
    return [None if part is None else operator.index(part) for part in parts]


KINDS: tuple[Kind, ...] = (
    EnumMember(),
    Scalar(),
    Dtype(),
    Constant(int, hex, lambda text: int(text, 16)),
    Constant(complex, lambda x: [x.real, x.imag], lambda pair: complex(*pair)),
    Constant(bytes, to_text, from_text),
    Constant(bytearray, to_text, lambda text: bytearray(from_text(text))),
    Constant(range, lambda x: [x.start, x.stop, x.step], lambda parts: range(*parts)),
    Constant(slice, _slice_parts, lambda parts: slice(*parts)),
    Constant(types.EllipsisType, lambda x: None, lambda x: ...),
    Constant(decimal.Decimal, str, decimal.Decimal),
    Constant(fractions.Fraction, str, fractions.Fraction),
    Constant(pathlib.PosixPath, str, pathlib.PosixPath),
    Constant(pathlib.PurePosixPath, str, pathlib.PurePosixPath),
    Constant(uuid.UUID, str, uuid.UUID),
    Constant(datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    Constant(
        datetime.datetime, datetime.datetime.isoformat, datetime.datetime.fromisoformat
    ),
    Constant(
        datetime.timedelta,
        lambda x: [x.days, x.seconds, x.microseconds],
        lambda parts: datetime.timedelta(*parts),
    ),
)
