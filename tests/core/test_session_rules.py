"""What a trial is given by its run, what reaches it, and what a resume brings back."""

import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from core_fakes import Time, definition

from algorithmic_efficiency import registry
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.errors import StorageError, UsageError
from algorithmic_efficiency.runner import checkpoint, study
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.run_record import read_run
from algorithmic_efficiency.runner.session import (
    Running,
    Session,
    restore,
    rules_of,
    seed_of,
)
from algorithmic_efficiency.runner.trainer import Trainer
from algorithmic_efficiency.runner.trial import NoRecords, Progress, Rules, run_trial
from algorithmic_efficiency.workload import Workload

MINI = "--workload=imagenet_resnet_mini"
FRAMEWORKS = ("jax", "pytorch")


def test_every_trial_of_every_study_and_run_has_a_seed_of_its_own(config):
    flags = ["--tuning_ruleset=self", "--num_studies=3"]
    runs = [config(MINI, f"--rng_seed={seed}", *flags) for seed in (0, 1)]
    places = list(itertools.product(runs, range(3), range(5)))
    found = [seed_of(run, study, trial) for run, study, trial in places]
    assert len(set(found)) == len(found)
    assert found == [seed_of(run, study, trial) for run, study, trial in places]
    sessions = [Session(runs[0], number, 0).seed for number in range(3)]
    assert sessions == [seed_of(runs[0], number, 0) for number in range(3)]


@pytest.mark.parametrize(
    ("flags", "factor"),
    [
        (["--tuning_ruleset=external"], 1.0),
        (["--tuning_ruleset=external", "--benchmark_version=0.5"], 1.0),
        (["--tuning_ruleset=self"], 1.5),
        (["--tuning_ruleset=self", "--benchmark_version=0.5"], 3.0),
        (["--tuning_ruleset=self", "--benchmark_version=0.6"], 1.5),
        (["--tuning_ruleset=self", "--benchmark_version=2026"], 1.5),
    ],
)
def test_a_submission_that_tunes_itself_has_more_time(config, flags, factor):
    got = config(MINI, *flags, "--max_global_steps=7")
    row = registry.get("imagenet_resnet_mini")
    rules = rules_of(got, row)
    assert rules.budget_seconds == row.max_allowed_runtime_sec * factor
    assert rules.eval_period_seconds == row.eval_period_time_sec
    assert (rules.max_global_steps, rules.skip_evals) == (7, False)
    assert Session(got, 0, 0).rules == rules


@pytest.mark.parametrize("maximize", [True, False])
def test_each_target_is_judged_on_its_own_split(maximize):
    workload = Workload.__new__(Workload)
    workload.definition = definition(
        target_metric_name="accuracy" if maximize else "loss",
        validation_target_value=0.5,
        test_target_value=0.3 if maximize else 0.7,
    )
    name = workload.definition.target_metric_name
    # Enough for the test split, not for validation, and so on.
    for validation, test in itertools.product((0.2, 0.4, 0.6, 0.8), repeat=2):
        result = {f"validation/{name}": validation, f"test/{name}": test}
        result |= {f"train/{name}": 1.0 if maximize else 0.0}
        reached = (validation >= 0.5, test >= 0.3)
        if not maximize:
            reached = (validation <= 0.5, test <= 0.7)
        assert workload.has_reached_validation_target(result) is reached[0]
        assert workload.has_reached_test_target(result) is reached[1]
        trainer = Trainer.__new__(Trainer)
        trainer.workload = workload
        assert trainer.reached(result) == reached


def test_the_last_line_is_the_median_over_studies_of_the_best_trials(
    config, make_file, monkeypatch
):
    path = make_file("s.json", [{"a": 1}, {"a": 2}])
    flags = [f"--tuning_search_space={path}", "--num_tuning_trials=2"]
    got = config(MINI, *flags, "--num_studies=3")
    scores = {(0, 0): 5.0, (0, 1): 1.0, (1, 0): 3.0, (1, 1): None, (2, 0): None}

    def read_run(folder):
        place = next(p for p in got.plan() if got.trial_folder(*p) == folder)
        return {"score": scores.get(place)}

    monkeypatch.setattr(study, "read_run", read_run)
    assert study._score(got) == 3.0  # of 1, 3 and inf
    scores[2, 1] = 20.0
    assert study._score(got) == 3.0  # of 1, 3 and 20, whose mean is 8
    scores.update({(0, 0): None, (0, 1): None, (2, 1): None})
    assert study._score(got) == math.inf


# A real trainer, a model that draws dropout, and a clock that does not move by itself.


class Batches:
    """Numbers instead of images, from a position on."""

    def __init__(self, start):
        self.position = start

    def get_ready(self):
        pass

    def __next__(self):
        self.position += 1
        return self.position

    def close(self):
        pass


def pytorch_model():
    import torch

    model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(6, 3))
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 0.25)
    return model


def pytorch_update(params, batch, rng):
    import torch

    params.train()
    params(torch.ones(2, 6) * batch).square().sum().backward()
    with torch.no_grad():
        for parameter in params.parameters():
            parameter -= 1e-3 * parameter.grad
            parameter.grad = None
    return params


def jax_update(params, batch, rng):
    import jax

    kept = jax.random.bernoulli(rng, 0.5, (6,))
    return {"weight": 0.9 * params["weight"] + 1e-3 * kept * batch}


def make_trainer(framework, time, seed=0):
    """Returns (trainer, what it gave the submission at each call)."""
    backend, given = base.make(framework), []

    def data_selection(workload, queue, *arguments):
        given.append(("data_selection", np.asarray(arguments[-1]).tolist()))
        return next(queue)

    def call(function):
        def called(current_param_container, optimizer_state, rng, **arguments):
            given.append((function, np.asarray(rng).tolist()))
            time.sleep(1.0)
            params = current_param_container
            if function == "update_params":
                update = pytorch_update if framework == "pytorch" else jax_update
                params = update(params, arguments["batch"], rng)
            optimizer_state["calls"] += 1
            return optimizer_state, params, arguments["model_state"]

        return called

    submission = SimpleNamespace(
        path="submission.py",
        batch_size=lambda *_: 2,
        eval_batch_size=lambda *_: 2,
        init_optimizer_state=lambda *_: {"calls": 0},
        data_selection=data_selection,
        update_params=call("update_params"),
        prepare_for_eval=call("prepare_for_eval"),
        takes_train_state=False,
    )

    def parameters(rng, *_, **__):
        if framework == "pytorch":
            return pytorch_model(), None
        import jax.numpy as jnp

        return {"weight": jnp.ones(6)}, None

    workload = SimpleNamespace(
        definition=definition(test_target_value=None),
        init_model_fn=parameters,
        model_params_types=None,
        bad_examples={},
        place=lambda batch: batch,
        train_queue=lambda *_, start, **__: Batches(start),
        eval_model=lambda *_, **__: {"validation/accuracy": 0.1},
        has_reached_validation_target=lambda result: False,
        has_reached_test_target=lambda result: False,
    )
    return Trainer(workload, submission, backend, None, seed), given


def values(trainer):
    params = trainer.state["params"]
    if hasattr(params, "state_dict"):
        params = {name: value.numpy() for name, value in params.state_dict().items()}
    return {name: np.array(value) for name, value in params.items()}


def train(trainer, time, steps, found=None):
    """Trains to a number of steps; returns (progress, clock)."""
    progress, clock, position = found or (Progress(), Clock(time), 0)
    clock = Clock(time, clock.seconds)
    trainer.open_data(0, position, evals=False)
    rules = Rules(1e9, 2.0, max_global_steps=steps)
    run_trial(trainer, NoRecords(), clock, rules, progress)
    return progress, clock


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_resumed_trial_is_the_trial_that_was_not_interrupted(tmp_path, framework):
    time = Time()
    whole, all_given = make_trainer(framework, time)
    progress, clock = train(whole, time, 9)

    first, given = make_trainer(framework, time)
    half, half_clock = train(first, time, 4)
    meta = checkpoint.describe(
        half,
        half_clock,
        position=first.position,
        seed=first.seed,
        bad_examples={"image 3": "is cut off"},
    )
    writer = checkpoint.Writer(
        tmp_path, first.backend, first.origin, keep_all=False, tell=print
    )
    writer.save(first.state, meta)

    second, later = make_trainer(framework, time)
    found = restore(tmp_path, second)
    assert found[0].preemption_count == 1
    assert found[0].step == 4
    assert found[1].seconds == half_clock.seconds
    assert found[1].submission > 4.0
    assert found[2] == 4
    assert second.workload.bad_examples == {"image 3": "is cut off"}
    resumed, resumed_clock = train(second, time, 9, found)

    assert given + later == all_given
    assert second.position == whole.position == 9
    assert resumed_clock.submission == clock.submission
    assert [row for _, row in resumed.evals] == [row for _, row in progress.evals]
    assert resumed.last_eval_time == progress.last_eval_time
    assert second.state["optimizer_state"] == whole.state["optimizer_state"]
    for name, value in values(whole).items():
        np.testing.assert_array_equal(values(second)[name], value)

    with pytest.raises(UsageError, match="another --rng_seed"):
        restore(tmp_path, make_trainer(framework, time, seed=1)[0])


def test_every_call_of_a_submission_has_random_numbers_of_its_own():
    time = Time()
    trainer, given = make_trainer("jax", time)
    train(trainer, time, 6)
    other, others = make_trainer("jax", time, seed=1)
    train(other, time, 6)
    numbers = [json.dumps(rng) for _, rng in given + others]
    assert {name for name, _ in given} == {
        "data_selection",
        "update_params",
        "prepare_for_eval",
    }
    assert len(set(numbers)) == len(numbers) > 24


def test_each_trial_has_its_own_order_of_the_data():
    asked = []
    for seed in (0, 1):
        trainer, _ = make_trainer("jax", Time(), seed)
        trainer.workload.train_queue = lambda size, seed, start, **_: (
            asked.append(seed) or Batches(start)
        )
        trainer.open_data(0, evals=False)
    assert len(set(asked)) == 2


def test_no_checkpoint_is_a_beginning(tmp_path: Path):
    trainer, _ = make_trainer("jax", Time())
    progress, clock, position = restore(tmp_path, trainer)
    assert progress == Progress()
    assert (clock.submission, position) == (0.0, 0)


def test_a_signal_on_a_full_disk_is_recorded(config):
    """The checkpoint has no room; run.json, which is small, tells of it."""

    class Full:
        def break_off(self, progress, clock, *, whole):
            raise StorageError("no room for checkpoint_3")

    session = Session(config(MINI, "--experiment_name=full"), 0, 0)
    session.began = True
    session.running = Running(None, Full(), None, Progress(step=3), Clock(Time()))
    with pytest.raises(StorageError, match="no room"):
        session._interrupted(whole=True)
    run = read_run(session.folder)
    assert (run["status"], run["stop_reason"]) == ("interrupted", "storage")
    assert run["error"] == "no room for checkpoint_3"
