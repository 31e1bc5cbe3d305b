"""The workload as submissions see it: the members of the public API, and no others.

The harness keeps the real `workload.Workload`, with its data, backend, definition and
evaluation. What it hands to a submission's functions is a `PublicWorkload`, which asks
the real one through a function that knows the public names only. Python hides nothing
from who digs in closures, so this is no lock: it keeps a submission from leaning on
what is not promised, and from changing by a plain assignment what it is measured with.
docs/decisions/024-outside.md says what that is worth.
"""

import inspect
import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from algorithmic_efficiency.registry import nearest
from algorithmic_efficiency.workload import Workload

# What can be read. The last two are known once `init_model_fn` has been called.
FACTS = (
    "target_metric_name",
    "validation_target_value",
    "test_target_value",
    "loss_type",
    "num_train_examples",
    "num_eval_train_examples",
    "num_validation_examples",
    "num_test_examples",
    "eval_batch_size",
    "train_mean",
    "train_stddev",
    "max_allowed_runtime_sec",
    "eval_period_time_sec",
    "step_hint",
    "param_shapes",
    "model_params_types",
)
# What can be called, with the signature and the docstring that it has there.
METHODS = (
    "init_model_fn",
    "model_fn",
    "loss_fn",
    "recalibrate",
    "output_activation_fn",
    "is_output_params",
    "has_reached_validation_target",
    "has_reached_test_target",
)
MEMBERS = (*FACTS, *METHODS, "metrics_logger", "attach_metrics_logger")
# Names of the public API that its runner uses; here the harness has them to itself.
HARNESS = ("eval_model", "_eval_model_on_split", "_eval_iters", "_build_input_queue")

_SHOWN = 4  # names in a sentence about one that does not exist
_numbers = itertools.count()


class PublicLogger:
    """Where a submission's own scalars go.

    Attributes:
      append_scalar_metrics: called with (metrics, global_step); metrics are numbers, or
        arrays of one element, by name.
    """

    __slots__ = ("append_scalar_metrics",)

    def __init__(self, logger: Any) -> None:
        def append_scalar_metrics(*args: Any, **kwargs: Any) -> None:
            """Keeps scalars of one step."""
            logger.append_scalar_metrics(*args, **kwargs)

        self.append_scalar_metrics = append_scalar_metrics


class PublicWorkload:
    """One workload in one framework, for a submission; `spec.Workload`.

    It is compared and hashed by identity, so it may be a static argument of `jax.jit`.
    Copies of it, and what a pickle of it gives in this process, are itself.

    Args:
      workload: the real one.
    """

    __slots__ = ("__weakref__", "_ask", "_attached", "_number")
    _ask: Callable[..., Any]
    _attached: Sequence[Any]
    _number: int

    def __init__(self, workload: Workload) -> None:
        number = next(_numbers)
        for name, value in (
            ("_ask", _asker(workload)),
            ("_attached", ()),
            ("_number", number),
        ):
            object.__setattr__(self, name, value)
        _made[number] = self

    @property
    def metrics_logger(self) -> Any:
        """Has `append_scalar_metrics(metrics, global_step)`, or is None."""
        return self._attached[0] if self._attached else self._ask("metrics_logger")

    def attach_metrics_logger(self, metrics_logger: Any) -> None:
        """Puts another logger in the place of `metrics_logger`, for this submission."""
        object.__setattr__(self, "_attached", (metrics_logger,))

    def __getattr__(self, name: str) -> NoReturn:
        """Raises AttributeError with a sentence that names what there is."""
        if name.startswith("__"):  # Python and the frameworks ask for many of these
            raise AttributeError(name)
        if name in HARNESS or hasattr(Workload, name):
            said = f"workload.{name} is for the harness and not for submissions"
        else:
            said = f"A workload has no member {name!r}"
        raise AttributeError(
            f"{said}; the public members nearest to it are "
            f"{', '.join(nearest(name, MEMBERS)[:_SHOWN])}. docs/submissions.md lists "
            "all of them."
        )

    def __setattr__(self, name: str, value: Any) -> None:
        """Attaches a metrics logger.

        Raises:
          AttributeError: for any other name.
        """
        if name == "metrics_logger":
            self.attach_metrics_logger(value)
            return
        raise AttributeError(
            f"Found workload.{name} = ...; of a workload only metrics_logger can be "
            "set. Keep values of your own in the optimizer state."
        )

    def __delattr__(self, name: str) -> None:
        """Raises AttributeError: nothing of a workload can be deleted."""
        raise AttributeError(f"workload.{name} cannot be deleted.")

    def __dir__(self) -> list[str]:
        return [*MEMBERS, *(name for name in dir(type(self)) if name[:2] == "__")]

    def __copy__(self) -> "PublicWorkload":
        return self

    def __deepcopy__(self, memo: Any) -> "PublicWorkload":
        return self

    def __reduce__(self) -> Any:
        return _made_before, (self._number,)


_made: "weakref.WeakValueDictionary[int, PublicWorkload]"
_made = weakref.WeakValueDictionary()


def _made_before(number: int) -> PublicWorkload:
    """Returns the workload that was pickled, in the process in which it was made."""
    if number not in _made:
        raise TypeError(
            "A pickled workload can be loaded only in the process that has pickled it, "
            "while it is in use there."
        )
    return _made[number]


def _asker(workload: Workload) -> Callable[..., Any]:
    """Returns ask(name, ...), which reads or calls a public member of the workload."""
    logger: tuple[Any, Any] = (
        None,
        None,
    )  # the one that the workload has, and what it is here

    def ask(name: str, *args: Any, **kwargs: Any) -> Any:
        if name in METHODS:
            return getattr(workload, name)(*args, **kwargs)
        if name in FACTS:
            return getattr(workload, name)
        assert name == "metrics_logger", name
        nonlocal logger
        given = workload.metrics_logger
        if given is not logger[0]:
            logger = given, PublicLogger(given)
        return logger[1]

    return ask


def _fact(name: str) -> property:
    """Returns the property that reads a member of the real workload."""
    there = getattr(Workload, name, None)
    doc = there.__doc__ if there else f"`{name}` of the workload's definition."
    return property(lambda self: self._ask(name), doc=doc)


def _method(name: str) -> Callable[..., Any]:
    """Returns the method that calls a member of the real workload."""
    there = getattr(Workload, name)

    def method(self: PublicWorkload, *args: Any, **kwargs: Any) -> Any:
        return self._ask(name, *args, **kwargs)

    method.__name__, method.__doc__ = name, there.__doc__
    method.__qualname__ = f"PublicWorkload.{name}"
    vars(method)["__signature__"] = inspect.signature(there)
    return method


for _name in FACTS:
    setattr(PublicWorkload, _name, _fact(_name))
for _name in METHODS:
    setattr(PublicWorkload, _name, _method(_name))
