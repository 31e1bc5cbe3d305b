"""Makes a submission out of any torch.optim class or optax transformation.

`adapters.pytorch.from_optimizer` and `adapters.jax.from_optimizer` return the four
functions of the submission API. What the two frameworks share is here; importing it
loads neither of them.
"""

import abc
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from algorithmic_efficiency import spec

# schedule(step, steps, hyperparameters): the factor on the learning rate in this step.
# It is ordinary Python: both frameworks call it on the host and get the same number.
Schedule = Callable[[int, int, Any], float]
BatchSize = int | Callable[[str], int]


class Submission(NamedTuple):
    """The functions of the submission API, in the order in which they are unpacked."""

    get_batch_size: Callable[[str], int]
    init_optimizer_state: Callable[..., Any]
    update_params: Callable[..., spec.UpdateReturn]
    data_selection: Callable[..., dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Settings:
    """The hyperparameters of the step around the optimizer; each may be absent.

    Attributes:
      label_smoothing: handed to the workload's loss.
      grad_clip: the largest global norm of a gradient; None leaves it as it is.
      dropout: the argument `dropout_rate` of `model_fn`; empty where there is none, or
        an `aux_dropout_rate` too: then those hold that `init_model_fn` was given.
    """

    label_smoothing: float
    grad_clip: float | None
    dropout: dict[str, float]

    @classmethod
    def of(cls, hyperparameters: spec.Hyperparameters) -> "Settings":
        """Reads them from a namedtuple, or from None in the self-tuning ruleset."""
        rate = getattr(hyperparameters, "dropout_rate", None)
        if getattr(hyperparameters, "aux_dropout_rate", None) is not None:
            rate = None
        return cls(
            label_smoothing=getattr(hyperparameters, "label_smoothing", 0.0),
            grad_clip=getattr(hyperparameters, "grad_clip", None),
            dropout={} if rate is None else {"dropout_rate": rate},
        )

    def losses(
        self,
        workload: Any,
        params: spec.ParameterContainer,
        model_state: spec.ModelAuxiliaryState,
        batch: dict[str, spec.Tensor],
        rng: spec.RandomState,
    ) -> tuple[dict[str, spec.Tensor], spec.ModelAuxiliaryState]:
        """Returns what the workload's loss returns, and the new model state."""
        outputs, model_state = workload.model_fn(
            params,
            batch,
            model_state,
            spec.ForwardPassMode.TRAIN,
            rng,
            update_batch_norm=True,
            **self.dropout,
        )
        losses = workload.loss_fn(
            label_batch=batch["targets"],
            logits_batch=outputs,
            mask_batch=batch.get("weights"),
            label_smoothing=self.label_smoothing,
        )
        return losses, model_state


@dataclasses.dataclass(frozen=True)
class Step:
    """What one training step is made from, besides the state that it changes.

    Attributes:
      rate_factor: the schedule's factor on the learning rate.
      logs: whether the step has to know its loss and gradient norm.
    """

    workload: Any
    settings: Settings
    batch: dict[str, spec.Tensor]
    rng: spec.RandomState
    rate_factor: float
    logs: bool


class Adapter(abc.ABC):
    """The submission API over an optimizer; a framework supplies `start` and `step`.

    Args:
      optimizer: makes the optimizer; its arguments are the framework's.
      batch_size: for all workloads, or a function of the workload's name.
      schedule: None keeps the learning rate, or leaves it to the optimizer.
    """

    def __init__(
        self,
        optimizer: Callable[..., Any],
        batch_size: BatchSize,
        schedule: Schedule | None,
    ) -> None:
        self.optimizer = optimizer
        self._batch_size = batch_size
        self._schedule = schedule

    @abc.abstractmethod
    def start(
        self,
        workload: Any,
        params: spec.ParameterContainer,
        hyperparameters: spec.Hyperparameters,
    ) -> spec.OptimizerState:
        """Returns the initial optimizer state."""

    @abc.abstractmethod
    def step(
        self,
        step: Step,
        optimizer_state: spec.OptimizerState,
        params: spec.ParameterContainer,
        model_state: spec.ModelAuxiliaryState,
    ) -> tuple[spec.UpdateReturn, tuple[spec.Tensor, spec.Tensor]]:
        """Returns the new (optimizer state, params, model state), and two scalars.

        These are the mean loss and the norm of its gradient before clipping.
        """

    def functions(self) -> Submission:
        """Returns the functions of the submission API."""
        return Submission(
            self.get_batch_size,
            self.init_optimizer_state,
            self.update_params,
            self.data_selection,
        )

    def get_batch_size(self, workload_name: str) -> int:
        """Returns the number of examples of a step, over all devices."""
        if callable(self._batch_size):
            return self._batch_size(workload_name)
        return self._batch_size

    def init_optimizer_state(
        self,
        workload: Any,
        model_params: spec.ParameterContainer,
        model_state: spec.ModelAuxiliaryState,
        hyperparameters: spec.Hyperparameters,
        rng: spec.RandomState,
    ) -> spec.OptimizerState:
        """Returns the initial optimizer state."""
        return self.start(workload, model_params, hyperparameters)

    def data_selection(  # noqa: PLR0917 - the submission API
        self,
        workload: Any,
        input_queue: Iterator[dict[str, spec.Tensor]],
        optimizer_state: spec.OptimizerState,
        current_param_container: spec.ParameterContainer,
        model_state: spec.ModelAuxiliaryState,
        hyperparameters: spec.Hyperparameters,
        global_step: int,
        rng: spec.RandomState,
    ) -> dict[str, spec.Tensor]:
        """Returns the next batch of the queue."""
        return next(input_queue)

    def update_params(  # noqa: PLR0917 - the submission API
        self,
        workload: Any,
        current_param_container: spec.ParameterContainer,
        current_params_types: spec.ParameterTypeTree,
        model_state: spec.ModelAuxiliaryState,
        hyperparameters: spec.Hyperparameters,
        batch: dict[str, spec.Tensor],
        loss_type: spec.LossType,
        optimizer_state: spec.OptimizerState,
        eval_results: list[tuple[int, dict[str, float]]],
        global_step: int,
        rng: spec.RandomState,
    ) -> spec.UpdateReturn:
        """Makes one step; what it is given is changed in place or used up."""
        factor = 1.0
        if self._schedule is not None:
            factor = self._schedule(global_step, workload.step_hint, hyperparameters)
        settings = Settings.of(hyperparameters)
        logs = logs_at(global_step)
        result, (loss, grad_norm) = self.step(
            Step(workload, settings, batch, rng, factor, logs),
            optimizer_state,
            current_param_container,
            model_state,
        )
        if logs and workload.metrics_logger is not None:
            scalars = {"loss": float(loss), "grad_norm": float(grad_norm)}
            workload.metrics_logger.append_scalar_metrics(scalars, global_step)
        return result


def logs_at(global_step: int) -> bool:
    """Says whether loss and gradient norm of this step are logged.

    Only then does a step wait for the device: every 10th of the first hundred, then
    every 500th.
    """
    return global_step % (10 if global_step <= 100 else 500) == 0
