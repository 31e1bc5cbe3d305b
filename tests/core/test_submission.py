import importlib
import sys

import pytest
from submission_source import GOOD, PREPARE

from algorithmic_efficiency import jax_sharding_utils, spec, submission
from algorithmic_efficiency.errors import SubmissionError

# Loading.


def test_a_good_submission_is_loaded(make_submission):
    loaded = submission.load(make_submission(GOOD))
    assert loaded.get_batch_size("any") == 8
    assert loaded.update_params.__name__ == "update_params"
    assert loaded.prepare_for_eval is None
    assert loaded.takes_train_state is False
    assert loaded.path.name == "mine.py"


def test_optional_functions_are_found(make_submission):
    loaded = submission.load(make_submission(GOOD + PREPARE))
    assert loaded.prepare_for_eval.__name__ == "prepare_for_eval"


@pytest.mark.parametrize(
    ("signature", "takes"),
    [
        ("global_step, rng):", False),
        ("global_step, rng, train_state):", True),
        ("global_step, rng, train_state=None):", True),
        ("global_step, rng, **kwargs):", False),
        ("global_step, rng, *, train_state):", True),
    ],
)
def test_train_state_is_passed_only_to_who_names_it(make_submission, signature, takes):
    source = GOOD.replace("global_step, rng):\n    return optimizer", "@@")
    source = source.replace("@@", signature + "\n    return optimizer")
    assert submission.load(make_submission(source)).takes_train_state is takes


@pytest.mark.parametrize(
    "imports",
    [
        "from algoperf import spec",
        "import algoperf.spec\nspec = algoperf.spec",
        "import algoperf\nspec = algoperf.spec",
        "from algorithmic_efficiency import spec",
        "import algorithmic_efficiency.spec as spec",
    ],
)
def test_every_import_of_spec_is_our_module(make_submission, imports):
    source = f"{imports}\nTRAIN = spec.ForwardPassMode.TRAIN\nSPEC = spec\n{GOOD}"
    path = make_submission(source)
    submission.load(path)
    module = next(m for m in sys.modules.values() if vars(m).get("SPEC"))
    assert module.SPEC is spec
    assert module.TRAIN is spec.ForwardPassMode.TRAIN


@pytest.mark.parametrize("package", ["algoperf", "algorithmic_efficiency"])
def test_the_helpers_of_public_submissions_are_there(make_submission, package):
    source = f"""
from {package} import jax_sharding_utils
from {package} import spec
from {package}.pytorch_utils import pytorch_setup

USE_DDP, RANK, DEVICE, N_GPUS = pytorch_setup()
SHARDING = jax_sharding_utils.get_replicate_sharding()
OLDER = jax_sharding_utils.get_batch_sharding(SHARDING.mesh)
DONE = spec.TrainingCompleteError
{GOOD}
"""
    loaded = submission.load(make_submission(source))
    module = loaded.update_params.__globals__
    assert module["USE_DDP"] is False and module["RANK"] == 0
    assert module["SHARDING"].is_fully_replicated
    assert module["OLDER"] == jax_sharding_utils.get_batch_dim_sharding()
    assert module["DONE"] is spec.TrainingCompleteError
    assert issubclass(spec.TrainingCompleteError, Exception)


def test_a_submission_imports_its_neighbours_by_the_path_from_here(
    make_submission, monkeypatch
):
    path = make_submission(
        f"from team.helper import VALUE\n{GOOD}", "team/submission.py"
    )
    make_submission("VALUE = 12", "team/helper.py")
    monkeypatch.chdir(path.parent.parent)
    loaded = submission.load(path)
    assert loaded.update_params.__globals__["VALUE"] == 12


def test_a_file_named_like_a_package_does_not_hide_it(make_submission, monkeypatch):
    # As jax.py or torch.py in the working directory; colorsys is not loaded yet.
    path = make_submission(
        f"import colorsys\nRGB = colorsys.hsv_to_rgb\n{GOOD}", "colorsys.py"
    )
    monkeypatch.chdir(path.parent)
    sys.modules.pop("colorsys", None)
    loaded = submission.load(path.relative_to(path.parent))
    assert loaded.update_params.__globals__["RGB"](0.0, 1.0, 1.0) == (1.0, 0.0, 0.0)
    assert hasattr(importlib.import_module("colorsys"), "rgb_to_hsv")


# Bad submissions: one sentence each.


def without(name):
    return GOOD.replace(f"def {name}(", f"def other_{name}(")


BAD = {
    "no update_params": (without("update_params"), "has no function update_params"),
    "no get_batch_size": (without("get_batch_size"), "has no function get_batch_size"),
    "no init": (without("init_optimizer_state"), "no function init_optimizer_state"),
    "no data_selection": (without("data_selection"), "has no function data_selection"),
    "empty": ("", "has no function get_batch_size"),
    "not a function": (GOOD + "\nupdate_params = 3", "has no function update_params"),
    "no rng": (
        GOOD.replace("global_step, rng):\n    return opt", "global_step):\n    pass #"),
        "update_params.*unexpected keyword argument 'rng'.*Expected arguments: work",
    ),
    "renamed keyword": (
        GOOD.replace("batch, loss_type", "minibatch, loss_type"),
        "update_params.*missing a required argument: 'minibatch'",
    ),
    "one argument more": (
        GOOD.replace("(workload_name)", "(workload_name, devices)"),
        "get_batch_size.*missing a required argument: 'devices'",
    ),
    "one argument less": (
        GOOD.replace("hyperparameters, rng):\n    return {}", "rng):\n    return {}"),
        "init_optimizer_state.*too many positional arguments",
    ),
    "bad prepare": (
        GOOD + "\ndef prepare_for_eval(params):\n    pass",
        "prepare_for_eval.*cannot be called as the harness does",
    ),
    "bad eval size": (
        GOOD + "\ndef get_eval_batch_size():\n    return 1",
        "get_eval_batch_size.*too many positional arguments",
    ),
    "raises": ("\n\nraise KeyError('x')", "raised KeyError .*at line 3: 'x'"),
    "raises deeper": (
        "def f():\n    return 1 / 0\n\nf()",
        "raised ZeroDivisionError .*at line 2",
    ),
    "ends the program": ("import sys\nsys.exit(0)", "raised SystemExit .*at line 2"),
    "imports what is not there": (
        "import not_a_package_of_anyone",
        "raised ModuleNotFoundError .*at line 1: No module named",
    ),
    "syntax": ("def f(:\n    pass", "raised SyntaxError .*at line 1"),
    "later syntax": ("x = 1\ny = (\n", "raised SyntaxError .*at line 2"),
}


@pytest.mark.parametrize("relative", [False, True], ids=["absolute", "relative"])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_submission_is_one_sentence(make_submission, monkeypatch, name, relative):
    source, words = BAD[name]
    path = make_submission(source)
    if relative:
        monkeypatch.chdir(path.parent)
        path = path.relative_to(path.parent)
    with pytest.raises(SubmissionError, match=words) as caught:
        submission.load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.endswith(".")


def test_a_failed_import_leaves_no_module_behind(make_submission, monkeypatch):
    path = make_submission("import colorsys\n1 / 0", "half_done.py")
    monkeypatch.chdir(path.parent)
    with pytest.raises(SubmissionError):
        submission.load(path)
    assert "half_done" not in sys.modules


def test_bytes_that_are_not_utf8_are_a_sentence(make_submission):
    path = make_submission("")
    path.write_bytes(b"x = '\xff'\n")
    with pytest.raises(SubmissionError, match="raised SyntaxError") as caught:
        submission.load(path)
    assert "None" not in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere.py", "folder.py", "mine.txt", "mine"])
def test_what_is_no_python_file_is_a_sentence(tmp_path, name):
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "mine.txt").write_text(GOOD)
    with pytest.raises(SubmissionError, match="takes a Python file") as caught:
        submission.load(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
