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
    adapter = PyTorchAdapter(optimizer, batch_size, schedule)
    return adapters.Submission(
        adapter.get_batch_size,
        adapter.init_optimizer_state,
        adapter.update_params,
        adapter.data_selection,
    )


class PyTorchAdapter(adapters.Adapter):
    """The functions of a submission that PyTorch is needed for."""

    def init_optimizer_state(
        self,
        workload: Any,
        model_params: spec.ParameterContainer,
        model_state: spec.ModelAuxiliaryState,
        hyperparameters: spec.Hyperparameters,
        rng: spec.RandomState,
    ) -> spec.OptimizerState:
        """Returns {'optimizer': optimizer}; its groups remember their initial rate."""
        optimizer = self.optimizer(model_params, hyperparameters, workload.step_hint)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        return {"optimizer": optimizer}

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
        """Makes one step, in place."""
        model, optimizer = current_param_container, optimizer_state["optimizer"]
        settings = adapters.Settings.of(hyperparameters)
        logs = adapters.logs_at(global_step)
        scalars: tuple[Any, Any] = (None, None)

        def closure() -> spec.Tensor:
            nonlocal model_state, scalars
            optimizer.zero_grad()
            losses, model_state = settings.losses(
                workload, model, model_state, batch, rng
            )
            loss = backward(losses)
            grad_norm = clip(model, settings.grad_clip, measure=logs)
            scalars = (loss, grad_norm)
            return loss

        factor = self.rate_factor(workload, hyperparameters, global_step)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        optimizer.step(closure)
        if logs:
            adapters.log(workload, global_step, *scalars)
        return optimizer_state, model, model_state


def backward(losses: dict[str, spec.Tensor]) -> spec.Tensor:
    """Leaves the gradient of the mean over the real examples of all processes.

    DistributedDataParallel averages gradients over processes, whatever the number of
    real examples in each. So each process's sum is divided by the number of real
    examples per process. Returns the mean loss of all processes, detached, [].
    """
    summed = losses["summed"]
    n_valid = torch.as_tensor(losses["n_valid_examples"], device=summed.device)
    if not torch.distributed.is_initialized():
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
