r"""The smallest complete submission in PyTorch: plain gradient descent.

Copy this file, change `update_params`, and run it with

    python submission_runner.py --workload=imagenet_resnet \
        --submission_path=submissions/template/pytorch.py

It has no hyperparameters. With `--tuning_search_space`, or a file
`default_hyperparameters.json` beside it, they are in `hyperparameters`. What else there
is, `submissions/examples/whole_api` shows.

The clock runs in `update_params` and `data_selection`; `init_optimizer_state` is free.
"""

import torch

from algorithmic_efficiency import spec

LEARNING_RATE = 0.1


def get_batch_size(workload_name):
    """Returns the number of examples in a step, over all devices."""
    return 128


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
    """Returns the batch to train on: inputs, targets and, if padded, weights."""
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
    logits, model_state = workload.model_fn(
        current_param_container,
        batch,
        model_state,
        spec.ForwardPassMode.TRAIN,
        rng,
        update_batch_norm=True,
    )
    losses = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
    (losses["summed"] / losses["n_valid_examples"]).backward()
    optimizer.step()
    return optimizer_state, current_param_container, model_state
