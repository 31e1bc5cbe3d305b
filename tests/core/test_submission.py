import importlib
import os
import sys
import textwrap

import pytest

from algorithmic_efficiency import spec, submission
from algorithmic_efficiency.errors import SubmissionError

GOOD = """
def get_batch_size(workload_name):
    return 8

def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    return {}

def data_selection(workload, input_queue, optimizer_state, current_param_container,
                   model_state, hyperparameters, global_step, rng):
    return next(input_queue)

def update_params(workload, current_param_container, current_params_types, model_state,
                  hyperparameters, batch, loss_type, optimizer_state, eval_results,
                  global_step, rng):
    return optimizer_state, current_param_container, model_state
"""
PREPARE = """
def prepare_for_eval(workload, current_param_container, current_params_types,
                     model_state, hyperparameters, loss_type, optimizer_state,
                     eval_results, global_step, rng):
    return optimizer_state, current_param_container, model_state
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Returns a function from source to the path of a file; cleans up imports."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(source, name="mine.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
        return path

    yield write
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def returning(size):
    return GOOD.replace("return 8", f"return {size}")


# Loading.


def test_a_good_submission_is_loaded(write):
    loaded = submission.load(write(GOOD))
    assert loaded.get_batch_size("any") == 8
    assert loaded.update_params.__name__ == "update_params"
    assert loaded.prepare_for_eval is None
    assert loaded.takes_train_state is False
    assert loaded.path.name == "mine.py"


def test_optional_functions_are_found(write):
    loaded = submission.load(write(GOOD + PREPARE))
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
def test_train_state_is_passed_only_to_who_names_it(write, signature, takes):
    source = GOOD.replace("global_step, rng):\n    return optimizer", "@@")
    source = source.replace("@@", signature + "\n    return optimizer")
    assert submission.load(write(source)).takes_train_state is takes


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
def test_every_import_of_spec_is_our_module(write, imports):
    source = f"{imports}\nTRAIN = spec.ForwardPassMode.TRAIN\nSPEC = spec\n{GOOD}"
    path = write(source)
    submission.load(path)
    module = next(m for m in sys.modules.values() if vars(m).get("SPEC"))
    assert module.SPEC is spec
    assert module.TRAIN is spec.ForwardPassMode.TRAIN


@pytest.mark.parametrize("package", ["algoperf", "algorithmic_efficiency"])
def test_the_helpers_of_public_submissions_are_there(write, package):
    source = f"""
from {package} import jax_sharding_utils
from {package} import spec
from {package}.pytorch_utils import pytorch_setup

USE_DDP, RANK, DEVICE, N_GPUS = pytorch_setup()
SHARDING = jax_sharding_utils.get_replicate_sharding()
DONE = spec.TrainingCompleteError
{GOOD}
"""
    loaded = submission.load(write(source))
    module = loaded.update_params.__globals__
    assert module["USE_DDP"] is False and module["RANK"] == 0
    assert module["SHARDING"].is_fully_replicated
    assert module["DONE"] is spec.TrainingCompleteError
    assert issubclass(spec.TrainingCompleteError, Exception)


def test_a_submission_imports_its_neighbours_by_the_path_from_here(write, monkeypatch):
    path = write(f"from team.helper import VALUE\n{GOOD}", "team/submission.py")
    write("VALUE = 12", "team/helper.py")
    monkeypatch.chdir(path.parent.parent)
    loaded = submission.load(path)
    assert loaded.update_params.__globals__["VALUE"] == 12
    assert loaded.update_params.__module__ == "team.submission"


def test_a_file_named_like_a_package_does_not_hide_it(write, monkeypatch):
    # As jax.py or torch.py in the working directory; colorsys is not loaded yet.
    path = write(f"import colorsys\nRGB = colorsys.hsv_to_rgb\n{GOOD}", "colorsys.py")
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
        "update_params.*unexpected keyword argument 'rng'.*Expected arguments: workload",
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
def test_a_bad_submission_is_one_sentence(write, monkeypatch, name, relative):
    source, words = BAD[name]
    path = write(source)
    if relative:
        monkeypatch.chdir(path.parent)
        path = path.relative_to(path.parent)
    with pytest.raises(SubmissionError, match=words) as caught:
        submission.load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.endswith(".")


def test_a_failed_import_leaves_no_module_behind(write, monkeypatch):
    path = write("import colorsys\n1 / 0", "half_done.py")
    monkeypatch.chdir(path.parent)
    with pytest.raises(SubmissionError):
        submission.load(path)
    assert "half_done" not in sys.modules


def test_bytes_that_are_not_utf8_are_a_sentence(write):
    path = write("")
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


# Batch sizes.


def test_batch_size_must_be_a_positive_int_that_the_devices_can_share(write):
    good = submission.load(write(GOOD))
    assert [good.batch_size("imagenet_resnet", n) for n in (1, 2, 4, 8)] == [8] * 4
    for size, devices, words in [
        ("0", 1, "returned 0; a batch size should be an int of at least 1"),
        ("-8", 1, "returned -8;"),
        ("8.0", 1, "returned 8.0;"),
        ("True", 1, "returned True;"),
        ("None", 1, "returned None;"),
        ("'8'", 1, "returned '8';"),
        ("8", 3, "8, which cannot be shared equally among 3 devices; return a multiple"),
    ]:
        loaded = submission.load(write(returning(size), f"s{abs(hash(size))}.py"))
        with pytest.raises(SubmissionError, match=words) as caught:
            loaded.batch_size("imagenet_resnet", devices)
        assert "get_batch_size" in str(caught.value)


def knowing(*names, function="get_batch_size"):
    """Returns source whose function knows these workloads only: 16, 32, ..."""
    sizes = {name: 16 * 2**i for i, name in enumerate(names)}
    return f"""
def {function}(workload_name):
    sizes = {sizes}
    if workload_name not in sizes:
        raise ValueError(f'Unsupported workload name: {{workload_name}}.')
    return sizes[workload_name]
"""


@pytest.mark.parametrize(
    ("known", "workload", "size"),
    [
        (["imagenet_resnet"], "imagenet_resnet", 16),
        (["imagenet_resnet"], "imagenet_resnet_silu", 16),
        (["imagenet_resnet"], "imagenet_resnet_silu_mini", 16),
        (["imagenet_resnet", "imagenet_resnet_silu"], "imagenet_resnet_silu_mini", 32),
        (["imagenet_resnet", "imagenet_resnet_mini"], "imagenet_resnet_mini", 32),
    ],
)
def test_a_variant_falls_back_to_the_nearest_base_name(write, known, workload, size):
    loaded = submission.load(write(GOOD + knowing(*known)))
    assert loaded.batch_size(workload, 1) == size


def test_a_workload_that_nobody_knows_is_a_sentence(write):
    loaded = submission.load(write(GOOD + knowing("wmt")))
    words = "get_batch_size knows none of imagenet_resnet_silu, imagenet_resnet"
    with pytest.raises(SubmissionError, match=words):
        loaded.batch_size("imagenet_resnet_silu", 1)


@pytest.mark.parametrize(
    ("asked", "limit", "devices", "size"),
    [
        (None, 250, 1, 250),
        (None, 250, 4, 248),  # the largest multiple of the devices
        (None, 3, 4, 4),  # but one example per device at least
        (64, 250, 2, 64),
        (250, 250, 1, 250),
        (1024, 250, 1, 250),  # never above the workload's own
        (1024, 250, 4, 248),
    ],
)
def test_eval_batch_size_only_goes_down(write, asked, limit, devices, size):
    source = f"\ndef get_eval_batch_size(workload_name):\n    return {asked}"
    loaded = submission.load(write(GOOD + (source if asked else "")))
    assert loaded.eval_batch_size("imagenet_resnet", limit, devices) == size


@pytest.mark.parametrize("asked", ["0", "7", "2.0", "None"])
def test_bad_eval_batch_size_is_a_sentence(write, asked):
    source = f"\ndef get_eval_batch_size(workload_name):\n    return {asked}"
    loaded = submission.load(write(GOOD + source))
    with pytest.raises(SubmissionError, match=f"get_eval_batch_size returned {asked}"):
        loaded.eval_batch_size("imagenet_resnet", 250, 2)


def test_eval_batch_size_of_a_variant_falls_back_too(write):
    # Or no submission with this function could run at mini scale.
    source = GOOD + knowing("imagenet_resnet", function="get_eval_batch_size")
    loaded = submission.load(write(source))
    assert loaded.eval_batch_size("imagenet_resnet_mini", 250, 1) == 16


# Which framework.


@pytest.mark.parametrize(
    ("name", "source", "framework"),
    [
        ("pytorch.py", "", "pytorch"),
        ("jax.py", "import torch", "jax"),  # the path is stronger than imports
        ("nadamw_jax.py", "", "jax"),
        ("torch_lion.py", "", "pytorch"),
        ("a_jax/submission.py", "", "jax"),
        ("pytorch/deep/submission.py", "", "pytorch"),
        ("jax/pytorch.py", "", "pytorch"),  # the nearest part of the path
        ("mine.py", "import torch", "pytorch"),
        ("mine.py", "from torch import nn", "pytorch"),
        ("mine.py", "import torch.nn.functional as F", "pytorch"),
        ("mine.py", "import numpy\nimport jax.numpy as jnp", "jax"),
        ("mine.py", "from jax import lax", "jax"),
        ("mine.py", "def f():\n    import jax", "jax"),
        ("mine.py", "import torch\nimport jax", None),
        ("mine.py", "import numpy", None),
        ("mine.py", "import torchvision\nimport jaxtyping", None),
        ("mine.py", "# import jax", None),
        ("ajax.py", "", None),  # a word, not some letters
        ("jax_or_pytorch.py", "", None),
        ("jax_or_pytorch.py", "import jax", "jax"),
    ],
)
def test_framework_of(write, monkeypatch, name, source, framework):
    path = write(source, name)
    monkeypatch.chdir(path.parents[name.count("/")])
    assert submission.framework_of(path.relative_to(os.getcwd())) == framework


def test_framework_of_a_file_that_is_not_there_is_told_by_its_name(tmp_path):
    assert submission.framework_of(tmp_path / "sub" / "jax.py") == "jax"
    assert submission.framework_of(tmp_path / "sub" / "mine.py") is None


def test_every_example_tells_its_framework():
    paths = submission.example_paths()
    assert len(paths) >= 8
    for path in paths:
        assert submission.framework_of(path) == path.stem
