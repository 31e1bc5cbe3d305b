"""Lists, dicts and their relatives, and subclasses of them with attributes."""

import collections
import types
from collections.abc import Callable, Iterable
from typing import Any

from algorithmic_efficiency.state import classes
from algorithmic_efficiency.state.parts import is_native
from algorithmic_efficiency.state.walk import Decoder, Encoder, Node

_IMMUTABLE = (tuple, frozenset)


class Container:
    """What `Items` and `Mapping` share: objects of a base type and its subclasses."""

    is_code = False

    def __init__(self, base: Any) -> None:
        self.name = base.__name__
        self.in_place = base not in _IMMUTABLE
        self._base = base

    def takes(self, cls: type) -> bool:
        """Takes the base and classes whose only further state is attributes."""
        if cls is self._base:
            return True
        if not issubclass(cls, self._base) or hasattr(cls, "n_sequence_fields"):
            return False
        return classes.walkable(cls, self._base)

    def _encode_class(
        self, value: Any, path: str, encoder: Encoder, node: Node
    ) -> Node:
        """Adds class and attributes of an object of a subclass."""
        if type(value) is self._base:
            return node
        if "from" not in node:
            node["class"] = encoder.class_of(value, path)
        found = classes.attributes(value)
        if found:
            node["attrs"] = {
                name: encoder.encode(item, f"{path}.{name}")
                for name, item in found.items()
            }
        node["type"] = classes.described(type(value))
        return node

    def _target(self, node: Node, decoder: Decoder) -> Any:
        """Returns the object to fill: the fresh one, or a new one."""
        fresh = decoder.fresh(node)
        if fresh is not None:
            return fresh
        return self._base.__new__(self._class(node, decoder))

    def _class(self, node: Node, decoder: Decoder) -> type:
        if "class" not in node:
            return self._base  # type: ignore[no-any-return]
        cls: type = decoder.class_of(node["class"])
        if not issubclass(cls, self._base):
            raise TypeError(f"{cls.__name__} is no {self.name}")
        return cls  # type: ignore[no-any-return]

    def _set_attributes(self, value: Any, node: Node, decoder: Decoder) -> None:
        if "attrs" in node:
            found = {k: decoder.decode(item) for k, item in node["attrs"].items()}
            classes.set_attributes(value, found)


class Items(Container):
    """A list, tuple, set, frozenset or deque; namedtuples too.

    Args:
      base: the type.
      fill: puts items into an empty object; None for what cannot change.
    """

    def __init__(
        self, base: Any, fill: Callable[[Any, Iterable[Any]], Any] | None
    ) -> None:
        super().__init__(base)
        self._fill = fill

    def encode(self, value: Any, path: str, encoder: Encoder) -> Node:
        """Returns the items in order."""
        node: Node = {"items": encoder.encode_all(_base_iter(self._base, value), path)}
        if self._base is collections.deque:
            node["maxlen"] = value.maxlen
        return self._encode_class(value, path, encoder, node)

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns the container; what may change is there before its items."""
        if self._fill is None:
            items = decoder.decode_all(node["items"])
            value = self._base.__new__(self._class(node, decoder), items)
        else:
            value = decoder.begin(node, self._empty(node, decoder))
            self._fill(value, decoder.decode_all(node["items"]))
        self._set_attributes(value, node, decoder)
        return value

    def _empty(self, node: Node, decoder: Decoder) -> Any:
        value = self._target(node, decoder)
        if self._base is collections.deque and "from" not in node:
            collections.deque.__init__(value, (), node["maxlen"])
        self._base.clear(value)
        return value


class Mapping(Container):
    """A dict; an OrderedDict, defaultdict or Counter too."""

    def encode(self, value: Any, path: str, encoder: Encoder) -> Node:
        """Returns keys and values in order; keys may be any objects."""
        keys, values = [], []
        for index, key in enumerate(_base_iter(self._base, value)):
            keys.append(encoder.encode(key, f"{path}<key {index}>"))
            place = f"{path}[{_key(key, index, encoder)}]"
            values.append(encoder.encode(_base_item(self._base, value, key), place))
        node: Node = {"keys": keys, "values": values}
        if self._base is collections.defaultdict:
            factory = value.default_factory
            node["factory"] = encoder.encode(factory, f"{path}.default_factory")
        return self._encode_class(value, path, encoder, node)

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns the dict, which is there before its content."""
        value = decoder.begin(node, self._target(node, decoder))
        self._base.clear(value)
        for key, item in zip(node["keys"], node["values"], strict=True):
            key = decoder.decode(key)  # noqa: PLW2901
            self._base.__setitem__(value, key, decoder.decode(item))
        if "factory" in node:
            value.default_factory = decoder.decode(node["factory"])
        self._set_attributes(value, node, decoder)
        return value


class Proxy:
    """A read-only view of a dict, such as `train_state`; comes back as a copy."""

    name = "mappingproxy"
    in_place = False
    is_code = False

    def takes(self, cls: type) -> bool:
        """Takes the type of a class's `__dict__`."""
        return cls is types.MappingProxyType

    def encode(self, value: Any, path: str, encoder: Encoder) -> Node:
        """Returns keys and values."""
        content = value | {}
        keys = encoder.encode_all(content, f"{path}<keys>")
        return {"keys": keys, "values": encoder.encode_all(content.values(), path)}

    def decode(self, node: Node, decoder: Decoder) -> Any:
        """Returns the view."""
        keys = decoder.decode_all(node["keys"])
        values = decoder.decode_all(node["values"])
        return types.MappingProxyType(dict(zip(keys, values, strict=True)))


def _base_iter(base: Any, value: Any) -> Any:
    """Returns the items as the base gives them, whatever a subclass makes of it."""
    return base.__iter__(value)


def _base_item(base: Any, value: Any, key: Any) -> Any:
    return base.__getitem__(value, key)


def _key(key: Any, index: int, encoder: Encoder) -> str:
    """Returns how a path names a key."""
    if is_native(key) or isinstance(key, int | bytes):
        return repr(key)
    return encoder.path_of(key) or f"{type(key).__name__} {index}"


KINDS = (
    Items(tuple, None),
    Items(frozenset, None),
    Items(list, list.extend),
    Items(set, set.update),
    Items(collections.deque, collections.deque.extend),
    Mapping(collections.defaultdict),
    Mapping(collections.OrderedDict),
    Mapping(dict),
    Proxy(),
)
