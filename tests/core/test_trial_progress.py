import math

import pytest
from core_fakes import FakeTrainer, Time, run
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.trial import (
    NoRecords,
    Progress,
    Rules,
    run_trial,
    stop_reason,
)

STATE_NAMES = {
    "validation_goal_reached",
    "test_goal_reached",
    "is_time_remaining",
    "last_eval_time",
    "training_complete",
    "accumulated_submission_time",
    "accumulated_eval_time",
    "accumulated_logging_time",
    "last_step_end_time",
}
MISSED, HIT = (False, False), (True, True)
EIGHTHS = st.integers(1, 80).map(lambda n: n / 8)


# What is recorded, and what submissions see.


def test_rows_have_the_times_of_the_public_columns():
    fake, _, progress, _ = run(
        steps=[2.0], prepare_seconds=0.5, eval_seconds=8.0, record_seconds=4.0,
        show_seconds=1.0,
    )  # fmt: skip
    first, second = (row for _, row in progress.evals)
    assert first == {
        "validation/accuracy": 0.5,
        "score": 4.5,
        "total_duration": 4.5 + 8.0 + 2.0,
        "accumulated_submission_time": 4.5,
        "accumulated_eval_time": 8.0,
        "accumulated_logging_time": 2.0,
    }
    assert second["score"] == second["accumulated_submission_time"] == 9.0
    assert second["accumulated_logging_time"] == 4.0 + 4 * 1.0  # before this logging
    assert [entry for entry, _ in fake.recorder.recorded] == progress.evals


def test_train_state_is_read_only_and_has_the_public_names():
    seen = []
    time = Time()
    trainer = FakeTrainer(time)

    def step(progress, train_state):
        with pytest.raises(TypeError):
            train_state["is_time_remaining"] = True
        seen.append(train_state)
        time.sleep(1.0)

    trainer.step = step
    run_trial(trainer, NoRecords(), Clock(time), Rules(2.0, 9.0), Progress())
    assert all(set(state) == STATE_NAMES for state in seen)
    assert [state["accumulated_submission_time"] for state in seen] == [0.0, 1.0]


def test_train_state_follows_the_trial():
    fake, *_ = run(
        steps=[2.0], eval_seconds=4.0, record_seconds=0.5, goals=[(True, False)]
    )
    assert len(fake.states) == 5
    assert fake.states[0] == {
        "validation_goal_reached": False,
        "test_goal_reached": False,
        "is_time_remaining": True,
        "last_eval_time": 0.0,
        "training_complete": False,
        "accumulated_submission_time": 0.0,
        "accumulated_eval_time": 0.0,
        "accumulated_logging_time": 0.0,
        "last_step_end_time": 0.0,
    }
    assert fake.states[3] == {
        **fake.states[0],
        "validation_goal_reached": True,
        "last_eval_time": 4.0,
        "accumulated_submission_time": 6.0,
        "accumulated_eval_time": 4.0,
        "accumulated_logging_time": 0.5,
        "last_step_end_time": 6.0,
    }


def test_a_resumed_trial_goes_on_where_it_was():
    straight, _, whole, _ = run(steps=[1.0], goals=[MISSED, MISSED, HIT])
    half = Progress(step=4, last_eval_time=3.0, evals=list(whole.evals[:1]))
    fake, clock, progress, reason = run(
        steps=[1.0], goals=[MISSED, HIT], progress=half, seconds={"submission": 4.0}
    )
    assert progress is half
    assert fake.seen("step") == straight.seen("step")[4:]
    assert fake.seen("evaluate") == straight.seen("evaluate")[1:]
    assert (reason, progress.score) == ("targets_reached", 9.0)
    assert whole.score == 9.0
    assert [step for step, _ in progress.evals] == [3, 6, 9]
    assert clock.submission == 9.0


@pytest.mark.parametrize(
    ("progress", "seconds", "reason"),
    [
        (Progress(step=3), {"submission": 10.0}, "budget_exhausted"),
        (Progress(step=3, diverged="fc.bias"), None, "diverged"),
        (
            Progress(step=3, training_complete=True, evals=[(3, {})]),
            None,
            "training_complete",
        ),
    ],
)
def test_a_resumed_trial_that_had_ended_makes_no_step(progress, seconds, reason):
    fake, _, _, got = run(progress=progress, seconds=seconds)
    assert got == reason
    assert fake.events == []


# Laws that hold for any timing.


@settings(max_examples=150, deadline=None)
@given(
    budget=EIGHTHS,
    period=EIGHTHS,
    steps=st.lists(EIGHTHS, min_size=1, max_size=5),
    rest=st.lists(EIGHTHS, min_size=4, max_size=4),
    goals=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=4),
    limit=st.none() | st.integers(1, 6),
)
def test_any_trial_keeps_the_rules(budget, period, steps, rest, goals, limit):
    prepare, evaluate, record, show = rest
    rules = Rules(budget, period, max_global_steps=limit)
    fake, clock, progress, reason = run(
        rules, steps=steps, goals=goals, prepare_seconds=prepare,
        eval_seconds=evaluate, record_seconds=record, show_seconds=show,
    )  # fmt: skip
    made, evals = progress.step, len(fake.seen("evaluate"))
    on_steps = sum(steps[i % len(steps)] for i in range(made))
    assert clock.total == fake.time.now - 1000.0
    assert clock.submission == on_steps + prepare * len(fake.seen("prepare"))
    assert clock.seconds["evaluation"] == evaluate * evals
    assert clock.seconds["logging"] == record * evals + show * made
    assert clock.submission - budget < max(*steps, prepare)
    assert len(progress.evals) == len(fake.recorder.recorded) == evals
    times = [row["score"] for _, row in progress.evals]
    assert all(time < budget for time in times)
    reached = [goals[min(i, len(goals) - 1)][0] for i in range(evals)]
    hits = [time for time, hit in zip(times, reached, strict=True) if hit]
    assert progress.score == min(hits, default=math.inf)
    assert reason == stop_reason(progress, clock.submission, rules) != ""
