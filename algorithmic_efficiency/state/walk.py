"""The walk over a submission's state, down to the file's description and back.

The state is a graph of objects. `Encoder` turns it into JSON and blocks of raw bytes,
`Decoder` builds it again. What a type of object needs is a row, a `Kind`; the walk
itself knows only this: an object that is met again is a reference to the first, and an
object that the submission made at its start (`Origin`) is restored into its fresh
counterpart, so that whatever else of the submission holds it sees the restored value.
"""

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from algorithmic_efficiency.state import classes
from algorithmic_efficiency.state.parts import Block, Misfit, Problem, is_native, shown

Node = dict[str, Any]


class Kind(Protocol):
    """How objects of some types are written and made again.

    Attributes:
      name: in the file.
      in_place: an object of the start is restored into its fresh counterpart.
      is_code: it has no state of its own and is never in the file.
    """

    name: str
    in_place: bool
    is_code: bool

    def takes(self, cls: type) -> bool:
        """Says whether objects of this class are of this kind."""

    def encode(self, value: Any, path: str, encoder: "Encoder") -> Node:
        """Returns what is needed to make the object again."""

    def decode(self, node: Node, decoder: "Decoder") -> Any:
        """Returns the object; `decoder.fresh(node)` is its fresh counterpart."""


class Origin:
    """What was there after the submission's start: where each object was.

    Args:
      kinds: of all objects.
      state: after `init_optimizer_state`, before the first step.
      known: further objects that both a stopped and a resumed run have, such as the
        workload, by name.
    """

    def __init__(
        self, kinds: Sequence[Kind], state: Mapping[str, Any], **known: Any
    ) -> None:
        self.kinds = kinds
        self.known = known
        self.code: dict[str, Any] = {}
        self.classes: dict[type, str] = {}
        self._places: dict[int, tuple[str, type, Any]] = {}
        survey = self.survey(state)
        for path, value in survey.places():
            kind = survey.kind_of(type(value))
            is_code = kind is not None and kind.is_code
            if is_code:
                self.code[path] = value
            self.classes.setdefault(type(value), path)
            self._places[id(value)] = (path, type(value), _hold(value, is_code))
        self.model = {
            shown(path): form
            for path, form in survey.forms.items()
            if path.startswith("params")
        }

    def survey(self, state: Mapping[str, Any]) -> "Encoder":
        """Returns an encoder that has walked over a fresh state."""
        encoder = Encoder(self.kinds, None)
        for name, value in {**state, **self.known}.items():
            encoder.encode(value, name)
        return encoder

    def place(self, value: Any, path: str) -> str | None:
        """Returns where the object was at the start; None if it is a new one."""
        if id(value) not in self._places:
            return None
        place, cls, held = self._places[id(value)]
        if cls is not type(value):
            return None
        if held is None:  # the number may be that of an object that is gone
            return place if place == path else None
        return place if held() is value else None


def _hold(value: Any, is_code: bool) -> Callable[[], Any] | None:
    """Returns a function that gives the value; nothing else is kept alive by it."""
    if is_code:
        return lambda: value
    try:
        return weakref.ref(value)
    except TypeError:
        return None


class Encoder:
    """Walks over a state and collects what the file will hold.

    Attributes:
      problems: parts that cannot be saved.
      blocks: of raw bytes, for arrays.
      forms: path -> (shape, dtype) of each array.
    """

    def __init__(self, kinds: Sequence[Kind], origin: Origin | None) -> None:
        self.origin = origin
        self.problems: list[Problem] = []
        self.blocks: list[Block] = []
        self.forms: dict[str, tuple[list[int], str]] = {}
        self._kinds = kinds
        self._by_class: dict[type, Kind | None] = {}
        # Objects in the order of their numbers, kept so that each id stays its own.
        self._kept: list[tuple[str, Any, bool]] = []
        self._numbers: dict[int, int] = {}
        self._block_numbers: dict[Any, int] = {}
        self._hidden = False

    def encode(self, value: Any, path: str) -> Any:
        """Returns the JSON of a value."""
        if is_native(value):
            return value
        number = self._numbers.get(id(value))
        if number is not None:
            return {"ref": number}
        number = self._numbers[id(value)] = len(self._kept)
        self._kept.append((path, value, self._hidden))
        kind = self.kind_of(type(value))
        if kind is None:
            return self.lost(value, path)
        node: Node = {"kind": kind.name, "as": number}
        if kind.in_place:
            place = self.place(value, path)
            if place is not None:
                node["from"] = place
        try:
            node |= kind.encode(value, path, self)
        except Exception as error:  # noqa: BLE001 - an object may do anything when read
            return self.lost(value, path, f"it cannot be read ({error!r})")
        return node

    def encode_all(self, values: Iterable[Any], path: str) -> list[Any]:
        """Returns the JSON of the items of a sequence."""
        values = list(values)
        if all(map(is_native, values)):
            return values
        return [self.encode(item, f"{path}[{i}]") for i, item in enumerate(values)]

    def place(self, value: Any, path: str) -> str | None:
        """Returns where the object was at the start, or None."""
        if self.origin is None or self._hidden:
            return None
        return self.origin.place(value, path)

    def kind_of(self, cls: type) -> Kind | None:
        """Returns the first kind that takes a class."""
        if cls not in self._by_class:
            found = (kind for kind in self._kinds if kind.takes(cls))
            self._by_class[cls] = next(found, None)
        return self._by_class[cls]

    def places(self) -> list[tuple[str, Any]]:
        """Returns (path, object) of all that the state holds, without temporaries."""
        return [(path, value) for path, value, hidden in self._kept if not hidden]

    def path_of(self, value: Any) -> str | None:
        """Returns where an object has been met before."""
        number = self._numbers.get(id(value))
        return None if number is None else self._kept[number][0]

    def class_of(self, value: Any, path: str) -> Node:
        """Returns the reference to an object's class, for one that is new."""
        cls = type(value)
        if self.origin is None:
            return {}
        if cls in self.origin.classes:
            return {"like": self.origin.classes[cls]}
        name = classes.public_name(cls)
        if name is None:
            self.lost(value, path)
            return {}
        return {"named": name}

    def lost(self, value: Any, path: str, advice: str | None = None) -> None:
        """Notes that an object cannot be saved."""
        name = classes.described(type(value))
        self.problems.append(Problem(path, name, advice or classes.advice(type(value))))

    def note(self, value: Any, path: str, advice: str) -> None:
        """Notes that something beside an object's value is not saved."""
        name = classes.described(type(value))
        self.problems.append(Problem(path, name, advice, fatal=False))

    def keep(self, value: Any) -> None:
        """Keeps an object alive, so that no other one gets its id during the walk."""
        self._kept.append(("", value, True))

    def block(self, key: Any, block: Block) -> int:
        """Returns the number of a block, widened where it is known already."""
        number = self._block_numbers.get(key)
        if number is None:
            number = self._block_numbers[key] = len(self.blocks)
            self.blocks.append(block)
            return number
        known = self.blocks[number]
        known.low = min(known.low, block.low)
        known.high = max(known.high, block.high)
        known.users += 1
        return number

    def attempt(self, function: Callable[[], Any], *, hidden: bool) -> Any:
        """Returns what the function returns, or None and all undone if a part is lost.

        Args:
          function: walks further.
          hidden: the objects that it meets are made for the walk only.
        """
        problems, kept = len(self.problems), len(self._kept)
        blocks = len(self.blocks)
        before, self._hidden = self._hidden, self._hidden or hidden
        try:
            result = function()
        finally:
            self._hidden = before
        if not any(problem.fatal for problem in self.problems[problems:]):
            return result
        for _, value, _ in self._kept[kept:]:
            self._numbers.pop(id(value), None)
        for key in [k for k, n in self._block_numbers.items() if n >= blocks]:
            del self._block_numbers[key]
        del self.problems[problems:], self._kept[kept:], self.blocks[blocks:]
        return None


class Decoder:
    """Builds a state again.

    Args:
      kinds: of all objects.
      fresh: path -> object of the fresh state.
      blocks: (total, low, high) and bytes of each block.
    """

    def __init__(
        self,
        kinds: Sequence[Kind],
        fresh: Mapping[str, Any],
        blocks: Sequence[tuple[Block, np.ndarray]],
    ) -> None:
        self.blocks = blocks
        self.shared: dict[Any, Any] = {}  # for kinds: what arrays share
        self._kinds = {kind.name: kind for kind in kinds}
        self._fresh = fresh
        self._made: dict[int, Any] = {}

    def decode(self, node: Any) -> Any:
        """Returns the value of a piece of JSON."""
        if not isinstance(node, dict):
            return node
        if "ref" in node:
            return self._made[node["ref"]]
        value = self._kinds[node["kind"]].decode(node, self)
        self._made[node["as"]] = value
        return value

    def decode_all(self, nodes: list[Any]) -> list[Any]:
        """Returns the values of a list."""
        return [self.decode(node) for node in nodes]

    def begin(self, node: Node, value: Any) -> Any:
        """Makes an object known before its content, which may lead back to it."""
        self._made[node["as"]] = value
        return value

    def fresh(self, node: Node) -> Any:
        """Returns the fresh counterpart of an object, or None for a new object."""
        place = node.get("from")
        return None if place is None else self.at(place)

    def at(self, place: str) -> Any:
        """Returns the object at a path of the fresh state."""
        if place not in self._fresh:
            raise Misfit(f"the submission's fresh state has nothing at {shown(place)}")
        return self._fresh[place]

    def class_of(self, reference: Mapping[str, str]) -> type:
        """Returns the class of a new object; inverse of `Encoder.class_of`."""
        if "like" in reference:
            return type(self.at(reference["like"]))
        return classes.find(reference["named"])
