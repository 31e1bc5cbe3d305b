"""Objects of Python classes: dataclasses, modules, optimizers, schedulers and others.

An object's state is its attributes. Only where these hold something that cannot be
saved is the object asked for its state, by the methods that its author gave it.
"""

import functools
import random
import types
import weakref
from collections.abc import Callable
from typing import Any

from algorithmic_efficiency.state import classes
from algorithmic_efficiency.state.parts import Misfit
from algorithmic_efficiency.state.walk import Decoder, Encoder, Node

_PROTOCOLS = (("state_dict", "load_state_dict"), ("__getstate__", "__setstate__"))
# Attributes that only remember compiled code.
_CACHES = ("_compiled_call_impl",)


class Object:
    """An object whose state is its attributes."""

    name = "object"
    in_place = True
    is_code = False

    def takes(self, cls: type) -> bool:
        """Takes classes that are written in Python from `object` upwards."""
        if issubclass(cls, classes.OUTSIDE):
            return False
        if issubclass(cls, types.SimpleNamespace):
            return classes.walkable(cls, types.SimpleNamespace)
        return classes.walkable(cls)

    def encode(self, value: Any, path: str, encoder: Encoder) -> Node:
        """Returns the attributes, or what the object's own methods return."""
        node: Node = {"type": classes.described(type(value))}
        is_known = encoder.place(value, path) is not None
        if not is_known and encoder.origin is not None:
            node["class"] = encoder.class_of(value, path)
            if not node["class"]:
                return node  # the object is lost as a whole
        found = classes.attributes(value)
        if not is_known and encoder.origin is not None:
            found = {k: item for k, item in found.items() if not _only_notes(item)}
        walk: Callable[[], Any] = functools.partial(
            _encode_attributes, found, path, encoder
        )
        content = encoder.attempt(walk, hidden=False)
        if content is not None:
            return {**node, "attrs": content}
        for read, write in _PROTOCOLS if is_known else ():
            if _is_own(value, write):
                walk = functools.partial(_encode_own, value, read, path, encoder)
                content = encoder.attempt(walk, hidden=True)
                if content is not None:
                    return {**node, "write": write, "content": content}
        # Once more, so that what is lost is named.
        return {**node, "attrs": _encode_attributes(found, path, encoder)}

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns the object; nothing of its class is called for a new one."""
        value = decoder.fresh(node)
        if value is None:
            value = _new(decoder.class_of(node["class"]))
        elif classes.described(type(value)) != node["type"]:
            raise Misfit(
                f"{node['from']} was {node['type']} and is now "
                f"{classes.described(type(value))}"
            )
        decoder.begin(node, value)
        if "write" in node:
            write = next(write for _, write in _PROTOCOLS if write == node["write"])
            getattr(value, write)(*decoder.decode_all(node["content"]))
            return value
        found = {k: decoder.decode(item) for k, item in node["attrs"].items()}
        classes.set_attributes(value, found)
        return value


def _encode_attributes(found: dict[str, Any], path: str, encoder: Encoder) -> Node:
    return {
        name: encoder.encode(item, f"{path}.{name}")
        for name, item in found.items()
        if name not in _CACHES
    }


def _only_notes(item: Any) -> bool:
    """Says whether this is the `step` that a scheduler of PyTorch gives an optimizer.

    It is the class's own, and notes besides that it was called. Without it a scheduler
    works the same, so an optimizer that is made anew does not need it.
    """
    is_function = isinstance(item, types.FunctionType)
    return is_function and getattr(item, "_wrapped_by_lr_sched", False)


def _encode_own(value: Any, read: str, path: str, encoder: Encoder) -> list[Any]:
    return [encoder.encode(getattr(value, read)(), f"{path}.{read}()")]


def _is_own(value: Any, method: str) -> bool:
    """Says whether the submission itself has written a method.

    Those of libraries leave out much, such as hooks and a schedule's functions.
    """
    code = getattr(getattr(type(value), method, None), "__code__", None)
    return code is not None and classes.is_own_file(code.co_filename)


def _new(cls: type) -> Any:
    if issubclass(cls, types.SimpleNamespace):
        return types.SimpleNamespace.__new__(cls)
    return object.__new__(cls)


class PythonRandom:
    """A generator of the module `random`."""

    name = "random.Random"
    in_place = True
    is_code = False

    def takes(self, cls: type) -> bool:
        """Takes the generator itself."""
        return cls is random.Random

    def encode(self, value: Any, path: str, encoder: Encoder) -> Node:
        """Returns its state."""
        version, words, gauss = value.getstate()
        return {"version": version, "words": list(words), "gauss": gauss}

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns the generator."""
        value = decoder.fresh(node) or random.Random()
        value.setstate((node["version"], tuple(node["words"]), node["gauss"]))
        return value


class WeakReference:
    """A weak reference without a callback."""

    name = "weakref"
    in_place = False
    is_code = False

    def takes(self, cls: type) -> bool:
        """Takes plain weak references."""
        return cls is weakref.ref

    def encode(self, value: Any, path: str, encoder: Encoder) -> Node:
        """Returns what it refers to, None where that is gone."""
        if value.__callback__ is not None:
            encoder.lost(value, path, "a weak reference with a callback is not saved")
        return {"to": encoder.encode(value(), f"{path}()")}

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns a reference to the restored object."""
        target = decoder.decode(node["to"])
        return weakref.ref(set() if target is None else target)


KINDS = (PythonRandom(), WeakReference(), Object())
