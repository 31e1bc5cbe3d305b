"""Schedule-free AdamW (optax.contrib) that evaluates its average, recalibrated."""

import functools

import jax
import optax
from algoperf import jax_sharding_utils, spec
from common import data_selection as _data_selection
from common import get_batch_size as get_batch_size

HPARAMS = {"learning_rate": 2.5e-3, "warmup_steps": 1, "label_smoothing": 0.1}
RECENT = []  # batches for the running statistics of the average


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    del model_state, rng
    RECENT.clear()
    optimizer = optax.contrib.schedule_free_adamw(
        learning_rate=hyperparameters.learning_rate,
        warmup_steps=hyperparameters.warmup_steps,
        b1=0.9,
    )
    state = {"opt": optimizer.init(model_params), "training": None}
    state["opt"] = jax_sharding_utils.replicate(state["opt"])
    return state, optimizer.update


def data_selection(workload, input_queue, *args):
    batch = _data_selection(workload, input_queue, *args)
    RECENT.append(batch)
    del RECENT[:-2]
    return batch


@functools.partial(jax.jit, static_argnums=(0, 1))
def train_step(workload, update_fn, params, model_state, state, batch, rng, smoothing):
    def loss_fn(params):
        logits, new_model_state = workload.model_fn(
            params, batch, model_state, spec.ForwardPassMode.TRAIN, rng, True
        )
        losses = workload.loss_fn(
            batch["targets"], logits, batch.get("weights"), smoothing
        )
        return losses["summed"] / losses["n_valid_examples"], new_model_state

    grads, model_state = jax.grad(loss_fn, has_aux=True)(params)
    updates, state = update_fn(grads, state, params)
    return state, optax.apply_updates(params, updates), model_state


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
    params = current_param_container
    if state["training"] is not None:
        params, model_state = state["training"]
    opt, params, model_state = train_step(
        workload,
        update_fn,
        params,
        model_state,
        state["opt"],
        batch,
        rng,
        hyperparameters.label_smoothing,
    )
    return ({"opt": opt, "training": None}, update_fn), params, model_state


def prepare_for_eval(
    workload, current_param_container, model_state, optimizer_state, **kwargs
):
    state, update_fn = optimizer_state
    average = optax.contrib.schedule_free_eval_params(
        state["opt"], current_param_container
    )
    exact = workload.recalibrate(average, model_state, RECENT)
    state = {**state, "training": (current_param_container, model_state)}
    return (state, update_fn), average, exact
