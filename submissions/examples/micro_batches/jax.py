"""Gradient accumulation in JAX, with running statistics of the whole batch.

A batch is cut into micro-batches; their gradients add up to that of the batch. Between
`start_accumulating` and `finish_accumulating` they collect the statistics of batch norm
in the model state, and the running ones move once: docs/batch_norm.md.
"""

import functools

import jax
import jax.numpy as jnp

from algorithmic_efficiency import spec
from algorithmic_efficiency.nn.batch_norm.jax_moments import (
    finish_accumulating,
    start_accumulating,
)

LEARNING_RATE = 0.1
MICRO_BATCHES = 4


def get_batch_size(workload_name):
    """Returns the number of examples in a step, a multiple of MICRO_BATCHES."""
    return 32 if workload_name.startswith("librispeech") else 128


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
    params, model_state = train_step(
        workload, current_param_container, model_state, batch, rng
    )
    return optimizer_state, params, model_state


@functools.partial(jax.jit, static_argnames="workload")
def train_step(workload, params, model_state, batch, rng):
    """Goes one step down the gradient of the mean loss, micro-batch by micro-batch."""

    def summed_loss(params, state, micro, rng):
        logits, state = workload.model_fn(
            params,
            micro,
            state,
            spec.ForwardPassMode.TRAIN,
            rng,
            update_batch_norm=True,
        )
        losses = workload.loss_fn(micro["targets"], logits, micro.get("weights"))
        return losses["summed"], (state, losses["n_valid_examples"])

    def add(carry, given):
        state, gradients, n_valid = carry
        gradient = jax.grad(summed_loss, has_aux=True)
        new, (state, valid) = gradient(params, state, *given)
        return (state, jax.tree.map(jnp.add, gradients, new), n_valid + valid), None

    micro_batches = jax.tree.map(
        lambda x: x.reshape(MICRO_BATCHES, -1, *x.shape[1:]), dict(batch)
    )
    zeros = jax.tree.map(jnp.zeros_like, params)
    start = start_accumulating(model_state), zeros, jnp.zeros(())
    given = micro_batches, jax.random.split(rng, MICRO_BATCHES)
    (state, gradients, n_valid), _ = jax.lax.scan(add, start, given)
    params = jax.tree.map(
        lambda p, gradient: p - LEARNING_RATE * gradient / n_valid, params, gradients
    )
    return params, finish_accumulating(state)
