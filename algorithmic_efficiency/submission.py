"""Loads a submission and checks it at the door, before any clock starts."""

import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import algorithmic_efficiency
from algorithmic_efficiency import registry, spec
from algorithmic_efficiency.errors import SubmissionError
from algorithmic_efficiency.imports import Importer
from algorithmic_efficiency.sources import framework_of as framework_of

FRAMEWORK_MODULES = {"pytorch": "torch", "jax": "jax"}

_EVAL = (
    "workload",
    "current_param_container",
    "current_params_types",
    "model_state",
    "hyperparameters",
    "loss_type",
    "optimizer_state",
    "eval_results",
    "global_step",
    "rng",
)
_UPDATE = (*_EVAL[:5], "batch", *_EVAL[5:])
# Function -> how the harness calls it: positional arguments by number, others by name.
POSITIONAL = {
    "get_batch_size": ("workload_name",),
    "init_optimizer_state": (
        "workload",
        "model_params",
        "model_state",
        "hyperparameters",
        "rng",
    ),
    "data_selection": (
        "workload",
        "input_queue",
        "optimizer_state",
        "current_param_container",
        "model_state",
        "hyperparameters",
        "global_step",
        "rng",
    ),
    "get_eval_batch_size": ("workload_name",),
}
KEYWORDS = {"update_params": _UPDATE, "prepare_for_eval": _EVAL}
REQUIRED = (
    "get_batch_size",
    "init_optimizer_state",
    "update_params",
    "data_selection",
)
OPTIONAL = ("get_eval_batch_size", "prepare_for_eval")


class Submission:
    """A checked submission: its functions, and what the harness knows of them.

    Attributes:
      path: the file.
      takes_train_state: `update_params` asks for the read-only state of the trial.
    """

    def __init__(self, path: Path, module: ModuleType) -> None:
        self.path = path
        self.get_batch_size: Callable[..., Any] = module.get_batch_size
        self.init_optimizer_state: Callable[..., Any] = module.init_optimizer_state
        self.update_params: Callable[..., Any] = module.update_params
        self.data_selection: Callable[..., Any] = module.data_selection
        self.prepare_for_eval = getattr(module, "prepare_for_eval", None)
        self._get_eval_batch_size = getattr(module, "get_eval_batch_size", None)
        names = inspect.signature(self.update_params).parameters
        self.takes_train_state = "train_state" in names

    def batch_size(self, workload: str, devices: int) -> int:
        """Returns the global training batch size for a workload.

        A submission that does not know a variant is asked for its base workload.

        Raises:
          SubmissionError: no such size, or it cannot be shared among the devices.
        """
        return self._size("get_batch_size", self.get_batch_size, workload, devices)

    def eval_batch_size(self, workload: str, limit: int, devices: int) -> int:
        """Returns the evaluation batch size: the submission's, but never above `limit`.

        It can only save memory; no metric depends on it.
        """
        if self._get_eval_batch_size is None:
            return _multiple(limit, devices)
        function = self._get_eval_batch_size
        size = self._size("get_eval_batch_size", function, workload, devices)
        return min(size, _multiple(limit, devices))

    def _size(
        self, what: str, function: Callable[..., Any], workload: str, devices: int
    ) -> int:
        names = [workload, *registry.base_names(workload)]
        for name in names:
            try:
                size = function(name)
            except ValueError:
                continue
            return _checked_size(self.path, what, size, devices)
        raise SubmissionError(
            f"{self.path}: {what} knows none of {', '.join(names)}. Return a "
            "batch size for one of them."
        )


def load(path: Path) -> Submission:
    """Imports the file and checks that it can be called as the harness will call it.

    Raises:
      SubmissionError: the file is missing, raises at import, or lacks a function, or a
        function does not take the arguments of the submission API.
    """
    module = _import(path)
    for name in (*REQUIRED, *OPTIONAL):
        function = getattr(module, name, None)
        if function is None and name in OPTIONAL:
            continue
        if not callable(function):
            raise SubmissionError(
                f"{path} has no function {name}. A submission needs "
                f"{', '.join(REQUIRED)}; submissions/template shows the smallest one."
            )
        _check_arguments(path, name, function)
    return Submission(path, module)


def check_file(path: Path) -> None:
    """Raises SubmissionError unless there is such a Python file."""
    if path.suffix != ".py" or not path.is_file():
        raise SubmissionError(
            f"There is no submission {path}: --submission_path takes a Python file, "
            "for example reference_algorithms/nadamw/pytorch.py."
        )


def _import(path: Path) -> ModuleType:
    check_file(path)
    _alias_package()
    if str(registry.ROOT) not in sys.path:
        sys.path.append(str(registry.ROOT))
    try:
        return Importer(path).load()
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        line = _line_of(error, path.resolve())
        raise SubmissionError(
            f"{path} raised {type(error).__name__} while it was imported{line}: "
            f"{error}. Importing a submission should only define functions."
        ) from error


def _alias_package() -> None:
    """Lets `from algoperf import spec` of a public submission mean our package.

    `spec` must be one module under both names, or its enums would be two; the other
    helpers hold functions only.
    """
    sys.modules.setdefault("algoperf", algorithmic_efficiency)
    sys.modules.setdefault("algoperf.spec", spec)


def _line_of(error: BaseException, path: Path) -> str:
    """Returns ' at line n' for the last line of the submission in the traceback."""
    if isinstance(error, SyntaxError):
        return f" at line {error.lineno}"
    frame, line = error.__traceback__, None
    while frame is not None:
        if Path(frame.tb_frame.f_code.co_filename) == path:
            line = frame.tb_lineno
        frame = frame.tb_next
    return f" at line {line}" if line else ""


def _check_arguments(path: Path, name: str, function: Callable[..., Any]) -> None:
    expected = POSITIONAL.get(name) or KEYWORDS[name]
    signature = inspect.signature(function)
    try:
        if name in POSITIONAL:
            signature.bind(*expected)
        else:
            taken = (*expected, *(["train_state"] * _takes(signature, "train_state")))
            signature.bind(**dict.fromkeys(taken))
    except TypeError as error:
        raise SubmissionError(
            f"{path}: {name}{signature} cannot be called as the harness does "
            f"({error}). Expected arguments: {', '.join(expected)}."
        ) from error


def _takes(signature: inspect.Signature, name: str) -> int:
    return int(name in signature.parameters)


def _checked_size(path: Path, function: str, size: Any, devices: int) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise SubmissionError(
            f"{path}: {function} returned {size!r}; a batch size should be an int of "
            "at least 1."
        )
    if size % devices:
        raise SubmissionError(
            f"{path}: {function} returned {size}, which cannot be shared equally among "
            f"{devices} devices; return a multiple of {devices}."
        )
    return size


def _multiple(size: int, devices: int) -> int:
    return max(devices, size - size % devices)


def example_paths(folder: str = "reference_algorithms") -> Sequence[Path]:
    """Returns the submissions in a folder of the project, sorted."""
    return sorted((registry.ROOT / folder).glob("[!_]*/*.py"))
