"""SAM: the second pass, at the ascended weights, leaves the statistics alone."""

import functools

import jax
import jax.numpy as jnp
import optax
from algoperf import jax_sharding_utils, spec
from common import data_selection as data_selection
from common import get_batch_size as get_batch_size

HPARAMS = {"learning_rate": 1e-2, "rho": 0.05}


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape_tuple), workload.param_shapes)
    optimizer = optax.sgd(hyperparameters.learning_rate, momentum=0.9)
    return jax_sharding_utils.replicate(optimizer.init(zeros)), optimizer.update


@functools.partial(jax.jit, static_argnums=(0, 1))
def train_step(workload, update_fn, params, model_state, state, batch, rng, rho):
    def loss_fn(params, update_batch_norm):
        logits, new_model_state = workload.model_fn(
            params,
            batch,
            model_state,
            spec.ForwardPassMode.TRAIN,
            rng,
            update_batch_norm=update_batch_norm,
        )
        losses = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
        return losses["summed"] / losses["n_valid_examples"], new_model_state

    grad_fn = jax.grad(loss_fn, has_aux=True)
    grads, new_model_state = grad_fn(params, True)
    scale = rho / (optax.global_norm(grads) + 1e-12)
    ascended = jax.tree.map(lambda p, g: p + scale * g, params, grads)
    grads, same = grad_fn(ascended, False)
    assert same is model_state or not jax.tree.leaves(model_state)
    updates, state = update_fn(grads, state, params)
    return state, optax.apply_updates(params, updates), new_model_state


def update_params(
    workload,
    current_param_container,
    model_state,
    hyperparameters,
    batch,
    optimizer_state,
    rng,
    **kwargs,
):
    state, update_fn = optimizer_state
    state, params, model_state = train_step(
        workload,
        update_fn,
        current_param_container,
        model_state,
        state,
        batch,
        rng,
        hyperparameters.rho,
    )
    return (state, update_fn), params, model_state
