"""Makes a submission out of any torch.optim class.

from algorithmic_efficiency.adapters.pytorch import from_optimizer

get_batch_size, init_optimizer_state, update_params, data_selection = (
    from_optimizer(
        lambda model, hyperparameters, steps: torch.optim.RMSprop(
            model.parameters(), lr=1e-3
        ),
        batch_size=128,
    )
)
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed

from algorithmic_efficiency import adapters, spec


def from_optimizer(
    optimizer: Callable[
        [torch.nn.Module, spec.Hyperparameters, int], torch.optim.Optimizer
    ],
    *,
    batch_size: adapters.BatchSize,
    schedule: adapters.Schedule | None = None,
) -> adapters.Submission:
    """Returns the functions of a submission.

    Args:
      optimizer: `optimizer(model, hyperparameters, steps)`, where `steps` is the
        workload's step_hint; optimizers that evaluate the loss several times in a step,
        such as LBFGS, do so.
      batch_size: for all workloads, or a function of the workload's name.
      schedule: `schedule(step, steps, hyperparameters)`, a factor on the learning rate
        of every parameter group.
    """
    return PyTorchAdapter(optimizer, batch_size, schedule).functions()


class PyTorchAdapter(adapters.Adapter):
    """Its optimizer state is {'optimizer': optimizer}."""

    def start(
        self,
        workload: Any,
        params: spec.ParameterContainer,
        hyperparameters: spec.Hyperparameters,
    ) -> spec.OptimizerState:
        """Returns the optimizer, whose groups remember their initial rate."""
        optimizer = self.optimizer(params, hyperparameters, workload.step_hint)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        return {"optimizer": optimizer}

    def step(
        self,
        step: adapters.Step,
        optimizer_state: spec.OptimizerState,
        params: spec.ParameterContainer,
        model_state: spec.ModelAuxiliaryState,
    ) -> tuple[spec.UpdateReturn, tuple[spec.Tensor, spec.Tensor]]:
        """Updates the module in place; the norm is None where nobody needs it."""
        optimizer = optimizer_state["optimizer"]
        scalars: tuple[Any, Any] = (None, None)

        def closure() -> spec.Tensor:
            nonlocal model_state, scalars
            optimizer.zero_grad()
            losses, model_state = step.settings.losses(
                step.workload, params, model_state, step.batch, step.rng
            )
            loss = backward(losses)
            scalars = (loss, clip(params, step.settings.grad_clip, measure=step.logs))
            return loss

        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * step.rate_factor
        optimizer.step(closure)
        return (optimizer_state, params, model_state), scalars


def backward(losses: dict[str, spec.Tensor]) -> spec.Tensor:
    """Leaves the gradient of the mean over the real examples of all processes.

    DistributedDataParallel averages gradients over processes, whatever the number of
    real examples in each. So each process's sum is divided by the number of real
    examples per process. Returns the mean loss of all processes, detached, [].
    """
    summed = losses["summed"]
    n_valid = torch.as_tensor(losses["n_valid_examples"], device=summed.device)
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        loss = summed / n_valid
        loss.backward()
        return loss.detach()
    total = torch.stack([summed.detach(), n_valid.to(summed.dtype)])
    torch.distributed.all_reduce(total)
    (summed * (torch.distributed.get_world_size() / total[1])).backward()
    return total[0] / total[1]


def clip(
    model: torch.nn.Module, grad_clip: float | None, *, measure: bool
) -> spec.Tensor | None:
    """Clips the gradients to a global norm and returns the norm that they had.

    Without a limit it is computed only where `measure` asks for it.
    """
    if grad_clip is not None:
        return torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    if not measure:
        return None
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    return torch.nn.utils.get_total_norm(grads)
