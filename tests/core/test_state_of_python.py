"""Everything but tensors: what a submission's state may hold comes back the same."""

import collections
import dataclasses
import enum
import functools
import io
import random
import threading
import types
import weakref
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from state_round_trip import NUMPY, Trip


class Record(NamedTuple):
    step: int
    loss: float


class Extended(Record):
    """Has attributes, as a namedtuple itself has not; optax has such classes."""


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Counter:
    count: int = 0
    items: list = dataclasses.field(default_factory=list)

    def __call__(self):
        self.count += 1
        return self.count


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: int


class Slots:
    __slots__ = ("a", "__b", "never", "__weakref__")

    def __init__(self, a):
        self.a = a
        self.__b = a + 1

    @property
    def b(self):
        return self.__b


class Config(dict):
    pass


class Stack(list):
    def append(self, item):
        raise AssertionError("restoring must not call the class's own methods")


class Careful:
    """Holds a thread, and says itself what its state is."""

    def __init__(self):
        self.thread = threading.Thread(target=print)
        self.count = 0

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def filled(cls, content):
    value = cls(content)
    value.name = "name"
    return value


EQUAL = {
    "numbers": [0, -1, 2**40, 2**80, -(2**70), 0.5, -0.0, 1e300, float("inf"), 1j],
    "texts": ["a", "", "\ud800", "é", b"\x00\xff", None, True, ...],
    "keys": {1: "a", "1": "b", (1, "x"): "c", None: "d", 2.5: "e", b"k": "f"},
    "order": {"b": 1, "a": 2},
    "sets": [{1, 2}, frozenset({"a"}), set()],
    "deque": collections.deque([1, 2, 3], maxlen=3),
    "counter": collections.Counter("hello"),
    "ordered": collections.OrderedDict(b=1, a=2),
    "default": collections.defaultdict(list, {"a": [1]}),
    "namedtuple with attributes": Extended(1, 2.0),
    "namedtuples": [Record(1, 0.5), Record(2, 0.25)],
    "enum": Colour.RED,
    "frozen": Frozen(3),
    "dataclass": Counter(3, [1]),
    "ranges": [range(1, 9, 2), slice(None, 3)],
    "path": Path("/tmp/x"),
    "user dict": collections.UserDict(a=[1]),
    "bytearray": bytearray(b"x"),
    "namespace": types.SimpleNamespace(a=1, b=[2]),
    "subclass": filled(Config, {"a": 1}),
    "list subclass": filled(Stack, [1, 2]),
    "types": [int, Counter, np.dtype("float16"), np.float16],
    "proxy": types.MappingProxyType({"a": [1]}),
    "nested": {"a": [({"b": [1, {"c": (2,)}]},)]},
    "scalars": [np.float32(0.1), np.int64(3), np.bool_(True), np.str_("x")],
}


@pytest.mark.parametrize("name", EQUAL)
def test_a_value_that_is_new_comes_back_equal(name):
    value = EQUAL[name]
    back = Trip(NUMPY, lambda: {}).run(lambda state: state.update(x=value))["x"]
    assert back == value
    assert _types(back) == _types(value)
    assert getattr(back, "name", None) == getattr(value, "name", None)


def _types(value):
    if isinstance(value, dict):
        return type(value), [(k, _types(v)) for k, v in value.items()]
    if isinstance(value, list | tuple | collections.deque):
        return type(value), [_types(item) for item in value]
    return type(value)


def test_an_int_that_became_a_float_and_a_list_that_grew():
    def train(state):
        state["loss"] = 0.5
        state["history"].extend([1, 2.5, "x"])
        del state["gone"]

    def start():
        return {"loss": 0, "history": [0], "gone": 1}

    back = Trip(NUMPY, start).run(train)
    assert back == {"loss": 0.5, "history": [0, 1, 2.5, "x"]}
    assert type(back["loss"]) is float


def test_aliases_and_cycles():
    def train(state):
        shared = [1]
        state |= {"a": shared, "b": {"c": shared}, "self": state}

    back = Trip(NUMPY, dict).run(train)
    assert back["a"] is back["b"]["c"]
    assert back["self"] is back


def test_two_that_were_one_are_two():
    def train(state):
        state["b"] = [*state["a"], 3]

    def start():
        one = [1, 2]
        return {"a": one, "b": one}

    back = Trip(NUMPY, start).run(train)
    assert back == {"a": [1, 2], "b": [1, 2, 3]}


def start_with_code():
    counter, slots = Counter(), Slots(1)
    buffer, total = [], 0

    def closure():
        nonlocal total
        total += 1
        buffer.append(total)
        return total

    return {
        "counter": counter,
        "method": counter.__call__,
        "slots": slots,
        "closure": closure,
        "append": buffer.append,
        "buffer": buffer,
        "partial": functools.partial(max, [0]),
        "weak": weakref.ref(slots),
        "lock": threading.Lock(),
        "lambda": lambda: 3,
        "careful": Careful(),
    }


def test_stateful_callables_and_objects_go_on():
    def train(state):
        state["counter"]()
        state["method"]()
        state["closure"]()
        state["closure"]()
        state["slots"].a = [7]
        state["careful"].count = 5

    back = Trip(NUMPY, start_with_code).run(train)
    assert back["method"]() == 3
    assert back["counter"].count == 3
    assert back["closure"]() == 3
    assert back["buffer"] == [1, 2, 3]
    back["append"](4)
    assert back["buffer"] == [1, 2, 3, 4]
    assert (back["slots"].a, back["slots"].b) == ([7], 2)
    assert not hasattr(back["slots"], "never")
    assert back["weak"]() is back["slots"]
    assert back["lambda"]() == 3
    assert back["partial"]() == 0
    assert back["careful"].count == 5


def test_objects_that_moved_keep_their_code():
    def start():
        return {"stages": [[lambda: 1], [lambda: 2]], "now": None}

    def train(state):
        state["stages"].pop(0)
        state["now"] = state["stages"][0][0]

    back = Trip(NUMPY, start).run(train)
    assert back["now"]() == 2
    assert back["now"] is back["stages"][0][0]


def test_generators_of_random_numbers():
    def start():
        source = np.random.default_rng(1)
        return {
            "new": source,
            "same source": np.random.Generator(source.bit_generator),
            "old": np.random.RandomState(1),
            "python": random.Random(1),
        }

    def draws(state):
        return [
            state["new"].random(),
            state["same source"].random(),
            state["old"].standard_normal(),
            state["python"].gauss(0, 1),
            *(g.random() for g in state.get("later", ())),
        ]

    def train(state):
        draws(state)
        state["later"] = [
            np.random.Generator(np.random.Philox(3)),
            np.random.Generator(np.random.MT19937(3)),
            np.random.RandomState(4),
        ]
        draws(state)

    trip = Trip(NUMPY, start)
    back = trip.run(train)
    assert draws(back) == draws(trip.trained)


DTYPES = ["f4", "f8", ">f4", "i1", "u8", "?", "c16", "S3", "U2", "M8[s]", "f2"]


@pytest.mark.parametrize("dtype", [*DTYPES, [("a", "i4"), ("b", "f8", (2,))]], ids=str)
def test_numpy_arrays_of_every_dtype(dtype):
    value = np.zeros((2, 3), dtype)
    value.view(np.uint8).reshape(-1)[::5] = 1
    fortran = np.asfortranarray(value)
    state = {"x": value, "f": fortran, "scalar": value[0, 0], "empty": value[:0]}
    back = Trip(NUMPY, dict).run(lambda new: new.update(state))
    for name, array in state.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()
    assert back["f"].strides == fortran.strides


def test_numpy_views_share_memory():
    def start():
        whole = np.arange(12.0)
        return {"whole": whole}

    def train(state):
        state["whole"][0] = 7
        state |= {"row": state["whole"].reshape(3, 4)[1], "back": state["whole"][::-2]}

    back = Trip(NUMPY, start).run(train)
    back["whole"][5] = 50
    assert back["row"].tolist() == [4, 50, 6, 7]
    assert back["back"].tolist() == [11, 9, 7, 50, 3, 1]


def test_a_small_view_of_a_large_array_saves_only_its_part():
    trip = Trip(NUMPY, dict)
    trip.run(lambda state: state.update(x=np.zeros(10**6)[5000:5010]))
    assert trip.path.stat().st_size < 10_000


def make_local():
    class Local:
        pass

    return Local()


LOST = {
    "generator": (lambda: (n for n in [1]), "position of a generator"),
    "iterator": (lambda: iter([1]), "position of an iterator"),
    "weak set": (weakref.WeakSet, "plain data"),
    "thread": (lambda: threading.Thread(target=print), "lives in the system"),
    "file": (io.StringIO, "lives in the system"),
    "lock": (threading.Lock, "init_optimizer_state"),
    "lambda": (lambda: lambda: 1, "init_optimizer_state"),
    "local class": (make_local, "top of the file"),
    "objects": (lambda: np.array([{}], object), "Python objects"),
    "memoryview": (lambda: memoryview(b"x"), "plain data"),
}


@pytest.mark.parametrize("name", LOST)
def test_what_cannot_be_saved_is_named_with_path_and_type(name):
    make, advice = LOST[name]
    value = make()
    trip = Trip(NUMPY, dict)
    trip.save(lambda state: state.update(a=1, deep=[{"x": value}]))
    (problem,) = [p for p in trip.problems if p.fatal]
    assert str(problem).startswith("optimizer_state['deep'][0]['x'] (")
    assert type(value).__name__ in str(problem)
    assert advice in str(problem)


def test_a_generator_at_its_own_place_is_lost_too():
    trip = Trip(NUMPY, lambda: {"draws": (n for n in range(9))})
    trip.save(lambda state: next(state["draws"]))
    assert [p.path for p in trip.problems] == ["optimizer_state['draws']"]


def test_a_function_that_was_exchanged_is_lost():
    trip = Trip(NUMPY, lambda: {"f": lambda: 1})
    trip.save(lambda state: state.update(f=lambda: 2))
    assert [p.path for p in trip.problems] == ["optimizer_state['f']"]
