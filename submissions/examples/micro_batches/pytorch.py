"""Gradient accumulation in PyTorch, with running statistics of the whole batch.

A batch is cut into micro-batches; their gradients add up to that of the batch. Without
`accumulate` each of them would move the running statistics of batch norm by itself, and
what the micro-batches' means differ by would be lost: docs/batch_norm.md.
"""

import torch

from algorithmic_efficiency import spec
from algorithmic_efficiency.nn.batch_norm.moments import accumulate

LEARNING_RATE = 0.1
MICRO_BATCHES = 4


def get_batch_size(workload_name):
    """Returns the number of examples in a step, a multiple of MICRO_BATCHES."""
    return 32 if workload_name.startswith("librispeech") else 128


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """Returns a dict; what has a state_dict() is saved and restored."""
    return {"optimizer": torch.optim.SGD(model_params.parameters(), LEARNING_RATE)}


def data_selection(  # noqa: PLR0917 - the submission API
    workload,
    input_queue,
    optimizer_state,
    current_param_container,
    model_state,
    hyperparameters,
    global_step,
    rng,
):
    """Returns the batch to train on."""
    return next(input_queue)


def update_params(  # noqa: PLR0917 - the submission API
    workload,
    current_param_container,
    current_params_types,
    model_state,
    hyperparameters,
    batch,
    loss_type,
    optimizer_state,
    eval_results,
    global_step,
    rng,
):
    """Makes one step and returns (optimizer state, parameters, model state)."""
    optimizer = optimizer_state["optimizer"]
    optimizer.zero_grad()
    n_valid = 0
    with accumulate(current_param_container):
        for part in range(MICRO_BATCHES):
            micro = {key: cut(value, part) for key, value in batch.items()}
            logits, model_state = workload.model_fn(
                current_param_container,
                micro,
                model_state,
                spec.ForwardPassMode.TRAIN,
                rng,
                update_batch_norm=True,
            )
            losses = workload.loss_fn(micro["targets"], logits, micro.get("weights"))
            losses["summed"].backward()
            n_valid += losses["n_valid_examples"]
    for parameter in current_param_container.parameters():
        parameter.grad /= n_valid
    optimizer.step()
    return optimizer_state, current_param_container, model_state


def cut(value, part):
    """Returns one micro-batch of a tensor, or of each tensor of a tuple."""
    if isinstance(value, tuple):
        return tuple(cut(each, part) for each in value)
    return value.tensor_split(MICRO_BATCHES)[part]
