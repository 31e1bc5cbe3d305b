"""Why a trial failed: a word for the record, the submission's own line for people."""

import errno
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from algorithmic_efficiency.errors import DataError, EvaluationError, SubmissionError
from algorithmic_efficiency.runner import contract, failures
from algorithmic_efficiency.runner.outcome import Outcome
from algorithmic_efficiency.runner.study import exit_code


def raised(function):
    try:
        function()
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return error
    return None


def torch_memory():
    import torch

    torch.empty(10**15)


def jax_memory():
    import jax.numpy as jnp

    jnp.zeros((10**13,)).block_until_ready()


def numpy_memory():
    import numpy as np

    np.zeros(10**18, np.uint8)


def wrapped():
    try:
        raise MemoryError
    except MemoryError as error:
        raise EvaluationError("The evaluation failed.") from error


def cuda(text):
    import torch

    def function():
        raise torch.OutOfMemoryError(text)

    return function


def says(kind, text):
    def function():
        raise kind(text)

    return function


@pytest.mark.parametrize(
    "function",
    [
        torch_memory,
        jax_memory,
        numpy_memory,
        wrapped,
        cuda("CUDA out of memory. Tried to allocate 2.00 GiB."),
        says(RuntimeError, "CUDA error: out of memory"),
        says(RuntimeError, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling x"),
        says(RuntimeError, "std::bad_alloc"),
        lambda: (_ for _ in ()).throw(OSError(errno.ENOMEM, "Cannot allocate memory")),
    ],
)
def test_out_of_memory_is_recognised(function):
    error = raised(function)
    assert failures.reason_of(error) == "out_of_memory", repr(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("the buffer ran out of memory slots: out of memory"),
        RuntimeError("RESOURCE_EXHAUSTED is what I call it"),
        KeyError("CUDA out of memory"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_other_errors_are_not_taken_for_it(error):
    assert failures.reason_of(error) == "failed"
    assert failures.reason_of(DataError("an image is missing")) == "bad_data"


SUBMISSION = """
import numpy as np
from helper import deeper

def update_params(hyperparameters=None, value=3):
    inner(hyperparameters, value)

def inner(hyperparameters, value):
    if hyperparameters is not None:
        return {line}
    return {line}
"""


@pytest.fixture
def submission(tmp_path, monkeypatch):
    """Returns a function: source of a line -> (path, the module's names)."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "helper", None)  # so that it is forgotten
    del sys.modules["helper"]
    (tmp_path / "helper.py").write_text("def deeper(): raise ValueError('below')\n")

    def load(line):
        path = tmp_path / "mine.py"
        path.write_text(SUBMISSION.format(line=line))
        names = {}
        exec(compile(path.read_text(), str(path), "exec"), names)  # noqa: S102 - ours
        return path, names

    return load


def test_the_line_named_is_the_submissions_own_last_one(submission):
    path, names = submission("np.zeros(3).reshape(5, value)")
    error = raised(names["update_params"])
    assert failures.where(error, path) == f"{path}, line 11, in inner"
    path, names = submission("deeper()")
    helper = path.with_name("helper.py")
    where = failures.where(raised(names["update_params"]), path)
    assert where == f"{helper}, line 1, in deeper"
    assert failures.where(SubmissionError("a sentence"), path) == ""


Hyperparameters = namedtuple("Hyperparameters", ["beta"])


@pytest.mark.parametrize(
    ("line", "given", "words"),
    [
        ("hyperparameters.lr", None, "--tuning_ruleset=self passes None"),
        ("hyperparameters['lr']", None, "--tuning_ruleset=self passes None"),
        ("hyperparameters.lr", Hyperparameters(1), "'lr' was asked for; the search "),
        ("hyperparameters['lr']", Hyperparameters(1), "write hyperparameters.lr"),
        ("value.lr", None, None),
        ("value.lr", Hyperparameters(1), None),
        ("tuple('ab')['a']", Hyperparameters(1), None),
    ],
)
def test_misread_hyperparameters_are_a_sentence(submission, line, given, words):
    path, names = submission(line)
    error = raised(lambda: names["update_params"](given))
    fault = contract.fault_of_hyperparameters(error, given, path)
    assert (fault is None) == (words is None), fault
    assert words is None or words in fault


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (None, "returned NoneType"),
        (("state", {"w": 1}), "returned tuple of 2"),
        (({"w": 1}, ("state", "update"), None), "the parameters are at position 1"),
        (("state", {"m": 1}, {"w": 1}), "the parameters are at position 3"),
        (("state", None, None), "returned (str, None, None)"),
    ],
)
def test_what_update_params_returned_is_named(returned, words):
    with pytest.raises(SubmissionError) as caught:
        contract.checked_return(Path("m.py"), "update_params", returned, {"w": 0})
    assert words in str(caught.value)
    assert "(optimizer_state, params, model_state)" in str(caught.value)


def test_parameters_of_either_framework_are_recognised():
    import torch

    module = torch.nn.Linear(2, 2)
    good = (("state",), module, None)
    assert contract.checked_return(Path("m.py"), "f", good, module) is good
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    with pytest.raises(SubmissionError, match="position 1"):
        contract.checked_return(Path("m.py"), "f", (module, optimizer, None), module)
    tree = [("state",), {"w": 2}, None]
    assert contract.checked_return(Path("m.py"), "f", tree, {"w": 0}) is tree


def test_a_failed_trial_makes_the_exit_code():
    ended, failed = Outcome("ended"), Outcome("failed")
    mistake = Outcome("failed", mistake=True)
    assert exit_code([ended, ended]) == 0
    assert exit_code([ended, failed]) == exit_code([failed]) == 1
    assert exit_code([ended, mistake]) == exit_code([failed, mistake]) == 1
    assert exit_code([mistake, mistake]) == 2


def test_every_way_to_die_has_words():
    assert failures.died(0, memory=False)[0] == "exited"
    assert "SIGSEGV" in failures.died(-11, memory=False)[1]
    assert failures.died(-9, memory=True)[0] == "out_of_memory"
    assert failures.died(-9, memory=False)[0] == "killed"
