"""v0.5 style: Nesterov momentum under pmap, in the JAX of 2023, eleven arguments."""

import functools

import jax
import jax.numpy as jnp
import optax
from common import data_selection as data_selection
from common import get_batch_size as get_batch_size
from flax import jax_utils
from jax import lax

from algorithmic_efficiency import spec

_GRAD_CLIP_EPS = 1e-6
HPARAMS = {
    "learning_rate": 0.05,
    "beta1": 0.9,
    "weight_decay": 1e-3,
    "grad_clip": 1.0,
    "label_smoothing": 0.1,
}


def sgd(learning_rate, weight_decay, momentum):
    return optax.chain(
        optax.additive_weight_decay(weight_decay),
        optax.sgd(learning_rate=learning_rate, momentum=momentum, nesterov=True),
    )


def init_optimizer_state(
    workload: spec.Workload,
    model_params: spec.ParameterContainer,
    model_state: spec.ModelAuxiliaryState,
    hyperparameters: spec.Hyperparameters,
    rng: jax.random.KeyArray,
) -> spec.OptimizerState:
    del model_params, model_state, rng
    params_zeros_like = jax.tree_map(
        lambda s: jnp.zeros(s.shape_tuple), workload.param_shapes
    )
    opt_init_fn, opt_update_fn = sgd(
        hyperparameters.learning_rate,
        hyperparameters.weight_decay,
        hyperparameters.beta1,
    )
    optimizer_state = opt_init_fn(params_zeros_like)
    return jax_utils.replicate(optimizer_state), opt_update_fn


@functools.partial(
    jax.pmap,
    axis_name="batch",
    in_axes=(None, None, 0, 0, 0, 0, 0, None, None),
    static_broadcasted_argnums=(0, 1),
    donate_argnums=(2, 3, 4),
)
def pmapped_train_step(
    workload,
    opt_update_fn,
    model_state,
    optimizer_state,
    current_param_container,
    batch,
    rng,
    grad_clip,
    label_smoothing,
):
    def _loss_fn(params):
        logits, new_model_state = workload.model_fn(
            params,
            batch,
            model_state,
            spec.ForwardPassMode.TRAIN,
            rng,
            update_batch_norm=True,
        )
        loss_dict = workload.loss_fn(
            label_batch=batch["targets"],
            logits_batch=logits,
            mask_batch=batch.get("weights"),
            label_smoothing=label_smoothing,
        )
        summed_loss = loss_dict["summed"]
        return summed_loss, (loss_dict["n_valid_examples"], new_model_state)

    grad_fn = jax.value_and_grad(_loss_fn, has_aux=True)
    (loss, (n_valid, new_model_state)), grad = grad_fn(current_param_container)
    # Gradients of summed losses, over all devices.
    (summed_loss, n_valid, grad) = lax.psum((loss, n_valid, grad), axis_name="batch")
    loss = summed_loss / n_valid
    grad = jax.tree_map(lambda x: x / n_valid, grad)
    grad_norm = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree_util.tree_leaves(grad)))
    if grad_clip is not None:
        scale = grad_clip / (grad_norm + _GRAD_CLIP_EPS)
        scale = jax.lax.clamp(min=0.0, x=scale, max=1.0)
        grad = jax.tree_map(lambda x: x * scale, grad)
    updates, new_state = opt_update_fn(grad, optimizer_state, current_param_container)
    new_params = optax.apply_updates(current_param_container, updates)
    return new_state, new_params, new_model_state, loss, grad_norm


def update_params(
    workload: spec.Workload,
    current_param_container: spec.ParameterContainer,
    current_params_types: spec.ParameterTypeTree,
    model_state: spec.ModelAuxiliaryState,
    hyperparameters: spec.Hyperparameters,
    batch,
    loss_type: spec.LossType,
    optimizer_state: spec.OptimizerState,
    eval_results,
    global_step: int,
    rng: spec.RandomState,
) -> spec.UpdateReturn:
    del current_params_types, loss_type, eval_results
    optimizer_state, opt_update_fn = optimizer_state
    per_device_rngs = jax.random.split(rng, jax.local_device_count())
    outputs = pmapped_train_step(
        workload,
        opt_update_fn,
        model_state,
        optimizer_state,
        current_param_container,
        batch,
        per_device_rngs,
        getattr(hyperparameters, "grad_clip", None),
        getattr(hyperparameters, "label_smoothing", 0.0),
    )
    new_state, new_params, new_model_state, loss, grad_norm = outputs
    if global_step % 100 == 0 and workload.metrics_logger is not None:
        scalars = {"loss": loss[0].item(), "grad_norm": grad_norm[0].item()}
        workload.metrics_logger.append_scalar_metrics(scalars, global_step)
    return (new_state, opt_update_fn), new_params, new_model_state
