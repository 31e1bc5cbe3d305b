"""JAX's wait covers all work of a submission, wherever it keeps the results."""

import functools
import threading
import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic_efficiency.backends import base
from algorithmic_efficiency.errors import TrainingCompleteError
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.trainer import Trainer
from algorithmic_efficiency.runner.trial import NoRecords, Progress, Rules, run_trial


@jax.jit
def slow(x):
    """A tenth of a second and more of work that JAX does not do inside the call."""
    return jax.lax.fori_loop(0, 150, lambda _, y: jnp.sin(y @ y * 1e-3), x)


class Work:
    """Asks a device for slow work.

    Attributes:
      asked: all that was asked for, each seen unfinished.
    """

    def __init__(self):
        self.asked = []

    def ask(self, device=0):
        x = jax.device_put(np.ones((300, 300), np.float32), jax.devices()[device])
        slow(x).block_until_ready()  # compiled, and so not inside the next call
        for _ in range(20):
            array = slow(x)
            if not array.is_ready():  # on a busy machine it may be, once
                self.asked.append(array)
                return array
        raise AssertionError("never found a computation at work")

    def finished(self):
        return [array.is_ready() for array in self.asked]


class Keeper:
    """No pytree."""


KEPT = Keeper()


@functools.cache
def cached(work, number):
    return work.ask()


def in_an_object(work, state):
    state["keeper"] = keeper = Keeper()
    keeper.array = work.ask()


def in_a_module(work, state):
    KEPT.array = work.ask()


def in_a_closure(work, state):
    array = work.ask()
    state["closure"] = lambda: array


def in_a_cache(work, state):
    cached(work, len(work.asked))


def returned(work, state):
    state["array"] = work.ask()


def on_another_device(work, state):
    work.ask(device=-1)


def by_a_thread(work, state):
    thread = threading.Thread(target=in_an_object, args=(work, state))
    thread.start()
    thread.join()


def beside_deleted_ones(work, state):
    state["deleted"] = jnp.ones(3)
    state["deleted"].delete()
    state["donated"] = jnp.ones(3)
    jax.jit(lambda x: x + 1, donate_argnums=0)(state["donated"])
    assert state["donated"].is_deleted()
    state["array"] = work.ask()


PLACES = (
    in_an_object,
    in_a_module,
    in_a_closure,
    in_a_cache,
    returned,
    on_another_device,
    by_a_thread,
    beside_deleted_ones,
)


@pytest.mark.parametrize("place", PLACES)
def test_the_wait_covers(place):
    backend, work, state = base.make("jax"), Work(), {}
    place(work, state)
    backend.wait()
    assert work.finished() == [True]
    assert all(array.is_ready() for array in jax.live_arrays())


@pytest.mark.parametrize("device", [0, 1])
def test_the_wait_covers_results_that_nobody_holds(monkeypatch, device):
    """They are on no list, like this one, but the device works on them all the same."""
    backend, work = base.make("jax"), Work()
    monkeypatch.setattr(jax, "live_arrays", lambda platform=None: [])
    work.ask(device)
    backend.wait()
    time.sleep(0.03)  # the array hears of it a moment later; the work takes longer
    assert work.finished() == [True]


def test_an_array_that_is_deleted_while_it_is_waited_for_is_no_error(monkeypatch):
    backend, work = base.make("jax"), Work()
    listed = jax.live_arrays

    def late(platform=None):
        arrays = listed(platform)
        gone.delete()
        return arrays

    gone = jnp.ones(3)
    monkeypatch.setattr(jax, "live_arrays", late)
    kept = work.ask()
    backend.wait()
    assert kept.is_ready() and gone.is_deleted()


# The trial loop waits wherever the clock of the submission stops.


def trial(work, *, prepare=False, complete=False):
    """Runs one step and its evaluation; returns what had finished before it."""
    before = []

    def update_params(optimizer_state, **_):
        in_a_module(work, optimizer_state)
        if complete:
            raise TrainingCompleteError
        return optimizer_state, {}, None

    def prepare_for_eval(optimizer_state, **_):
        in_a_module(work, optimizer_state)
        return optimizer_state, {}, None

    submission = SimpleNamespace(
        path="submission.py",
        batch_size=lambda *_: 2,
        eval_batch_size=lambda *_: 2,
        init_optimizer_state=lambda *_: {},
        data_selection=lambda *_: None,
        update_params=update_params,
        prepare_for_eval=prepare_for_eval if prepare else None,
        takes_train_state=False,
    )
    workload = SimpleNamespace(
        definition=SimpleNamespace(
            name="toy",
            eval_batch_size=2,
            loss_type=None,
            target_metric_name="accuracy",
            test_target_value=None,
        ),
        init_model_fn=lambda rng: ({}, None),
        model_params_types=None,
        eval_model=lambda *_, **__: {"validation/accuracy": 0.0},
        has_reached_validation_target=lambda result: False,
        has_reached_test_target=lambda result: False,
    )
    backend = base.make("jax")
    # The first thing that is off the clock.
    backend.nonfinite = lambda params: before.append(work.finished())
    trainer = Trainer(workload, submission, backend, None, seed=0)
    run_trial(
        trainer, NoRecords(), Clock(), Rules(1e9, 1e9, max_global_steps=1), Progress()
    )
    return before


def test_nothing_runs_during_an_evaluation():
    assert trial(Work()) == [[True]]
    assert trial(Work(), prepare=True) == [[True, True]]


def test_nor_after_a_submission_has_said_that_it_is_done():
    assert trial(Work(), complete=True) == [[True]]


def test_what_the_initialisation_asked_for_is_done_before_the_clock_starts():
    work = Work()
    submission = SimpleNamespace(
        path="submission.py",
        batch_size=lambda *_: 2,
        eval_batch_size=lambda *_: 2,
        init_optimizer_state=lambda *_: in_a_module(work, {}),
    )
    definition = SimpleNamespace(name="toy", eval_batch_size=2)
    workload = SimpleNamespace(
        definition=definition, init_model_fn=lambda rng: ({}, None)
    )
    trainer = Trainer(workload, submission, base.make("jax"), None, seed=0)
    assert work.finished() == [True]
    assert trainer.seconds_in["init_optimizer_state"] > 0.0
