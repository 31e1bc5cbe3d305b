"""Gradient accumulation over two batches, by optax.MultiSteps; EMA for evaluations."""

import functools

import jax
import optax
from algoperf import jax_sharding_utils, spec
from common import data_selection as data_selection
from common import get_batch_size as get_batch_size

HPARAMS = {"learning_rate": 1e-3, "accumulate": 2, "dropout_rate": 0.0}


def get_eval_batch_size(workload_name):
    del workload_name
    return 4


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    del model_state, rng
    optimizer = optax.MultiSteps(
        optax.adamw(hyperparameters.learning_rate), hyperparameters.accumulate
    )
    state = jax_sharding_utils.replicate(optimizer.init(model_params))
    return {"opt": state, "ema": model_params, "kept": model_params}, optimizer.update


@functools.partial(jax.jit, static_argnums=(0, 1))
def train_step(workload, update_fn, params, ema, model_state, opt, batch, rng):
    def loss_fn(params):
        logits, new_model_state = workload.model_fn(
            params,
            batch,
            model_state,
            mode=spec.ForwardPassMode.TRAIN,
            rng=rng,
            update_batch_norm=True,
        )
        losses = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
        return losses["summed"] / losses["n_valid_examples"], new_model_state

    grads, model_state = jax.grad(loss_fn, has_aux=True)(params)
    updates, opt = update_fn(grads, opt, params)
    params = optax.apply_updates(params, updates)
    ema = optax.incremental_update(params, ema, step_size=0.5)
    return params, ema, model_state, opt


def update_params(
    workload,
    current_param_container,
    model_state,
    batch,
    optimizer_state,
    rng,
    **kwargs,
):
    state, update_fn = optimizer_state
    params = state["kept"]  # what was trained, whatever was evaluated meanwhile
    params, ema, model_state, opt = train_step(
        workload, update_fn, params, state["ema"], model_state, state["opt"], batch, rng
    )
    new_state = {"opt": opt, "ema": ema, "kept": params}
    return (new_state, update_fn), params, model_state


def prepare_for_eval(
    workload, current_param_container, model_state, optimizer_state, **kwargs
):
    return optimizer_state, optimizer_state[0]["ema"], model_state
