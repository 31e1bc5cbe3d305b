r"""All that the submission API offers, in PyTorch: SGD that evaluates an average.

    python submission_runner.py --workload=imagenet_resnet \
        --submission_path=submissions/examples/whole_api/pytorch.py

The weights that are evaluated are an exponential moving average of those that are
trained (Polyak and Juditsky, 1992). `template/pytorch.py` is the smallest submission;
here stands what else there is, each with a word on what it is for.
"""

import collections

import torch

from algorithmic_efficiency import spec
from algorithmic_efficiency.pytorch_utils import pytorch_setup

DEVICE = pytorch_setup()[2]
BATCH_SIZES = {"imagenet_resnet": 128, "librispeech_conformer": 32}


def get_batch_size(workload_name):
    """Raises ValueError for a variant; the harness then asks for the base workload."""
    if workload_name not in BATCH_SIZES:
        raise ValueError(f"no batch size for {workload_name}")
    return BATCH_SIZES[workload_name]


def get_eval_batch_size(workload_name):
    """Optional. May only lower the workload's own, to save memory."""
    return 100


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """Off the clock, so nothing may be trained here."""
    average = torch.optim.swa_utils.AveragedModel(
        model_params,
        device=DEVICE,
        multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(
            hyperparameters.average_decay
        ),
    )
    average.update_parameters(model_params)  # its first call copies
    return {
        "optimizer": torch.optim.SGD(
            model_params.parameters(),
            lr=hyperparameters.learning_rate,
            momentum=hyperparameters.momentum,
        ),
        "average": average,
        "trained": None,  # the trained weights, while the average is in their place
        "recent": collections.deque(maxlen=4),  # batches for `recalibrate`
    }


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
    optimizer_state["recent"].append(batch)
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
        # Ends the training, which goes on for the test target otherwise. A last
        # evaluation is made, with the weights as they were.
        raise spec.TrainingCompleteError
    model = current_param_container
    if optimizer_state["trained"] is not None:  # after an evaluation
        model.load_state_dict(optimizer_state["trained"])
        optimizer_state["trained"] = None

    # The share of the budget that is used, and a rate that falls along it.
    used = train_state["accumulated_submission_time"] / workload.max_allowed_runtime_sec
    for group in optimizer_state["optimizer"].param_groups:
        group["lr"] = hyperparameters.learning_rate * max(1.0 - used, 0.0)

    optimizer_state["optimizer"].zero_grad()
    logits, _ = workload.model_fn(
        model,
        batch,
        model_state,
        spec.ForwardPassMode.TRAIN,
        rng,
        update_batch_norm=True,
        dropout_rate=None,  # the workload's own
    )
    losses = workload.loss_fn(
        label_batch=batch["targets"],
        logits_batch=logits,
        mask_batch=batch.get("weights"),
        label_smoothing=hyperparameters.label_smoothing,
    )
    loss = losses["summed"] / losses["n_valid_examples"]
    loss.backward()
    optimizer_state["optimizer"].step()
    optimizer_state["average"].update_parameters(model)

    if global_step % 50 == 0 and workload.metrics_logger is not None:
        # Goes to measurements.csv, and to TensorBoard or W&B where asked for.
        scalars = {"loss": float(loss.detach()), "evaluations": len(eval_results)}
        workload.metrics_logger.append_scalar_metrics(scalars, global_step)
    return optimizer_state, model, model_state


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
    """Optional, on the clock, before every evaluation: puts the average in place.

    Running statistics of batch norm belong to the weights that moved them, so those of
    the average are computed anew by `recalibrate`, over a few batches.
    """
    model = current_param_container
    state = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer_state["trained"] = state
    averages = optimizer_state["average"].module.parameters()
    with torch.no_grad():
        for parameter, average in zip(model.parameters(), averages, strict=True):
            parameter.copy_(average)
    recent = list(optimizer_state["recent"])
    model_state = workload.recalibrate(model, model_state, recent)
    return optimizer_state, model, model_state
