"""Any optimizer as a submission; what a step logs, compiles, and reuses."""

import linear_workload as linear
import numpy as np
import optax
import optax.contrib
import pytest
import torch

from algorithmic_efficiency import adapters
from algorithmic_efficiency.adapters import jax as jax_adapter
from algorithmic_efficiency.adapters import pytorch as pytorch_adapter

FRAMEWORKS = ("pytorch", "jax")
TORCH = {
    "Adadelta": {"lr": 1.0},
    "Adafactor": {},
    "Adagrad": {},
    "Adam": {},
    "AdamW": {},
    "Adamax": {},
    "ASGD": {},
    "LBFGS": {"lr": 0.01},
    "NAdam": {},
    "RAdam": {},
    "RMSprop": {},
    "Rprop": {},
    "SGD": {"lr": 0.1},
}
OPTAX = {
    "adabelief": optax.adabelief(1e-2),
    "adafactor": optax.adafactor(1e-2),
    "adagrad": optax.adagrad(1e-1),
    "lamb": optax.lamb(1e-2),
    "lbfgs": optax.lbfgs(),
    "lion": optax.lion(1e-2),
    "polyak_sgd": optax.polyak_sgd(0.1),
    "rmsprop": optax.rmsprop(1e-2),
    "schedule_free_adamw": optax.contrib.schedule_free_adamw(1e-2),
}


def sgd(framework, schedule=None):
    if framework == "pytorch":
        return pytorch_adapter.from_optimizer(
            lambda model, hp, steps: torch.optim.SGD(model.parameters(), lr=0.1),
            batch_size=8,
            schedule=schedule,
        )
    return jax_adapter.from_optimizer(
        lambda hp, steps: optax.sgd(0.1), batch_size=8, schedule=schedule
    )


def mean_loss(parameters):
    """Over all batches, in NumPy; 0.75 is the model's stand-in for dropout."""
    total = count = 0.0
    for batch in linear.make_batches():
        logits = batch["inputs"] @ parameters["fc.weight"].T + parameters["fc.bias"]
        logits = 0.75 * logits.astype(np.float64)
        nll = np.log(np.exp(logits).sum(-1)) - logits[np.arange(8), batch["targets"]]
        total += (nll * batch["weights"]).sum()
        count += batch["weights"].sum()
    return total / count


def start_loss():
    workload = linear.make_workload("pytorch")
    params, _ = workload.init_model_fn(np.array([1, 2], np.int32))
    return mean_loss({k: v.numpy() for k, v in params.state_dict().items()})


@pytest.mark.parametrize("name", TORCH)
def test_a_torch_optimizer_trains(name):
    submission = pytorch_adapter.from_optimizer(
        lambda model, *_: getattr(torch.optim, name)(model.parameters(), **TORCH[name]),
        batch_size=8,
    )
    got = linear.train(submission, linear.make_workload("pytorch"), "pytorch")
    assert mean_loss(got) < start_loss()


@pytest.mark.parametrize("name", OPTAX)
def test_an_optax_transformation_trains(name):
    submission = jax_adapter.from_optimizer(lambda *_: OPTAX[name], batch_size=8)
    got = linear.train(submission, linear.make_workload("jax"), "jax")
    assert mean_loss(got) < start_loss()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_padded_rows_change_nothing(framework):
    batches = list(linear.make_batches())
    workload = linear.make_workload(framework, batch_norm=True)
    want = linear.train(sgd(framework), workload, framework, batches=batches)
    for batch in batches:
        batch["inputs"][-2:] = 1e6
        batch["targets"][-2:] = 2
    got = linear.train(sgd(framework), workload, framework, batches=batches)
    for name, value in want.items():
        np.testing.assert_array_equal(got[name], value)
    for batch in batches:
        batch["weights"][-2:] = 1.0
    seen = linear.train(sgd(framework), workload, framework, batches=batches)
    assert not np.allclose(seen["fc.weight"], want["fc.weight"])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_schedule_receives_step_hint_and_hyperparameters(framework):
    calls = []

    def schedule(step, steps, hp):
        calls.append((step, steps, hp.power))
        return float(step == 3)

    hp, batches = linear.hyperparameters(power=7), list(linear.make_batches())
    workload = linear.make_workload(framework, step_hint=123)
    got = linear.train(sgd(framework, schedule), workload, framework, hp, batches[:5])
    assert calls == [(step, 123, 7) for step in range(5)]
    only = linear.train(sgd(framework), workload, framework, hp, batches[3:4])
    np.testing.assert_allclose(got["fc.weight"], only["fc.weight"], rtol=1e-6)


@pytest.mark.parametrize("clip", [{}, {"grad_clip": 1e-3}], ids=["free", "clipped"])
def test_loss_and_unclipped_norm_are_logged(clip):
    hp, batches = linear.hyperparameters(**clip), list(linear.make_batches(21))
    logged = {}
    for framework in FRAMEWORKS:
        workload = linear.make_workload(framework)
        workload.attach_metrics_logger(linear.Recorder())
        linear.train(sgd(framework), workload, framework, hp, batches)
        logged[framework] = workload.metrics_logger.rows
    assert list(logged["pytorch"]) == list(logged["jax"]) == [0, 10, 20]
    for step, row in logged["pytorch"].items():
        assert row == pytest.approx(logged["jax"][step], rel=1e-5)
        assert set(row) == {"loss", "grad_norm"}
        assert row["grad_norm"] > 0.01


def test_only_every_tenth_and_then_every_500th_step_waits_for_its_loss():
    steps = [step for step in range(1200) if adapters.logs_at(step)]
    assert steps == [*range(0, 101, 10), 500, 1000]


def test_jax_step_compiles_once_and_reuses_memory():
    workload, submission = linear.make_workload("jax", batch_norm=True), sgd("jax")
    params, model_state = workload.init_model_fn(np.array([1, 2], np.uint32))
    hp, rng = linear.hyperparameters(), np.array([1, 2], np.uint32)
    state = submission.init_optimizer_state(workload, params, model_state, hp, rng)
    for step, batch in enumerate(linear.make_batches()):
        before = params
        state, params, model_state = submission.update_params(
            workload, params, None, model_state, hp, workload.place(batch),
            None, state, [], step, rng,
        )  # fmt: skip
        assert before["fc"]["kernel"].is_deleted()
    assert state[1]._cache_size() == 1
