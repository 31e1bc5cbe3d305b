r"""The smallest complete submission in JAX: plain gradient descent.

Copy this file, change `train_step`, and run it with

    python submission_runner.py --workload=imagenet_resnet \
        --submission_path=submissions/template/jax.py

It has no hyperparameters. With `--tuning_search_space`, or a file
`default_hyperparameters.json` beside it, they are in `hyperparameters`. What else there
is, `submissions/examples/whole_api` shows.

Only the four functions that are not called from here are needed. The clock runs in
`update_params` and `data_selection`; `init_optimizer_state` is free.
"""

import functools

import jax

from algorithmic_efficiency import spec

LEARNING_RATE = 0.1


def get_batch_size(workload_name):
    """Returns the number of examples in a step, over all devices."""
    return 128


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """Returns (a tree of arrays that is saved and restored, anything else)."""
    return {}, None


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
    params, model_state = train_step(
        workload, current_param_container, model_state, batch, rng
    )
    return optimizer_state, params, model_state


@functools.partial(jax.jit, static_argnames="workload")
def train_step(workload, params, model_state, batch, rng):
    """Goes one step down the gradient of the mean loss."""

    def mean_loss(params):
        logits, new_state = workload.model_fn(
            params,
            batch,
            model_state,
            spec.ForwardPassMode.TRAIN,
            rng,
            update_batch_norm=True,
        )
        losses = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
        return losses["summed"] / losses["n_valid_examples"], new_state

    grads, model_state = jax.grad(mean_loss, has_aux=True)(params)
    params = jax.tree.map(lambda p, grad: p - LEARNING_RATE * grad, params, grads)
    return params, model_state
