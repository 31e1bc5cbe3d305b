"""Makes a submission out of any torch.optim class or optax transformation.

`adapters.pytorch.from_optimizer` and `adapters.jax.from_optimizer` return the four
functions of the submission API. What the two frameworks share is here; importing it
loads neither of them.
"""

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
      dropout: the argument `dropout_rate` of `model_fn`; empty where the workload's own
        rate holds.
    """

    label_smoothing: float
    grad_clip: float | None
    dropout: dict[str, float]

    @classmethod
    def of(cls, hyperparameters: spec.Hyperparameters) -> "Settings":
        """Reads them from a namedtuple, or from None in the self-tuning ruleset."""
        rate = getattr(hyperparameters, "dropout_rate", None)
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
class Adapter:
    """The part of a submission that is the same in both frameworks.

    Attributes:
      optimizer: makes the optimizer; its arguments are the framework's.
      batch_size: for all workloads, or a function of the workload's name.
      schedule: None keeps the learning rate, or leaves it to the optimizer.
    """

    optimizer: Callable[..., Any]
    batch_size: BatchSize
    schedule: Schedule | None

    def get_batch_size(self, workload_name: str) -> int:
        """Returns the number of examples of a step, over all devices."""
        if callable(self.batch_size):
            return self.batch_size(workload_name)
        return self.batch_size

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

    def rate_factor(
        self,
        workload: Any,
        hyperparameters: spec.Hyperparameters,
        global_step: int,
    ) -> float:
        """Returns the schedule's factor in this step, 1 without a schedule."""
        if self.schedule is None:
            return 1.0
        return self.schedule(global_step, workload.step_hint, hyperparameters)


def logs_at(global_step: int) -> bool:
    """Says whether loss and gradient norm of this step are logged.

    Only then does a step wait for the device: every 10th of the first hundred, then
    every 500th.
    """
    return global_step % (10 if global_step <= 100 else 500) == 0


def log(
    workload: Any, global_step: int, loss: spec.Tensor, grad_norm: spec.Tensor
) -> None:
    """Hands loss and gradient norm to the metrics logger, if there is one."""
    if workload.metrics_logger is not None:
        scalars = {"loss": float(loss), "grad_norm": float(grad_norm)}
        workload.metrics_logger.append_scalar_metrics(scalars, global_step)
