"""NAdamW for one device and for DistributedDataParallel, with its `model.module`."""

import contextlib

import torch
import torch.distributed.nn as dist_nn
from absl import logging
from common import data_selection as data_selection
from common import get_batch_size as get_batch_size
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from algorithmic_efficiency import spec
from algorithmic_efficiency.pytorch_utils import pytorch_setup

USE_PYTORCH_DDP, RANK, DEVICE, N_GPUS = pytorch_setup()
HPARAMS = {
    "learning_rate": 1e-3,
    "beta1": 0.9,
    "beta2": 0.99,
    "weight_decay": 0.05,
    "grad_clip": 1.0,
    "label_smoothing": 0.1,
    "dropout_rate": 0.1,
}


def init_optimizer_state(
    workload: spec.Workload,
    model_params: spec.ParameterContainer,
    model_state: spec.ModelAuxiliaryState,
    hyperparameters: spec.Hyperparameters,
    rng: spec.RandomState,
) -> spec.OptimizerState:
    del model_state, rng
    optimizer = torch.optim.NAdam(
        model_params.parameters(),
        lr=hyperparameters.learning_rate,
        betas=(hyperparameters.beta1, hyperparameters.beta2),
        weight_decay=hyperparameters.weight_decay,
    )
    warmup = LinearLR(optimizer, start_factor=1e-10, end_factor=1.0, total_iters=1)
    cosine = CosineAnnealingLR(optimizer, T_max=max(workload.step_hint - 1, 1))
    scheduler = SequentialLR(optimizer, schedulers=[warmup, cosine], milestones=[1])
    return {"optimizer": optimizer, "scheduler": scheduler}


def update_params(
    workload: spec.Workload,
    current_param_container: spec.ParameterContainer,
    current_params_types: spec.ParameterTypeTree,
    model_state: spec.ModelAuxiliaryState,
    hyperparameters: spec.Hyperparameters,
    batch: dict[str, spec.Tensor],
    loss_type: spec.LossType,
    optimizer_state: spec.OptimizerState,
    eval_results: list[tuple[int, float]],
    global_step: int,
    rng: spec.RandomState,
) -> spec.UpdateReturn:
    del current_params_types, loss_type, eval_results
    current_model = current_param_container
    current_model.train()
    optimizer_state["optimizer"].zero_grad()
    logits, new_model_state = workload.model_fn(
        params=current_model,
        augmented_and_preprocessed_input_batch=batch,
        model_state=model_state,
        mode=spec.ForwardPassMode.TRAIN,
        rng=rng,
        update_batch_norm=True,
        dropout_rate=hyperparameters.dropout_rate,
    )
    loss_dict = workload.loss_fn(
        label_batch=batch["targets"],
        logits_batch=logits,
        mask_batch=batch.get("weights"),
        label_smoothing=getattr(hyperparameters, "label_smoothing", 0.0),
    )
    summed_loss, n_valid_examples = loss_dict["summed"], loss_dict["n_valid_examples"]
    if USE_PYTORCH_DDP:
        summed_loss = dist_nn.all_reduce(summed_loss)
        n_valid_examples = dist_nn.all_reduce(n_valid_examples)
    loss = summed_loss / n_valid_examples
    loss.backward()
    if hyperparameters.grad_clip is not None:
        torch.nn.utils.clip_grad_norm_(
            current_model.parameters(), max_norm=hyperparameters.grad_clip
        )
    optimizer_state["optimizer"].step()
    optimizer_state["scheduler"].step()
    model = current_model.module if hasattr(current_model, "module") else current_model
    names = [name for name, _ in model.named_parameters()]
    with contextlib.suppress(AttributeError):
        names = [name for name, _ in current_model.module.named_parameters()]
    if global_step % 100 == 0 and RANK == 0:
        with torch.no_grad():
            squares = [p.grad.norm(p=2) ** 2 for p in model.parameters()]
            grad_norm = torch.stack(squares).sum().sqrt()
        if workload.metrics_logger is not None:
            scalars = {"loss": loss.item(), "grad_norm": grad_norm.item()}
            workload.metrics_logger.append_scalar_metrics(scalars, global_step)
        logging.info("%d) %d parameters", global_step, len(names))
    return optimizer_state, current_param_container, new_model_state
