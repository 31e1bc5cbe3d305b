import json
import math
from pathlib import Path

import jax
import numpy as np
import pytest

from algorithmic_efficiency.errors import UsageError
from algorithmic_efficiency.runner import tuning

RATE = {"min": 1e-4, "max": 1e-2, "scaling": "log"}
DECAY = {"min": -1.0, "max": 3.0, "scaling": "linear"}
CHOICE = {"feasible_points": [0.0, 0.1, 0.2, "cosine", None]}
SPACE = {"learning_rate": RATE, "decay": DECAY, "dropout": CHOICE}


@pytest.fixture
def write(tmp_path):
    """Returns a function from content, or raw text, to the path of a file with it."""

    def write(content):
        path = tmp_path / "space.json"
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text)
        return path

    return write


# Formulas, by their unit coordinate u.


@pytest.mark.parametrize(
    ("form", "u", "value"),
    [
        (RATE, 0.0, 1e-4),
        (RATE, 0.5, 1e-3),
        (RATE, 0.137146, 1e-4 * math.exp(0.137146 * math.log(100.0))),
        (RATE, 0.75, 10**-2.5),
        (DECAY, 0.0, -1.0),
        (DECAY, 0.5, 1.0),
        (DECAY, 0.875, 2.5),
        ({"min": 2, "max": 2, "scaling": "linear"}, 0.7, 2.0),
        ({"min": 2, "max": 2, "scaling": "log"}, 0.7, 2.0),
        (CHOICE, 0.0, 0.0),
        (CHOICE, 0.1999, 0.0),
        (CHOICE, 0.2, 0.1),
        (CHOICE, 0.65, "cosine"),
        (CHOICE, np.nextafter(1.0, 0.0), None),
    ],
)
def test_value_at_u(form, u, value):
    got = tuning._value(form, float(u))
    assert got == (pytest.approx(value, rel=1e-12) if type(value) is float else value)


def test_published_vector_of_the_log_formula():
    # AlgoPerf's first trial for 1e-4..1e-2: u = 0.137146 gives 1.8806e-4.
    assert tuning._value(RATE, 0.137146) == pytest.approx(1.8806e-4, rel=1e-4)


def test_spaces_as_editors_write_them(write, tmp_path):
    path = tmp_path / "marked.json"
    path.write_bytes(b"\xef\xbb\xbf" + write(SPACE).read_bytes())
    assert tuning.read(path) == SPACE


def test_widest_range_of_floats_is_covered():
    form = {"min": 1e-300, "max": 1e300, "scaling": "log"}
    assert tuning._value(form, 0.5) == pytest.approx(1.0, rel=1e-9)


# Sampling.


def test_points_keep_the_order_of_names_and_their_ranges(write):
    points = tuning.points(tuning.read(write(SPACE)), 64, seed=3)
    assert len(points) == 64
    assert all(list(point) == list(SPACE) for point in points)
    rates = np.array([point["learning_rate"] for point in points])
    decays = np.array([point["decay"] for point in points])
    assert rates.min() >= 1e-4 and rates.max() <= 1e-2
    assert decays.min() >= -1.0 and decays.max() <= 3.0
    # A Halton sequence fills its range: half of the points on each side of the middle.
    assert np.sum(rates < 1e-3) == 32
    assert np.sum(decays < 1.0) in range(29, 36)
    counts = [sum(p["dropout"] == x for p in points) for x in CHOICE["feasible_points"]]
    assert sum(counts) == 64 and min(counts) >= 10


@pytest.mark.parametrize("count", [1, 2, 5, 13])
def test_first_points_do_not_depend_on_how_many_are_asked_for(count):
    assert tuning.points(SPACE, count, seed=9) == tuning.points(SPACE, 20, 9)[:count]


def test_points_are_reproducible_and_the_global_generators_are_left_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    first = tuning.points(SPACE, 7, seed=0)
    np.random.seed(5)
    assert tuning.points(SPACE, 7, seed=0) == first
    np.random.seed(0)
    tuning.points(SPACE, 7, seed=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_other_seeds_give_other_points():
    firsts = [tuning.points(SPACE, 3, seed)[0]["learning_rate"] for seed in range(20)]
    assert len(set(firsts)) == 20


def test_a_list_is_taken_in_order(write):
    listed = [{"lr": 0.1, "b": 1}, {"lr": 0.2, "b": None}, {"lr": 0.3, "b": "x"}]
    space = tuning.read(write(listed))
    for count in (1, 2, 3):
        assert tuning.points(space, count, seed=count) == listed[:count]


def test_points_of_a_list_are_copies():
    listed = [{"lr": 0.1}]
    tuning.points(listed, 1, 0)[0]["lr"] = 7.0
    assert listed == [{"lr": 0.1}]


def test_too_few_points_is_a_sentence():
    with pytest.raises(UsageError, match="list of 2 points; ask for at most 2 trials"):
        tuning.points([{"a": 1}, {"a": 2}], 3, seed=0)


def test_submissions_receive_a_namedtuple():
    point = tuning.namedtuple({"learning_rate": 0.5, "beta2": 0.99})
    assert type(point).__name__ == "Hyperparameters"
    assert point._fields == ("learning_rate", "beta2")
    assert (point.learning_rate, point.beta2) == point == (0.5, 0.99)
    assert hasattr(point, "dropout_rate") is False
    assert getattr(point, "dropout_rate", 0.1) == 0.1
    with pytest.raises(
        AttributeError, match="no hyperparameter 'lr'; this point has l"
    ):
        _ = point.lr
    with pytest.raises(AttributeError, match="this point has none. They come from"):
        _ = tuning.namedtuple({}).lr
    assert jax.tree.leaves(point) == [0.5, 0.99]
    assert point._replace(beta2=0.9).beta2 == 0.9


# Malformed search spaces, each with the words that its sentence must have.


def ranged(**changes):
    return {"lr": {**RATE, **changes}}


MALFORMED = [
    ("{", "is not JSON"),
    ("", "is not JSON"),
    ("learning_rate: 0.1", "is not JSON"),
    ({}, "dict of ranges or a list of points"),
    ([], "at least one"),
    ("3", "dict of ranges or a list of points"),
    ("null", "dict of ranges or a list of points"),
    ('"text"', "dict of ranges or a list of points"),
    (ranged(scaling="cubic"), "'lr': scaling is 'cubic'; use 'linear' or 'log'"),
    (ranged(scaling=None), "scaling is None"),
    (ranged(scaling=["log"]), "scaling is"),
    (ranged(min=0.1, max=0.01), r"min \(0.1\) is greater than max \(0.01\)"),
    (ranged(min=0.0), "min is 0.0; on a log scale"),
    (ranged(min=-1), "min is -1; on a log scale"),
    (ranged(min=math.nan), "NaN is not a finite number"),
    (ranged(max=math.inf), "Infinity is not a finite number"),
    ('[{"lr": 1e999}]', "1e999 is not a finite number"),
    (ranged(min=-1.7e308, max=1.7e308, scaling="linear"), "max - min is not finite"),
    ('{"lr": {"feasible_points": [1]}, "lr": 3}', "'lr' stands twice in one object"),
    ('[{"lr": 1, "lr": 2}]', "'lr' stands twice in one object"),
    ("[" * 100_000, "nested too deeply"),
    ('{"lr": ' * 100_000, "nested too deeply"),
    ('{"lr": {"feasible_points": [1' + "0" * 5_000 + "]}}", "is not JSON: Exceeds"),
    ({"e\N{LATIN SMALL LIGATURE FFI}cient": RATE}, "underscore, spelled 'efficient'"),
    (ranged(max=10**400), "use numbers"),
    (ranged(min=True), "min is True"),
    (ranged(min="1e-4"), "min is '1e-4'"),
    (ranged(max=None), "max is None"),
    ({"lr": {"min": 1, "max": 2}}, "expected"),
    ({"lr": {**RATE, "step": 1}}, "expected"),
    ({"lr": {**RATE, "feasible_points": [1]}}, "expected"),
    ({"lr": 0.1}, "found 0.1, expected"),
    ({"lr": [0.1]}, "expected"),
    ({"lr": {}}, "expected"),
    ({"lr": {"feasible_points": []}}, "list of values"),
    ({"lr": {"feasible_points": 3}}, "list of values"),
    ({"lr": {"feasible_points": "abc"}}, "list of values"),
    ({"learning rate": RATE}, "'learning rate'; a name should"),
    ({"_lr": RATE}, "'_lr'; a name should"),
    ({"1st": RATE}, "'1st'; a name should"),
    ({"": RATE}, "''; a name should"),
    ({"lambda": RATE}, "'lambda'; a name should"),
    ([1, 2], "every entry should be a dict"),
    ([{"lr": 1}, {}], "every entry should be a dict"),
    ([{"lr": 1}, {"l r": 2}], "'l r'; a name should"),
    ([{"class": 1}], "'class'; a name should"),
]


@pytest.mark.parametrize(("content", "words"), MALFORMED)
def test_malformed_search_space_is_a_sentence(write, content, words):
    path = write(content)
    with pytest.raises(UsageError, match=words) as caught:
        tuning.read(path)
    message = str(caught.value)
    assert message.startswith(f"The search space {path}")
    assert message.endswith(".")
    assert "\n" not in message


def test_missing_file_folder_and_bytes_are_sentences(tmp_path):
    with pytest.raises(UsageError, match="cannot be read .No such file"):
        tuning.read(tmp_path / "nowhere.json")
    with pytest.raises(UsageError, match="cannot be read .Is a directory"):
        tuning.read(tmp_path)
    path = tmp_path / "bytes.json"
    with pytest.raises(UsageError, match="is not a file"):
        tuning.read(Path("/dev/zero"))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not JSON"):
        tuning.read(path)
