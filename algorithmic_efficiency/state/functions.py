"""Functions and other code: never in the file, taken from the fresh state instead.

What a submission's own functions keep, in closures, defaults and attributes, is state.
"""

import collections
import functools
import logging
import re
import threading
import types
from typing import Any

import numpy as np

from algorithmic_efficiency.state import classes
from algorithmic_efficiency.state.parts import Misfit
from algorithmic_efficiency.state.walk import Decoder, Encoder, Kind, Node

_LOCKS = (type(threading.Lock()), type(threading.RLock()))
_CODE: tuple[type, ...] = (
    types.FunctionType,
    types.ModuleType,
    types.MethodWrapperType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    types.CodeType,
    type,
    property,
    staticmethod,
    classmethod,
    re.Pattern,
    np.ufunc,
    functools._lru_cache_wrapper,
    logging.Logger,
    *_LOCKS,
)
# Objects of the harness belong to the run, not to the submission's state.
_HARNESS = tuple(
    f"algorithmic_efficiency.{name}"
    for name in (
        "backends",
        "data",
        "public_workload",
        "registry",
        "runner",
        "submission",
        "workload",
    )
)
_OWNERS = (list, dict, set, collections.deque)
_DATA_TYPES = (dict, list, tuple, set, frozenset, str, bytes, int, float, bool, complex)


class Code:
    """What is the same in a run that is stopped and in one that goes on."""

    name = "code"
    in_place = False
    is_code = True

    def takes(self, cls: type) -> bool:
        """Takes functions, classes, modules, locks and objects of the harness."""
        return issubclass(cls, _CODE) or any(
            cls.__module__ == name or cls.__module__.startswith(name + ".")
            for name in _HARNESS
        )

    def encode(self, value: Any, path: str, encoder: Encoder) -> Node:
        """Returns where the code was at the start, and the state that it keeps."""
        place = encoder.place(value, path)
        is_same = place is not None
        if place is None and encoder.origin is not None:
            place = self._place(value, path, encoder)
            if place is None:
                named = self._named(value)
                if named is None:
                    encoder.lost(value, path)
                return named or {}
        node: Node = {"from": place}
        function = getattr(value, "__wrapped__", None)
        if isinstance(value, types.FunctionType):
            own = classes.is_own_file(value.__code__.co_filename)
            if own or (not is_same and encoder.origin is not None):
                node |= _kept(value, path, encoder)
        elif isinstance(function, types.FunctionType):
            node["wrapped"] = encoder.encode(function, f"{path}.__wrapped__")
        return node

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns the code of the fresh state, with its state in it."""
        if "named" in node:
            return _data_type(node["named"]) or classes.find(node["named"])
        value = decoder.begin(node, decoder.at(node["from"]))
        if "wrapped" in node:
            decoder.decode(node["wrapped"])
        if "cells" in node:
            _set_kept(value, node, decoder)
        return value

    @staticmethod
    def _place(value: Any, path: str, encoder: Encoder) -> str | None:
        """Returns the path where the start has the same code, made anew since."""
        assert encoder.origin is not None
        fresh = encoder.origin.code.get(path)
        return path if fresh is not None and _same(value, fresh) else None

    @staticmethod
    def _named(value: Any) -> Node | None:
        if not isinstance(value, type):
            return None
        name = value.__name__ if value in _DATA_TYPES else classes.public_name(value)
        return {"named": name} if name else None


def _data_type(name: str) -> type | None:
    return next((cls for cls in _DATA_TYPES if cls.__name__ == name), None)


def _same(value: Any, fresh: Any) -> bool:
    if type(value) is not type(fresh):
        return False
    if isinstance(value, types.FunctionType):
        return bool(value.__code__ == fresh.__code__)
    if isinstance(value, _LOCKS):
        return True
    wrapped = getattr(value, "__wrapped__", None)
    if wrapped is not None:
        return _same(wrapped, getattr(fresh, "__wrapped__", None))
    return bool(value == fresh)


def _kept(function: types.FunctionType, path: str, encoder: Encoder) -> Node:
    """Returns what a function keeps between its calls."""
    node: Node = {"cells": [], "attrs": {}}
    cells = function.__closure__ or ()
    for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
        try:
            content = cell.cell_contents
        except ValueError:  # not yet assigned
            node["cells"].append([])
            continue
        node["cells"].append([encoder.encode(content, f"{path}.<{name}>")])
    for name, item in vars(function).items():
        node["attrs"][name] = encoder.encode(item, f"{path}.{name}")
    for name in ("__defaults__", "__kwdefaults__"):
        item = getattr(function, name)
        if item is not None:
            node[name] = encoder.encode(item, f"{path}.{name}")
    return node


def _set_kept(value: types.FunctionType, node: Node, decoder: Decoder) -> None:
    cells = value.__closure__ or ()
    if len(cells) != len(node["cells"]):
        raise Misfit(f"the function {value.__qualname__} is another one")
    for cell, content in zip(cells, node["cells"], strict=True):
        if content:
            cell.cell_contents = decoder.decode(content[0])
    found = {name: decoder.decode(item) for name, item in node["attrs"].items()}
    value.__dict__.clear()
    value.__dict__.update(found)
    for name in ("__defaults__", "__kwdefaults__"):
        if name in node:
            setattr(value, name, decoder.decode(node[name]))


class Method:
    """A function bound to an object, whose state is the object's."""

    name = "method"
    in_place = True
    is_code = False

    def takes(self, cls: type) -> bool:
        """Takes methods of Python classes."""
        return cls is types.MethodType

    def encode(self, value: Any, path: str, encoder: Encoder) -> Node:
        """Returns the object and the function's name."""
        node: Node = {"self": encoder.encode(value.__self__, f"{path}.__self__")}
        name = value.__name__
        is_new = encoder.place(value, path) is None and encoder.origin is not None
        if is_new and getattr(type(value.__self__), name, None) is not value.__func__:
            encoder.lost(value, path)
        return {**node, "name": name}

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns the fresh method, or one of the same name of the object."""
        owner = decoder.decode(node["self"])
        fresh = decoder.fresh(node)
        if fresh is not None:
            return fresh
        function = getattr(type(owner), node["name"])
        if not isinstance(function, types.FunctionType):
            raise TypeError(f"{node['name']} is no method")
        return types.MethodType(function, owner)


class Builtin(Code):
    """A function of C, or one bound to an object: the `append` of a list."""

    name = "builtin"

    def takes(self, cls: type) -> bool:
        """Takes both, which are of one class."""
        return cls is types.BuiltinFunctionType

    def encode(self, value: Any, path: str, encoder: Encoder) -> Node:
        """Returns where it was at the start, or the object and the method's name."""
        owner = value.__self__
        if owner is None or isinstance(owner, types.ModuleType | type):
            return super().encode(value, path, encoder)
        place = encoder.place(value, path)
        if place is None and type(owner) not in _OWNERS and encoder.origin is not None:
            encoder.lost(value, path)
        node: Node = {"self": encoder.encode(owner, f"{path}.__self__")}
        return {**node, "name": value.__name__, "from": place}

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns the fresh function, or the method of the restored object."""
        if "self" not in node:
            return super().decode(node, decoder)
        owner = decoder.decode(node["self"])
        fresh = decoder.fresh(node)
        if fresh is not None:
            return fresh
        if type(owner) not in _OWNERS:
            raise TypeError(f"methods of {type(owner).__name__} are not restored")
        return getattr(owner, node["name"])


class Partial:
    """A function with some arguments given."""

    name = "partial"
    in_place = True
    is_code = False

    def takes(self, cls: type) -> bool:
        """Takes functools.partial and JAX's pytree of it."""
        return issubclass(cls, functools.partial)

    def encode(self, value: Any, path: str, encoder: Encoder) -> Node:
        """Returns function and arguments."""
        node: Node = {
            part: encoder.encode(getattr(value, part), f"{path}.{part}")
            for part in ("func", "args", "keywords")
        }
        if type(value) is not functools.partial:
            node["class"] = encoder.class_of(value, path)
        return node

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns the fresh one, or a new one of the restored parts."""
        parts = [decoder.decode(node[part]) for part in ("func", "args", "keywords")]
        fresh = decoder.fresh(node)
        if fresh is not None:
            return fresh
        cls = decoder.class_of(node["class"]) if "class" in node else functools.partial
        if not issubclass(cls, functools.partial):
            raise TypeError(f"{cls.__name__} is no partial")
        return functools.partial.__new__(cls, parts[0], *parts[1], **parts[2])


KINDS: tuple[Kind, ...] = (Method(), Builtin(), Partial(), Code())
