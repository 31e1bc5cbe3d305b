"""What a submission is handed as `workload`: the public members, and nothing else."""

import copy
import dataclasses
import functools
import inspect
import pickle
from types import SimpleNamespace

import jax
import linear_workload as linear
import numpy as np
import pytest

from algorithmic_efficiency import spec, state
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.data import Dataset
from algorithmic_efficiency.public_workload import (
    FACTS,
    HARNESS,
    MEMBERS,
    METHODS,
    PublicWorkload,
)
from algorithmic_efficiency.runner.trainer import InputQueue, Trainer
from algorithmic_efficiency.runner.trial import Progress
from algorithmic_efficiency.workload import Workload

FRAMEWORKS = ("pytorch", "jax")
TRAIN = spec.ForwardPassMode.TRAIN
# Of the public API; what only its runner uses is left out, `recalibrate` is our own.
NAMES = """
    target_metric_name validation_target_value test_target_value
    has_reached_validation_target has_reached_test_target loss_type num_train_examples
    num_eval_train_examples num_validation_examples num_test_examples eval_batch_size
    train_mean train_stddev max_allowed_runtime_sec eval_period_time_sec step_hint
    param_shapes model_params_types is_output_params init_model_fn model_fn loss_fn
    output_activation_fn attach_metrics_logger metrics_logger recalibrate
"""
PUBLIC = set(NAMES.split())
# As public attacks on the workload do it: name -> what `update_params` does.
HOSTILE = {
    "definition": "workload.definition = replace(workload.definition, step_hint=1)",
    "definition_setattr": "setting(workload.definition, 'test_target_value', 0.0)",
    "eval_model": "workload.eval_model = lambda *a, **k: {'validation/accuracy': 1.0}",
    "loss_fn": "workload.loss_fn = lambda *a, **k: {'summed': 0}",
    "runtime": "workload.max_allowed_runtime_sec = 1e9",
    "goal": "workload.has_reached_validation_target = lambda result: True",
    "delete": "del workload.loss_fn",
    "queue": "next(workload._build_input_queue(rng, 'validation', None, 50))",
    "data": "workload._splits.open('validation')",
    "backend": "workload._backend.wait = lambda: None",
    "method's owner": "workload.model_fn.__self__.definition",
    "dict": "vars(workload)['step_hint'] = 1",
}


def both(framework, **options):
    """Returns the real workload, and what a submission is handed."""
    real = linear.make_workload(framework, **options)
    return real, PublicWorkload(real)


def started(framework):
    """Returns real and public workload with batch norm, params, state and a batch."""
    real, public = both(framework, batch_norm=True)
    rng = base.make(framework).make_rng((1, 2))
    params, model_state = public.init_model_fn(rng, dropout_rate=0.5)
    batch = real.place(next(linear.make_batches()))
    return real, public, params, model_state, batch


def as_numpy(tree):
    return [
        np.array(getattr(x, "detach", lambda x=x: x)()) for x in jax.tree.leaves(tree)
    ]


def test_members_are_those_of_the_public_api():
    assert set(MEMBERS) == PUBLIC
    assert {name for name in dir(both("pytorch")[1]) if name[0] != "_"} == PUBLIC


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_facts_are_the_workloads(framework):
    real, public = both(framework)
    assert isinstance(public, spec.Workload)
    for name in ("param_shapes", "model_params_types"):
        with pytest.raises(ValueError, match=f"{name} is known once init_model_fn"):
            getattr(public, name)
    public.init_model_fn(base.make(framework).make_rng((1, 2)))
    for name in FACTS:
        assert getattr(public, name) == getattr(real, name), name
    assert public.step_hint == linear.STEPS
    assert {x.shape_tuple for x in jax.tree.leaves(public.param_shapes)} == {
        (3,),
        (3, 4) if framework == "pytorch" else (4, 3),
    }


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_functions_are_the_workloads(framework):
    real, public, params, model_state, batch = started(framework)
    called = (params, batch, model_state, TRAIN, None)
    # The rate 0.5 scales the logits, unless the pass has a rate of its own.
    outputs, moved = public.model_fn(*called, True)
    other, _ = public.model_fn(*called, update_batch_norm=False, dropout_rate=0.75)
    np.testing.assert_allclose(*as_numpy([outputs, 2 * other]), rtol=1e-5)
    again, _ = real.model_fn(*called, False)
    np.testing.assert_array_equal(*as_numpy([outputs, again]))
    losses = public.loss_fn(batch["targets"], outputs, batch["weights"], 0.1)
    theirs = real.loss_fn(batch["targets"], outputs, batch["weights"], 0.1)
    for ours, other in zip(*map(as_numpy, (losses, theirs)), strict=True):
        np.testing.assert_array_equal(ours, other)
    assert set(losses) == {"summed", "n_valid_examples", "per_example"}
    total = public.output_activation_fn(outputs, framework).sum(-1)
    np.testing.assert_allclose(as_numpy(total)[0], np.ones(8), rtol=1e-5)
    exact = public.recalibrate(params, moved, [batch])
    flat = base.make(framework).canonical(params, exact)
    seen = batch["inputs"][:6]
    np.testing.assert_allclose(flat["bn1.running_mean"], seen.mean(0), rtol=1e-4)
    assert public.is_output_params("fc") and not public.is_output_params("bn1")
    assert public.has_reached_validation_target({"validation/accuracy": 0.9})
    assert not public.has_reached_validation_target({"validation/accuracy": 0.89})
    assert public.has_reached_test_target({})  # there is none


@pytest.mark.parametrize("name", METHODS)
def test_a_function_has_the_signature_and_the_words_of_the_workloads(name):
    real, public = both("pytorch")
    ours, theirs = getattr(public, name), getattr(real, name)
    assert inspect.signature(ours) == inspect.signature(theirs)
    assert inspect.getdoc(ours) == inspect.getdoc(theirs)


def test_it_is_a_static_argument_of_jit_and_compiles_once():
    traces = []

    @functools.partial(jax.jit, static_argnames="workload")
    def loss(workload, params, model_state, batch):
        traces.append(workload)
        outputs, _ = workload.model_fn(params, batch, model_state, TRAIN, None, False)
        return workload.loss_fn(batch["targets"], outputs, batch["weights"])["summed"]

    _, public, params, model_state, batch = started("jax")
    first, second = (loss(public, params, model_state, batch) for _ in range(2))
    assert float(first) == float(second) > 0
    assert traces == [public]
    assert public != PublicWorkload(linear.make_workload("jax"))


def test_copies_and_pickles_are_itself():
    _, public = both("jax")
    for other in (
        copy.copy(public),
        copy.deepcopy({"in": [public]})["in"][0],
        pickle.loads(pickle.dumps(public)),
    ):
        assert other is public
    pickled = pickle.dumps(public)
    del public, other
    with pytest.raises(TypeError, match="only in the process that has pickled it"):
        pickle.loads(pickled)


# What is not public.


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_other_member_is_refused(framework):
    real, public = both(framework)
    fields = {field.name for field in dataclasses.fields(real.definition)}
    private = {name for name in dir(real) if not name.startswith("__")}
    others = (fields | private | set(HARNESS)) - PUBLIC
    assert {"definition", "_backend", "_splits", "eval_model", "name"} <= others
    for name in others:
        assert not hasattr(public, name), name
        with pytest.raises(AttributeError, match="submissions; |no member"):
            getattr(public, name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("eval_model", "workload.eval_model is for the harness and not for"),
        ("place", "workload.place is for the harness"),
        ("step_hints", "no member 'step_hints'; .* nearest to it are step_hint,"),
        ("models_fn", r"nearest to it are model_fn, .*\. docs/submissions\.md lists"),
    ],
)
def test_a_refusal_is_a_sentence(name, said):
    with pytest.raises(AttributeError, match=said):
        getattr(both("pytorch")[1], name)


def test_nothing_can_be_set_or_deleted():
    real, public = both("pytorch")
    for name in {*MEMBERS, "definition", "mine", "_ask"} - {"metrics_logger"}:
        with pytest.raises(
            AttributeError, match=f"workload.{name} = .*only metrics_lo"
        ):
            setattr(public, name, 1)
        with pytest.raises(AttributeError, match=f"{name} cannot be deleted"):
            delattr(public, name)
    assert not hasattr(public, "__dict__")
    assert public.step_hint == real.step_hint


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_no_attribute_leads_to_what_the_harness_keeps(framework):
    real, public, *_ = started(framework)
    real.attach_metrics_logger(linear.Recorder())
    kept = (Workload, type(real._backend), type(real.definition), Dataset)
    queue = InputQueue(linear.make_batches(), real)
    seen, left = [], [public, queue]
    while left:
        value = left.pop()
        assert not isinstance(value, (*kept, linear.Recorder)), value
        if any(value is other for other in seen):
            continue
        seen.append(value)
        if not type(value).__module__.startswith(("jax", "numpy", "torch")):
            left += attributes(value)
    assert len(seen) > len(MEMBERS)


def attributes(value):
    """Returns what an object's attributes hold; a function's globals are no part."""
    own = ("__self__", "__func__", "__wrapped__", "__dict__")
    names = {name for name in dir(value) if not name.startswith("__")} | set(own)
    if isinstance(value, type | str | int | float | tuple | type(None)):
        return []
    return [getattr(value, name) for name in names if hasattr(value, name)]


# The metrics logger.


def test_a_submission_logs_and_sees_no_table():
    real, public = both("pytorch")
    assert public.metrics_logger is None
    logger = SimpleNamespace(rows=[], table="the harness's own")
    logger.append_scalar_metrics = lambda metrics, global_step: logger.rows.append(
        (metrics, global_step)
    )
    real.attach_metrics_logger(logger)
    assert public.metrics_logger is public.metrics_logger
    public.metrics_logger.append_scalar_metrics({"loss": 2.0}, 3)
    public.metrics_logger.append_scalar_metrics({"loss": 1.0}, global_step=4)
    assert logger.rows == [({"loss": 2.0}, 3), ({"loss": 1.0}, 4)]
    assert not hasattr(public.metrics_logger, "table")


@pytest.mark.parametrize("attach", ["call", "assignment"])
def test_a_logger_of_the_submissions_own_is_for_itself(attach):
    real, public = both("pytorch")
    mine = linear.Recorder()
    if attach == "call":
        public.attach_metrics_logger(mine)
    else:
        public.metrics_logger = mine
    public.metrics_logger.append_scalar_metrics({"loss": 2.0}, 3)
    assert public.metrics_logger is mine and mine.rows == {3: {"loss": 2.0}}
    assert real.metrics_logger is None


# In the hands of a submission.


def trainer_with(update, framework="pytorch"):
    """Returns a trainer on the linear workload, and what its functions were handed."""
    handed = []

    def init(workload, params, model_state, hyperparameters, rng):
        handed.append(workload)
        return {"keeps": [workload, workload.loss_fn, workload.param_shapes]}

    def select(workload, queue, *others):
        handed.append(workload)
        return next(queue)

    def step(**given):
        handed.append(given["workload"])
        update(given["workload"], given["rng"])
        names = ("optimizer_state", "current_param_container", "model_state")
        return tuple(given[name] for name in names)

    submission = SimpleNamespace(
        path="submission.py",
        batch_size=lambda *_: 8,
        eval_batch_size=lambda *_: 8,
        init_optimizer_state=init,
        data_selection=select,
        update_params=step,
        prepare_for_eval=step,
        takes_train_state=False,
    )
    real = linear.make_workload(framework)
    trainer = Trainer(real, submission, base.make(framework), None, seed=0)
    trainer.queue = InputQueue(linear.make_batches(), real)
    return trainer, handed


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_harness_hands_it_to_every_function(framework):
    trainer, handed = trainer_with(lambda workload, rng: None, framework)
    trainer.step(Progress(), {})
    trainer.prepare_for_eval(Progress())
    assert len(handed) == 4
    assert all(workload is trainer.public for workload in handed)
    assert isinstance(trainer.public, PublicWorkload)
    _, _, lost = state.encode(trainer.state, trainer.origin)
    assert lost == []  # a state may keep it, and its functions


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_submission_does_not_reach_the_workload(name):
    tools = {"setting": object.__setattr__, "replace": dataclasses.replace}

    def attack(workload, rng):
        exec(HOSTILE[name], {**tools, "workload": workload, "rng": rng})

    trainer, handed = trainer_with(attack)
    real = trainer.workload
    before = (real.definition, dict(vars(real)), set(dir(real)))
    with pytest.raises((AttributeError, TypeError)):
        trainer.step(Progress(), {})
    assert len(handed) == 3
    assert (real.definition, dict(vars(real)), set(dir(real))) == before
