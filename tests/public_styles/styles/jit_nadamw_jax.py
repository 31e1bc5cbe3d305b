"""v0.6 style: NAdamW under jit with shardings; every hyperparameter is traced."""

import functools
from typing import Any, Callable, NamedTuple, Optional, Union  # noqa: UP035

import chex
import jax
import jax.numpy as jnp
import optax
from algoperf import jax_sharding_utils, spec
from common import data_selection as data_selection
from common import get_batch_size as get_batch_size

_GRAD_CLIP_EPS = 1e-6
HPARAMS = {
    "learning_rate": 1e-3,
    "beta1": 0.9,
    "beta2": 0.999,
    "weight_decay": 0.1,
    "grad_clip": 1.0,
    "label_smoothing": 0.1,
    "dropout_rate": 0.1,
}


class ScaleByAdamState(NamedTuple):
    count: chex.Array
    mu: optax.Updates
    nu: optax.Updates


def scale_by_nadam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    def init_fn(params):
        mu = jax.tree.map(jnp.zeros_like, params)
        nu = jax.tree.map(jnp.zeros_like, params)
        return ScaleByAdamState(count=jnp.zeros([], jnp.int32), mu=mu, nu=nu)

    def update_fn(updates, state, params: Optional[Any] = None):  # noqa: UP045
        del params
        mu = _update_moment(updates, state.mu, b1, 1)
        nu = _update_moment(updates, state.nu, b2, 2)
        count = state.count + jnp.array(1, dtype=jnp.int32)
        mu_hat = _bias_correction(_update_moment(updates, mu, b1, 1), b1, count)
        nu_hat = _bias_correction(nu, b2, count)
        updates = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), mu_hat, nu_hat)
        return updates, ScaleByAdamState(count=count, mu=mu, nu=nu)

    return optax.GradientTransformation(init_fn, update_fn)


def _update_moment(updates, moments, decay, order):
    return jax.tree.map(
        lambda g, t: (1 - decay) * (g**order) + decay * t, updates, moments
    )


def _bias_correction(moment, decay, count):
    beta = 1 - decay**count
    return jax.tree.map(lambda t: t / beta.astype(t.dtype), moment)


def nadamw(
    learning_rate: Union[float, optax.Schedule],  # noqa: UP007
    hyperparameters: spec.Hyperparameters,
) -> optax.GradientTransformation:
    return optax.chain(
        scale_by_nadam(hyperparameters.beta1, hyperparameters.beta2, 1e-8),
        optax.add_decayed_weights(hyperparameters.weight_decay),
        optax.scale_by_learning_rate(learning_rate),
    )


def init_optimizer_state(
    workload: spec.Workload,
    model_params: spec.ParameterContainer,
    model_state: spec.ModelAuxiliaryState,
    hyperparameters: spec.Hyperparameters,
    rng: spec.RandomState,
) -> spec.OptimizerState:
    del model_params, model_state, rng

    def jax_cosine_warmup(step_hint: int) -> Callable[..., Any]:
        warmup = optax.linear_schedule(0.0, hyperparameters.learning_rate, 2)
        cosine = optax.cosine_decay_schedule(hyperparameters.learning_rate, step_hint)
        return optax.join_schedules([warmup, cosine], boundaries=[2])

    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape_tuple), workload.param_shapes)
    init_fn, update_fn = nadamw(jax_cosine_warmup(workload.step_hint), hyperparameters)
    return init_fn(zeros), update_fn


def train_step(
    workload,
    opt_update_fn,
    model_state,
    optimizer_state,
    current_param_container,
    batch,
    rng,
    grad_clip,
    label_smoothing,
    dropout_rate,
):
    def _loss_fn(params):
        logits, new_model_state = workload.model_fn(
            params,
            batch,
            model_state,
            spec.ForwardPassMode.TRAIN,
            rng,
            update_batch_norm=True,
            dropout_rate=dropout_rate,
        )
        loss_dict = workload.loss_fn(
            label_batch=batch["targets"],
            logits_batch=logits,
            mask_batch=batch.get("weights"),
            label_smoothing=label_smoothing,
        )
        loss = loss_dict["summed"] / loss_dict["n_valid_examples"]
        return loss, new_model_state

    grad_fn = jax.value_and_grad(_loss_fn, has_aux=True)
    (loss, new_model_state), grad = grad_fn(current_param_container)
    grad_norm = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree_util.tree_leaves(grad)))
    if grad_clip is not None:
        scale = jax.lax.clamp(0.0, grad_clip / (grad_norm + _GRAD_CLIP_EPS), 1.0)
        grad = jax.tree.map(lambda x: x * scale, grad)
    updates, new_state = opt_update_fn(grad, optimizer_state, current_param_container)
    new_params = optax.apply_updates(current_param_container, updates)
    return new_state, new_params, new_model_state, loss, grad_norm


@functools.lru_cache
def jitted_train_step():
    replicated = jax_sharding_utils.get_replicate_sharding()
    sharded = jax_sharding_utils.get_batch_dim_sharding()
    return jax.jit(
        train_step,
        static_argnums=(0, 1),
        donate_argnums=(2, 3, 4),
        in_shardings=(replicated, replicated, replicated, sharded, *[replicated] * 4),
        out_shardings=replicated,
    )


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
    train_state: Optional[dict[str, Any]] = None,  # noqa: UP045
) -> spec.UpdateReturn:
    del current_params_types, loss_type, train_state, eval_results
    optimizer_state, opt_update_fn = optimizer_state
    outputs = jitted_train_step()(
        workload,
        opt_update_fn,
        model_state,
        optimizer_state,
        current_param_container,
        batch,
        rng,
        hyperparameters.grad_clip,
        hyperparameters.label_smoothing,
        hyperparameters.dropout_rate,
    )
    new_state, new_params, new_model_state, loss, grad_norm = outputs
    if global_step % 100 == 0 and workload.metrics_logger is not None:
        scalars = {"loss": loss.item(), "grad_norm": grad_norm.item()}
        workload.metrics_logger.append_scalar_metrics(scalars, global_step)
    return (new_state, opt_update_fn), new_params, new_model_state
