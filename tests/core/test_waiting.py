"""The clock sees all work of a device that works while the host goes on."""

from types import SimpleNamespace

import pytest
from core_fakes import Time

from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.trainer import Trainer
from algorithmic_efficiency.runner.trial import NoRecords, Progress, Rules, run_trial

HOST, DEVICE = 0.25, 1.0  # seconds of a step


class Device:
    """A device with a queue: asking costs the host nothing, waiting until done does."""

    device_count = 1
    kinds = ()
    compiles = False

    def __init__(self, time):
        self.time = time
        self.free_at = time.now
        self.most_ahead = 0.0

    def ask(self, seconds):
        self.free_at = max(self.free_at, self.time.now) + seconds
        self.most_ahead = max(self.most_ahead, self.free_at - self.time.now)
        return self.free_at

    def wait(self):
        self.time.now = max(self.time.now, self.free_at)

    def keep_settings(self):
        pass

    def seed_globals(self, pair):
        pass

    def adopt(self, optimizer_state):
        return optimizer_state

    def make_rng(self, pair):
        return pair

    def nonfinite(self, params):
        return None


def trainer(time, prepares):
    """Returns a real Trainer whose submission only asks the device for work."""
    device = Device(time)

    def update_params(**arguments):
        time.sleep(HOST)
        return device.ask(DEVICE), {}, None

    def prepare_for_eval(**arguments):
        return device.ask(8 * DEVICE), {}, None

    submission = SimpleNamespace(
        path="submission.py",
        batch_size=lambda *_: 1,
        eval_batch_size=lambda *_: 1,
        init_optimizer_state=lambda *_: 0.0,
        data_selection=lambda *_: None,
        update_params=update_params,
        prepare_for_eval=prepare_for_eval if prepares else None,
        takes_train_state=False,
    )
    definition = SimpleNamespace(
        name="toy",
        eval_batch_size=1,
        loss_type=None,
        target_metric_name="accuracy",
        test_target_value=None,
    )
    workload = SimpleNamespace(
        definition=definition,
        init_model_fn=lambda rng: ({}, 0.0),
        model_params_types=None,
        eval_model=lambda *_, **__: {"validation/accuracy": 0.0},
        has_reached_validation_target=lambda result: False,
        has_reached_test_target=lambda result: False,
    )
    return Trainer(workload, submission, device, None, seed=0), device


@pytest.mark.parametrize("prepares", [False, True])
def test_nothing_is_done_off_the_clock(prepares):
    time = Time()
    made, device = trainer(time, prepares)
    clock, progress = Clock(time), Progress()
    rules = Rules(1e9, eval_period_seconds=4.0, max_global_steps=16)
    run_trial(made, NoRecords(), clock, rules, progress)
    evaluations = len(progress.evals)
    assert evaluations >= 3
    assert clock.seconds["evaluation"] == 0.0  # no work was left to it
    work = 16 * (HOST + DEVICE) + prepares * evaluations * 8 * DEVICE
    assert clock.submission == clock.total == work


def test_one_step_over_the_budget_at_most():
    time = Time()
    made, device = trainer(time, prepares=False)
    clock, progress = Clock(time), Progress()
    reason = run_trial(made, NoRecords(), clock, Rules(5.5, 100.0), progress)
    assert reason == "budget_exhausted"
    assert device.most_ahead == DEVICE
    assert progress.step == 5
    assert clock.submission == 5 * (HOST + DEVICE)


def test_the_first_batch_is_made_before_the_clock_starts():
    time = Time()
    made, _ = trainer(time, prepares=False)
    asked = []

    def queue(batch_size, seed, *, workers, start):
        asked.append(("start", workers, start))
        return SimpleNamespace(get_ready=lambda: asked.append("ready"))

    made.workload.train_queue = queue
    made.workload.place = dict
    made.open_data(workers=3, start=7, evals=False)
    assert asked == [("start", 3, 7), "ready"]
