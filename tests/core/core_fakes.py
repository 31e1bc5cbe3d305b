"""A made-up clock, a trainer that only spends made-up time, and a tiny workload."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from algorithmic_efficiency.data import Dataset
from algorithmic_efficiency.definition import Definition, Evaluate, Field
from algorithmic_efficiency.errors import TrainingCompleteError
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.trial import Progress, Rules, run_trial


class Time:
    """A clock that moves only when told to; eighths of seconds add up exactly."""

    def __init__(self, start=1000.0):
        self.now = start

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@dataclasses.dataclass
class FakeTrainer:
    """Spends the given seconds and remembers what the loop asked for.

    `results` and `goals` are per evaluation, the last one again when there are more;
    `bad` names the evaluation (from 0) with a NaN, and where it is.
    """

    time: Time
    steps: Sequence[float] = (1.0,)
    prepare_seconds: float = 0.0
    eval_seconds: float = 0.0
    results: Sequence[Mapping[str, float]] = ({"validation/accuracy": 0.5},)
    goals: Sequence[tuple[bool, bool]] = ((False, False),)
    complete_at: int | None = None
    bad_parameter: int | None = None
    bad_metric: int | None = None
    recorder: "FakeRecorder | None" = None

    def __post_init__(self):
        self.states = []
        self.events = []
        self.evaluations = 0

    def step(self, progress, train_state):
        self.states.append(dict(train_state))
        self.time.sleep(self.steps[progress.step % len(self.steps)])
        self.events.append(("step", progress.step))
        if progress.step == self.complete_at:
            raise TrainingCompleteError

    def prepare_for_eval(self, progress):
        self.time.sleep(self.prepare_seconds)
        self.events.append(("prepare", progress.step))

    def evaluate(self, progress):
        self.time.sleep(self.eval_seconds)
        self.events.append(("evaluate", progress.step))
        return dict(_at(self.results, len(progress.evals)))

    def reached(self, result):
        return _at(self.goals, self.evaluations - 1)

    def diverged(self, result):
        if result is None:  # the first question of an evaluation
            self.evaluations += 1
        number = self.evaluations - 1
        if result is None:
            return "fc.weight" if number == self.bad_parameter else None
        return "validation/accuracy" if number == self.bad_metric else None

    def seen(self, kind):
        """Returns the global steps at which something of this kind happened."""
        return [step for event, step in self.events if event == kind]


@dataclasses.dataclass
class FakeRecorder:
    """Spends the given seconds and remembers what it was told."""

    time: Time
    events: list = dataclasses.field(default_factory=list)
    record_seconds: float = 0.0
    show_seconds: float = 0.0

    def __post_init__(self):
        self.recorded = []

    def record(self, progress, clock):
        self.time.sleep(self.record_seconds)
        self.recorded.append((progress.evals[-1], clock.submission))

    def announce(self, what, progress, clock):
        self.events.append((f"announce {what}", progress.step))

    def show(self, progress, clock):
        self.time.sleep(self.show_seconds)


def _at(values, index):
    return values[min(index, len(values) - 1)]


def run(
    rules=None,
    progress=None,
    seconds=None,
    *,
    record_seconds=0.0,
    show_seconds=0.0,
    **trainer,
):
    """Returns (trainer, clock, progress, reason) of a trial in made-up time.

    The trainer's `recorder` is what was told of the trial.
    """
    rules = rules or Rules(budget_seconds=10.0, eval_period_seconds=3.0)
    time = Time()
    fake = FakeTrainer(time, **trainer)
    fake.recorder = FakeRecorder(time, fake.events, record_seconds, show_seconds)
    clock = Clock(time, seconds)
    progress = progress or Progress()
    reason = run_trial(fake, fake.recorder, clock, rules, progress)
    return fake, clock, progress, reason


def definition(**changes):
    """Returns a workload of three classes with 23, 17 and 11 examples to evaluate."""
    base = Definition(
        name="toy",
        package="nowhere",
        data="nowhere",
        model={},
        initial=(),
        output_layer="fc",
        fields={"inputs": Field((3,), "float32"), "targets": Field((), "int32")},
        data_arguments={},
        loss="softmax_cross_entropy",
        evaluations=(Evaluate(("accuracy", "loss")),),
        target_metric_name="accuracy",
        validation_target_value=0.5,
        test_target_value=0.5,
        num_train_examples=100,
        num_eval_train_examples=23,
        num_validation_examples=17,
        num_test_examples=11,
        eval_batch_size=4,
        max_allowed_runtime_sec=10,
        eval_period_time_sec=3,
        step_hint=100,
    )
    return dataclasses.replace(base, **changes)


def dataset(size, seed=0):
    """Returns a split of random logits with random targets."""
    random = np.random.default_rng(seed)
    examples = [
        {
            "inputs": random.standard_normal(3).astype(np.float32),
            "targets": np.int32(random.integers(3)),
        }
        for _ in range(size)
    ]
    return Dataset(examples, _element, _finish)


def _element(example, random):
    return example


def _finish(fields):
    return dict(fields)
