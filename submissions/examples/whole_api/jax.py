r"""All that the submission API offers, in JAX: SGD that evaluates an average.

    python submission_runner.py --workload=imagenet_resnet \
        --submission_path=submissions/examples/whole_api/jax.py

The same algorithm as in `pytorch.py` beside this file, whose comments are not repeated.
In JAX every array that is handed over may be kept, since arrays never change.
"""

import functools

import jax
import optax

from algorithmic_efficiency import jax_sharding_utils, spec

BATCH_SIZES = {"imagenet_resnet": 128, "librispeech_conformer": 32}


def get_batch_size(workload_name):
    """Raises ValueError for a variant; the harness then asks for the base workload."""
    if workload_name not in BATCH_SIZES:
        raise ValueError(f"no batch size for {workload_name}")
    return BATCH_SIZES[workload_name]


def get_eval_batch_size(workload_name):
    """Optional. May only lower the workload's own, to save memory."""
    return 100


def optimizer(hyperparameters):
    """Returns the transformation; the learning rate is a traced number, see below."""
    return optax.trace(decay=hyperparameters.momentum)


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """Returns (a tree that is saved and restored, anything else)."""
    momentum = optimizer(hyperparameters).init(model_params)
    return {
        "momentum": jax_sharding_utils.replicate(momentum),
        "average": model_params,
        "trained": None,  # (parameters, model state) while the average is evaluated
        "recent": [],  # batches for `recalibrate`
    }, None


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
    """On the clock. May draw several batches, or train on one twice."""
    batch = next(input_queue)
    state, _ = optimizer_state
    state["recent"] = [*state["recent"], batch][-4:]
    return batch


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
    train_state=None,
):
    """On the clock. `train_state` is handed to who has an argument of this name."""
    if train_state["validation_goal_reached"]:
        raise spec.TrainingCompleteError
    state, rest = optimizer_state
    params = current_param_container
    if state["trained"] is not None:
        params, model_state = state["trained"]
    used = train_state["accumulated_submission_time"] / workload.max_allowed_runtime_sec
    rate = hyperparameters.learning_rate * max(1.0 - used, 0.0)
    params, model_state, momentum, average, loss = train_step(
        workload,
        hyperparameters,
        (params, model_state, state["momentum"], state["average"]),
        batch,
        rng,
        rate,
    )
    if global_step % 50 == 0 and workload.metrics_logger is not None:
        scalars = {"loss": float(loss), "evaluations": len(eval_results)}
        workload.metrics_logger.append_scalar_metrics(scalars, global_step)
    state = {**state, "momentum": momentum, "average": average, "trained": None}
    return (state, rest), params, model_state


@functools.partial(jax.jit, static_argnames=("workload", "hyperparameters"))
def train_step(workload, hyperparameters, carry, batch, rng, rate):  # noqa: PLR0917
    """Makes one step; `rate` is an argument, so that a new one compiles nothing."""
    params, model_state, momentum, average = carry

    def mean_loss(params):
        logits, new_state = workload.model_fn(
            params,
            batch,
            model_state,
            spec.ForwardPassMode.TRAIN,
            rng,
            update_batch_norm=True,
            dropout_rate=None,
        )
        losses = workload.loss_fn(
            label_batch=batch["targets"],
            logits_batch=logits,
            mask_batch=batch.get("weights"),
            label_smoothing=hyperparameters.label_smoothing,
        )
        return losses["summed"] / losses["n_valid_examples"], new_state

    (loss, model_state), grads = jax.value_and_grad(mean_loss, has_aux=True)(params)
    updates, momentum = optimizer(hyperparameters).update(grads, momentum)
    params = jax.tree.map(lambda p, u: p - rate * u, params, updates)
    average = optax.incremental_update(
        params, average, step_size=1.0 - hyperparameters.average_decay
    )
    return params, model_state, momentum, average, loss


def prepare_for_eval(  # noqa: PLR0917 - the submission API
    workload,
    current_param_container,
    current_params_types,
    model_state,
    hyperparameters,
    loss_type,
    optimizer_state,
    eval_results,
    global_step,
    rng,
):
    """Optional, on the clock, before every evaluation: puts the average in place."""
    state, rest = optimizer_state
    trained = (current_param_container, model_state)
    exact = workload.recalibrate(state["average"], model_state, state["recent"])
    return ({**state, "trained": trained}, rest), state["average"], exact
