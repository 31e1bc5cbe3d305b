"""What the harness needs of a framework, and nothing else of it is known outside.

Devices, placement, sharding, compilation, the device barrier before the clock is read,
and the arrays of a checkpoint are the business of a backend.
"""

import dataclasses
import importlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from algorithmic_efficiency import random_utils, sources
from algorithmic_efficiency.backends import tuning_cpu
from algorithmic_efficiency.definition import Definition
from algorithmic_efficiency.errors import UsageError
from algorithmic_efficiency.ops import Ops
from algorithmic_efficiency.state.walk import Kind

FRAMEWORKS = ("pytorch", "jax")
# Framework -> the module that must be importable.
_MODULES = {"pytorch": "torch", "jax": "jax"}


@dataclasses.dataclass(frozen=True)
class Pass:
    """How a forward pass is made; the first three are independent switches.

    Attributes:
      train: dropout is on, and PyTorch records gradients.
      use_running_average: batch norm normalises with running statistics.
      update: running statistics move.
      rng: for dropout.
      options: further arguments of the model, such as dropout_rate.
    """

    train: bool
    use_running_average: bool
    update: bool
    rng: Any = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


EVALUATION = Pass(train=False, use_running_average=True, update=False)


class Backend(Protocol):
    """One framework on this machine's devices.

    `rng` below is the pair of integers of `seeds.pair`; what a submission receives is
    `make_rng` of it.
    """

    name: str
    ops: Ops
    kinds: Sequence[Kind]  # of the objects in a submission's state
    compiles: bool  # before a step or an evaluation is run for the first time

    @property
    def device_count(self) -> int:
        """Devices that share a batch; its size must be a multiple of this."""

    def build(self, definition: Definition) -> Any:
        """Returns the model, not yet initialised."""

    def shapes(self, model: Any, definition: Definition) -> dict[str, tuple[int, ...]]:
        """Returns canonical parameter names and shapes."""

    def init(self, model: Any, definition: Definition, seed: tuple[int, int]) -> Any:
        """Returns (parameters, model state) on the devices."""

    def tree(self, function: Any, shapes: Mapping[str, Any]) -> Any:
        """Returns function(name, shape) in the framework's form of parameters.

        `shapes` are canonical; what `function` gets is the shape in this framework.
        """

    def adopt(self, optimizer_state: Any) -> Any:
        """Returns a submission's first state, placed as its later ones will be."""

    def forward(
        self, model: Any, params: Any, batch: Any, model_state: Any, how: "Pass"
    ) -> tuple[Any, Any]:
        """Returns (outputs, new model state)."""

    def recalibrate(
        self, model: Any, params: Any, model_state: Any, batches: Iterable[Any]
    ) -> Any:
        """Returns the model state with exact running statistics over the batches."""

    def predict(
        self,
        model: Any,
        params: Any,
        model_state: Any,
        batch: Any,
        how: Callable[..., Any] | None = None,
    ) -> Any:
        """Returns the outputs of an evaluation forward pass as NumPy.

        Where there is a `how`, a function of the model files, it runs on the devices
        and what it returns is returned instead; see `definition.Evaluate`.
        """

    def place(self, batch: Mapping[str, Any], fields: Mapping[str, Any]) -> Any:
        """Returns a NumPy batch as the framework's tensors on the devices."""

    def make_rng(self, pair: tuple[int, int]) -> Any:
        """Returns what submissions receive as `rng`."""

    def seed_from(self, rng: Any) -> tuple[int, int]:
        """Returns the pair from which `rng` was made."""

    def seed_globals(self, pair: tuple[int, int]) -> None:
        """Seeds the framework's own generator, if it has one."""

    def wait(self) -> None:
        """Returns when the devices have finished all that they were asked for."""

    def keep_settings(self) -> None:
        """Undoes what a submission may have set; called after each of its functions."""

    def nonfinite(self, params: Any) -> str | None:
        """Returns the name of a parameter that holds NaN or inf, or None."""

    def canonical(self, params: Any, model_state: Any) -> dict[str, Any]:
        """Returns parameters and running statistics as canonical NumPy arrays."""

    def generators(self) -> Any:
        """Returns the states of the framework's own generators, for a checkpoint."""

    def set_generators(self, states: Any) -> None:
        """Sets the states that `generators` has returned."""

    def describe(self) -> dict[str, Any]:
        """Returns versions and devices for the record."""


def import_model(definition: Definition, framework: str, name: str = "Model") -> Any:
    """Returns `Model`, or another name of a workload's file for one framework."""
    return getattr(importlib.import_module(f"{definition.package}.{framework}"), name)


def make(framework: str, *, submission: Path | None = None, **options: Any) -> Backend:
    """Returns the backend of this name.

    Args:
      framework: 'pytorch' or 'jax'.
      submission: the file that will be run; in JAX its style chooses the backend.
      options: process settings, as the backend's constructor says.

    Raises:
      UsageError: unknown framework, or it is not installed.
      SubmissionError: the submission mixes two styles.
    """
    if framework not in FRAMEWORKS:
        raise UsageError(
            f"There is no framework {framework!r}; use one of {', '.join(FRAMEWORKS)}."
        )
    if importlib.util.find_spec(_MODULES[framework]) is None:
        raise UsageError(
            f"--framework={framework} needs the package {_MODULES[framework]!r}, which "
            f"is not installed. Install it with: pip install '.[{framework}]'."
        )
    tuning_cpu.keep_freed_memory()
    random_utils.use(framework)
    style = sources.style_of(submission) if submission and framework == "jax" else ""
    name = "jax_pmap" if style == "pmap" else framework
    module = importlib.import_module(f"algorithmic_efficiency.backends.{name}")
    backend: Backend = module.make(**options)
    return backend
