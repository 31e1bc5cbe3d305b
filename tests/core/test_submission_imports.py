"""A submission's own modules: found from anywhere, and nobody else's."""

import importlib
import inspect
import pickle
import sys

import pytest
from submission_source import GOOD

from algorithmic_efficiency import spec, submission
from algorithmic_efficiency.errors import SubmissionError

HELPER = "RATE = 0.5\n"
# Name -> (the import, files beside it); the submission is tree/team/mine/submission.py.
IMPORTS = {
    "beside": ("from helper import RATE", {"team/mine/helper.py": HELPER}),
    "module": (
        "import helper\nRATE = helper.RATE",
        {"team/mine/helper.py": HELPER},
    ),
    "relative": ("from .helper import RATE", {"team/mine/helper.py": HELPER}),
    "relative module": (
        "from . import helper\nRATE = helper.RATE",
        {"team/mine/helper.py": HELPER},
    ),
    "relative above": ("from ..common import RATE", {"team/common.py": HELPER}),
    "root of the tree": (
        "from team.mine.helper import RATE",
        {"team/mine/helper.py": HELPER},
    ),
    "module by the root": (
        "from team.mine import helper\nRATE = helper.RATE",
        {"team/mine/helper.py": HELPER},
    ),
    "plain module by the root": (
        "import team.mine.helper\nRATE = team.mine.helper.RATE",
        {"team/mine/helper.py": HELPER},
    ),
    "module by the root, renamed": (
        "import team.mine.helper as h\nRATE = h.RATE",
        {"team/mine/helper.py": HELPER},
    ),
    "parent as root": (
        "from mine.helper import RATE",
        {"team/mine/helper.py": HELPER},
    ),
    "other branch of the tree": (
        "from reference_algorithms.target.schedule import RATE",
        {"reference_algorithms/target/schedule.py": HELPER},
    ),
    "submodule folder": (
        "from optim.soap import RATE",
        {"team/mine/optim/soap.py": HELPER},
    ),
    "package": (
        "from optim import RATE",
        {
            "team/mine/optim/__init__.py": "from .soap import RATE",
            "team/mine/optim/soap.py": "from ..helper import RATE",
            "team/mine/helper.py": HELPER,
        },
    ),
    "star": (
        "from optim import *\nRATE = soap.RATE",
        {
            "team/mine/optim/__init__.py": "__all__ = ['soap']",
            "team/mine/optim/soap.py": HELPER,
        },
    ),
    "circle": (
        "RATE = 0.5\nimport helper",
        {"team/mine/helper.py": "from submission import RATE\nassert RATE == 0.5"},
    ),
    "name of an installed package": (
        "from pytest import RATE",
        {"team/mine/pytest.py": HELPER},
    ),
    "name of a folder of this project": (
        "from submissions.helper import RATE",
        {"submissions/helper.py": HELPER},
    ),
}


def write(make_submission, statement, files):
    for name, content in files.items():
        make_submission(content, f"tree/{name}")
    return make_submission(f"{statement}\n{GOOD}", "tree/team/mine/submission.py")


@pytest.mark.parametrize("place", [".", "tree", "tree/team", "tree/team/mine"])
@pytest.mark.parametrize("name", IMPORTS)
def test_own_modules_are_found_from_any_folder(
    make_submission, tmp_path, monkeypatch, name, place
):
    path = write(make_submission, *IMPORTS[name])
    before, modules = list(sys.path), set(sys.modules)
    monkeypatch.chdir(tmp_path / place)
    loaded = submission.load(path)
    assert loaded.update_params.__globals__["RATE"] == 0.5
    assert sys.path == before
    new = {name.partition(".")[0] for name in set(sys.modules) - modules}
    assert not new & {"helper", "team", "mine", "optim"}


def test_a_helper_in_the_working_folder_is_found(
    make_submission, tmp_path, monkeypatch
):
    path = write(make_submission, "from helper import RATE", {"helper.py": HELPER})
    monkeypatch.chdir(tmp_path / "tree")
    assert submission.load(path).update_params.__globals__["RATE"] == 0.5
    monkeypatch.chdir(tmp_path)  # but not in any folder above
    with pytest.raises(SubmissionError, match="No module named 'helper'"):
        submission.load(path)


def test_modules_of_the_same_name_stay_apart_also_in_later_calls(make_submission):
    source = """
import helper
def own_rate():
    from helper import RATE
    from optim.soap import DOUBLE
    return helper.RATE, RATE, DOUBLE
"""
    loaded = []
    for number in (1, 2):
        make_submission(f"RATE = {number}", f"s{number}/helper.py")
        soap = "import helper\nDOUBLE = 2 * helper.RATE"
        make_submission(soap, f"s{number}/optim/soap.py")
        loaded.append(
            submission.load(make_submission(source + GOOD, f"s{number}/s.py"))
        )
    rates = [one.update_params.__globals__["own_rate"]() for one in loaded]
    assert rates == [(1, 1, 2), (2, 2, 4)]
    assert "helper" not in sys.modules


@pytest.mark.parametrize("name", ["jax", "torch", "numpy", "logging", "dataclasses"])
def test_a_neighbour_does_not_stand_for_a_package(make_submission, name, monkeypatch):
    path = make_submission(f"import {name}\nGOT = {name}\n{GOOD}", "sub/mine.py")
    make_submission("raise RuntimeError('the neighbour ran')", f"sub/{name}.py")
    monkeypatch.chdir(path.parent)
    got = submission.load(path).update_params.__globals__["GOT"]
    assert got is importlib.import_module(name)


@pytest.mark.parametrize("name", ["utils", "datasets", "data", "soundfile", "wandb"])
def test_the_harness_never_sees_a_neighbour(make_submission, name, monkeypatch):
    path = make_submission(f"import {name}\nGOT = {name}.RATE\n{GOOD}", "sub/mine.py")
    make_submission(HELPER, f"sub/{name}.py")
    monkeypatch.chdir(path.parent)
    assert submission.load(path).update_params.__globals__["GOT"] == 0.5
    try:
        seen = importlib.import_module(name)
    except ModuleNotFoundError:
        return
    assert not hasattr(seen, "RATE")


def test_an_own_package_is_one_module_however_it_is_imported(make_submission):
    statement = """
import helper
from . import helper as second
from team.mine import helper as third
import team.mine.helper
SAME = helper is second is third is team.mine.helper
RATE = 0.5
"""
    path = write(make_submission, statement, {"team/mine/helper.py": HELPER})
    assert submission.load(path).update_params.__globals__["SAME"] is True


def test_classes_of_own_modules_can_be_pickled_and_inspected(make_submission):
    helper = (
        "import dataclasses\n@dataclasses.dataclass\nclass State:\n    x: 'int' = 1\n"
    )
    statement = "from helper import State"
    path = write(make_submission, statement, {"team/mine/helper.py": helper})
    kind = submission.load(path).update_params.__globals__["State"]
    assert pickle.loads(pickle.dumps(kind(3))) == kind(3)
    assert "class State" in inspect.getsource(kind)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            "from helper import RATE",
            ["'helper'", "helper.py", "not installed", "{folder}", "{cwd}", "line 1"],
        ),
        (
            "from team.mine.helper import RATE",
            ["'team.mine.helper'", "team/mine/helper.py", "{folder}", "{tree}"],
        ),
        ("from .helper import RATE", ["'.helper'", "helper.py", "{folder}"]),
        ("from ..helper import RATE", ["helper.py", "{team}"]),
        (f"from {'.' * 40}helper import RATE", ["__init__.py in /."]),
        ("from .optim.soap import RATE", ["optim/soap.py", "{folder}"]),
        ("import not_there.at_all", ["not_there/at_all.py"]),
        ("from jax.no_such import x", ["No module named 'jax.no_such'"]),
    ],
)
def test_what_is_not_there_says_what_was_looked_for_where(
    make_submission, tmp_path, monkeypatch, statement, words
):
    path = write(make_submission, statement, {})
    monkeypatch.chdir(tmp_path)
    folder = path.parent.resolve()
    places = {
        "folder": folder,
        "team": folder.parent,
        "tree": folder.parents[1],
        "cwd": tmp_path,
    }
    with pytest.raises(SubmissionError, match="raised ModuleNotFoundError") as caught:
        submission.load(path)
    for word in words:
        assert word.format(**places) in str(caught.value)


def test_a_missing_module_can_still_be_caught(make_submission):
    statement = "try:\n    import no_such\nexcept ImportError:\n    RATE = 0.5"
    path = write(make_submission, statement, {})
    assert submission.load(path).update_params.__globals__["RATE"] == 0.5


def test_a_package_that_lacks_another_one_says_so(make_submission):
    files = {"team/mine/helper.py": "import no_such_package"}
    path = write(make_submission, "import helper", files)
    with pytest.raises(SubmissionError, match="'no_such_package'"):
        submission.load(path)


def test_a_module_that_failed_is_not_kept(make_submission):
    path = write(make_submission, "import helper", {"team/mine/helper.py": "1 / 0"})
    with pytest.raises(SubmissionError, match="ZeroDivisionError .*at line 1"):
        submission.load(path)
    make_submission(HELPER, "tree/team/mine/helper.py")
    assert submission.load(path).get_batch_size("any") == 8


@pytest.mark.parametrize(
    "statement",
    [
        "from algoperf import spec",
        "import algoperf.spec\nspec = algoperf.spec",
        "import algoperf as ae\nspec = ae.spec",
        "import algorithmic_efficiency.spec as spec",
    ],
)
def test_the_packages_own_name_is_never_a_neighbours(make_submission, statement):
    # As in a checkout of the public project, which has folders of these names.
    files = {
        f"{folder}{package}/{name}.py": "raise RuntimeError('the public one ran')"
        for package in ("algoperf", "algorithmic_efficiency")
        for name in ("__init__", "spec")
        for folder in ("", "team/mine/")
    }
    path = write(make_submission, f"{statement}\nSPEC = spec", files)
    assert submission.load(path).update_params.__globals__["SPEC"] is spec


def test_both_names_of_the_package_are_one(make_submission):
    source = f"""
from algoperf import jax_sharding_utils as first, pytorch_utils
from algorithmic_efficiency import jax_sharding_utils as second
import algoperf.adapters.jax as adapter
SAME = first is second and adapter.__name__.startswith("algorithmic_efficiency")
{GOOD}"""
    assert submission.load(make_submission(source)).update_params.__globals__["SAME"]
