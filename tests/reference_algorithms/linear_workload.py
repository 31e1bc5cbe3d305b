"""A tiny real workload in both frameworks, and a loop that trains on it."""

import collections
import inspect
from pathlib import Path

import numpy as np

from algorithmic_efficiency import registry, submission
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.definition import Definition, Evaluate, Field
from algorithmic_efficiency.initializers import Normal
from algorithmic_efficiency.public_workload import PublicWorkload
from algorithmic_efficiency.workload import Workload

STEPS = 10


def make_workload(framework, *, batch_norm=False, step_hint=STEPS):
    definition = Definition(
        name="linear",
        package="linear_model",
        data="",
        model={"batch_norm": batch_norm, "dropout_rate": 0.25},
        initial=((r".*", Normal(0.5)),),
        output_layer="fc",
        fields={"inputs": Field((4,), "float32"), "targets": Field((), "int32")},
        data_arguments={},
        loss="softmax_cross_entropy",
        evaluations=(Evaluate(("accuracy", "loss")),),
        target_metric_name="accuracy",
        validation_target_value=0.9,
        test_target_value=None,
        num_train_examples=1000,
        num_eval_train_examples=100,
        num_validation_examples=100,
        num_test_examples=None,
        eval_batch_size=8,
        max_allowed_runtime_sec=10,
        eval_period_time_sec=1,
        step_hint=step_hint,
    )
    return Workload(definition, base.make(framework), Folders(Path(), Path()))


def make_batches(count=STEPS, size=8):
    """Yields batches whose classes follow the inputs; a quarter is padding."""
    random = np.random.default_rng(5)
    truth = random.normal(size=(4, 3))
    for _ in range(count):
        inputs = random.normal(1.0, 2.0, size=(size, 4)).astype(np.float32)
        targets = (inputs @ truth).argmax(-1).astype(np.int32)
        weights = np.ones(size, np.float32)
        weights[-size // 4 :] = 0.0
        yield {"inputs": inputs, "targets": targets, "weights": weights}


class Recorder:
    """A metrics logger that keeps what it is given."""

    def __init__(self):
        self.rows = {}

    def append_scalar_metrics(self, metrics, global_step):
        self.rows[global_step] = metrics


def load(folder, framework):
    """Returns the submission in a folder of the repository, checked at the door."""
    return submission.load(registry.ROOT / folder / f"{framework}.py")


def hyperparameters(**values):
    return collections.namedtuple("Hyperparameters", values)(**values)


def train(
    algorithm,
    workload,
    framework,
    hp=None,
    batches=None,
    *,
    reached=False,
    prepare=False,
):
    """Returns canonical parameters and statistics after a step on every batch.

    Args:
      reached: whether the validation target counts as reached.
      prepare: whether an evaluation is prepared at the end.
    """
    backend = base.make(framework)
    rng = backend.make_rng((1, 2))
    params, state = workload.init_model_fn(rng)
    public = PublicWorkload(workload)
    optimizer_state = algorithm.init_optimizer_state(public, params, state, hp, rng)
    queue = map(workload.place, batches or make_batches())
    more = {}
    if "train_state" in inspect.signature(algorithm.update_params).parameters:
        more["train_state"] = {
            "accumulated_submission_time": 0.0,
            "validation_goal_reached": reached,
        }

    def call(function, step, **more):
        return function(
            workload=public,
            current_param_container=params,
            current_params_types=workload.model_params_types,
            model_state=state,
            hyperparameters=hp,
            loss_type=workload.loss_type,
            optimizer_state=optimizer_state,
            eval_results=[],
            global_step=step,
            rng=rng,
            **more,
        )

    steps = STEPS if batches is None else len(batches)
    for step in range(steps):
        batch = algorithm.data_selection(
            public, queue, optimizer_state, params, state, hp, step, rng
        )
        optimizer_state, params, state = call(
            algorithm.update_params, step, batch=batch, **more
        )
    if prepare:
        optimizer_state, params, state = call(algorithm.prepare_for_eval, steps)
    return backend.canonical(params, state)
