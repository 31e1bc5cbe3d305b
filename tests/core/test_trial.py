import math

import pytest
from core_fakes import FakeTrainer, Time, run

from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.trial import (
    NoRecords,
    Progress,
    Rules,
    eval_due,
    run_trial,
    stop_reason,
)

MISSED, HIT = (False, False), (True, True)


# The budget.


@pytest.mark.parametrize(
    ("step", "steps"), [(1.0, 10), (3.0, 4), (4.0, 3), (10.0, 1), (25.0, 1)]
)
def test_budget_is_enforced_after_every_step(step, steps):
    never = Rules(budget_seconds=10.0, eval_period_seconds=1e9)
    fake, clock, progress, reason = run(never, steps=[step])
    assert reason == "budget_exhausted"
    assert progress.step == len(fake.seen("step")) == steps
    assert clock.submission == step * steps
    assert clock.submission - 10.0 < step
    assert fake.seen("evaluate") == []


def test_no_evaluation_after_the_step_that_uses_up_the_budget():
    # At 10 s an evaluation would be due too (the last one was at 6 s).
    fake, clock, _, reason = run(steps=[2.0])
    assert fake.seen("evaluate") == [2, 4]
    assert (reason, clock.submission) == ("budget_exhausted", 10.0)


def test_time_of_prepare_for_eval_is_charged_and_can_exhaust_the_budget():
    fake, clock, progress, reason = run(steps=[2.0], prepare_seconds=3.5)
    # 2 + 2 + 3.5 = 7.5 -> evaluation; 7.5 + 2 + 2 = 11.5 is beyond the budget.
    assert fake.seen("prepare") == [2]
    assert progress.last_eval_time == 7.5
    fake, clock, progress, reason = run(steps=[2.0], prepare_seconds=6.0)
    assert fake.seen("prepare") == [2]
    assert fake.seen("evaluate") == fake.recorder.recorded == progress.evals == []
    assert (reason, clock.submission, progress.step) == ("budget_exhausted", 10.0, 2)


def test_skipping_evaluations_still_obeys_the_budget():
    rules = Rules(budget_seconds=5.0, eval_period_seconds=1.0, skip_evals=True)
    fake, clock, progress, reason = run(rules, goals=[HIT])
    assert (reason, progress.step, clock.submission) == ("budget_exhausted", 5, 5.0)
    assert fake.seen("prepare") == fake.seen("evaluate") == progress.evals == []


# When to evaluate.


def test_first_evaluation_waits_for_a_period_and_the_next_count_from_it():
    fake, _, progress, _ = run(steps=[1.0])
    assert fake.seen("evaluate") == [3, 6, 9]
    fake, _, progress, _ = run(steps=[2.0, 0.5])
    # Seconds at the steps: 2, 2.5, 4.5 (due), 5, 7, 7.5 (due), 9.5, 10.
    assert fake.seen("evaluate") == [3, 6]
    assert progress.last_eval_time == 7.5


def test_evaluation_after_step_one_only_when_it_is_due():
    assert run(steps=[3.0])[0].seen("evaluate")[0] == 1
    assert run(steps=[2.75])[0].seen("evaluate")[0] == 2


@pytest.mark.parametrize("name", ["eval_seconds", "record_seconds", "show_seconds"])
def test_time_off_the_clock_moves_neither_evaluations_nor_the_budget(name):
    fake, clock, progress, reason = run(steps=[1.0], **{name: 100.0})
    assert fake.seen("evaluate") == [3, 6, 9]
    assert (progress.step, reason, clock.submission) == (10, "budget_exhausted", 10.0)
    phase = "evaluation" if name == "eval_seconds" else "logging"
    times = 10 if name == "show_seconds" else 3
    assert clock.seconds[phase] == 100.0 * times
    assert clock.total == fake.time.now - 1000.0 == 10.0 + 100.0 * times


def test_eval_due_is_a_function_of_submission_time():
    rules = Rules(budget_seconds=10.0, eval_period_seconds=3.0, max_global_steps=7)
    table = [
        (Progress(), 2.999, False),
        (Progress(), 3.0, True),
        (Progress(last_eval_time=4.0), 6.999, False),
        (Progress(last_eval_time=4.0), 7.0, True),
        (Progress(), 10.0, False),  # no time remains
        (Progress(training_complete=True), 0.5, True),
        (Progress(training_complete=True), 10.0, False),
        (Progress(step=7), 0.5, True),
        (Progress(step=7), 11.0, False),
        (Progress(diverged="fc.bias"), 5.0, False),
        (Progress(validation_goal_reached=True, test_goal_reached=True), 5.0, False),
        (Progress(validation_goal_reached=True), 5.0, True),
    ]
    for progress, seconds, due in table:
        assert eval_due(progress, seconds, rules) is due, (progress, seconds)
    skip = Rules(budget_seconds=10.0, eval_period_seconds=3.0, skip_evals=True)
    assert not any(eval_due(progress, seconds, skip) for progress, seconds, _ in table)


def test_stop_reason_is_a_table():
    rules = Rules(budget_seconds=10.0, eval_period_seconds=3.0, max_global_steps=7)
    both = {"validation_goal_reached": True, "test_goal_reached": True}
    table = [
        (Progress(), 9.999, ""),
        (Progress(), 10.0, "budget_exhausted"),
        (Progress(step=6), 0.0, ""),
        (Progress(step=7), 0.0, "max_global_steps"),
        (Progress(validation_goal_reached=True), 0.0, ""),
        (Progress(test_goal_reached=True), 0.0, ""),
        (Progress(**both), 0.0, "targets_reached"),
        (Progress(**both, training_complete=True), 11.0, "targets_reached"),
        (Progress(training_complete=True), 0.0, "training_complete"),
        (Progress(**both, diverged="x"), 0.0, "diverged"),
    ]
    for progress, seconds, reason in table:
        assert stop_reason(progress, seconds, rules) == reason, (progress, seconds)


# Goals and score.


def test_goals_stick_and_may_be_reached_in_different_evaluations():
    goals = [MISSED, (True, False), MISSED, (False, True), MISSED]
    rules = Rules(budget_seconds=100.0, eval_period_seconds=2.0)
    fake, clock, progress, reason = run(rules, goals=goals, eval_seconds=50.0)
    assert reason == "targets_reached"
    assert fake.seen("evaluate") == [2, 4, 6, 8]
    assert progress.step == 8
    assert progress.score == 4.0  # the second evaluation, by the submission clock


def test_score_is_the_first_time_the_validation_target_was_reached():
    rules = Rules(budget_seconds=20.0, eval_period_seconds=2.0)
    goals = [(False, True), (True, False)]
    _, _, progress, reason = run(rules, goals=goals, prepare_seconds=0.5)
    assert (reason, progress.score) == ("targets_reached", 2.5 + 2.0 + 0.5)
    _, _, progress, reason = run(rules, goals=[(True, False)])
    assert (reason, progress.score) == ("budget_exhausted", 2.0)


def test_score_is_inf_without_the_validation_target():
    _, _, progress, _ = run(goals=[(False, True)])
    assert progress.score == math.inf
    assert progress.test_goal_reached and not progress.validation_goal_reached


# Other ends.


def test_training_complete_counts_the_step_and_evaluates_once_more():
    fake, _, progress, reason = run(complete_at=1, goals=[(True, False)])
    assert reason == "training_complete"
    assert progress.training_complete
    assert progress.step == 2  # steps 0 and 1, the second raised
    assert fake.seen("evaluate") == [2]
    assert progress.score == 2.0


def test_targets_reached_in_the_final_evaluation_are_the_reason():
    _, _, progress, reason = run(complete_at=0, goals=[HIT])
    assert (reason, progress.step, progress.score) == ("targets_reached", 1, 1.0)


def test_training_complete_after_the_budget_has_no_free_evaluation():
    fake, clock, _, reason = run(steps=[1.0, 9.5], complete_at=1)
    assert (reason, clock.submission) == ("budget_exhausted", 10.5)
    assert fake.seen("evaluate") == []


@pytest.mark.parametrize(("limit", "evals"), [(1, [1]), (3, [3]), (5, [3, 5])])
def test_max_global_steps_ends_with_an_evaluation(limit, evals):
    rules = Rules(10.0, 3.0, max_global_steps=limit)
    fake, _, progress, reason = run(rules)
    assert (reason, progress.step) == ("max_global_steps", limit)
    assert fake.seen("evaluate") == evals


def test_other_errors_of_a_step_are_not_swallowed():
    time = Time()
    trainer = FakeTrainer(time)
    trainer.step = lambda progress, train_state: 1 / 0
    with pytest.raises(ZeroDivisionError):
        run_trial(trainer, NoRecords(), Clock(time), Rules(10.0, 3.0), Progress())


# Divergence.


def test_a_parameter_that_is_not_finite_ends_the_trial_with_a_row():
    fake, clock, progress, reason = run(bad_parameter=1, goals=[(True, False)])
    assert (reason, progress.diverged) == ("diverged", "fc.weight")
    assert progress.step == 6
    assert fake.seen("evaluate") == [3]  # the second is not worth its time
    (step, row), _ = fake.recorder.recorded[-1]
    assert step == 6
    assert row["accumulated_submission_time"] == 6.0
    assert "validation/accuracy" not in row


def test_a_metric_that_is_not_finite_ends_the_trial_with_its_row():
    fake, _, progress, reason = run(
        bad_metric=0, results=[{"validation/accuracy": math.nan, "train/loss": 0.1}]
    )
    assert (reason, progress.diverged) == ("diverged", "validation/accuracy")
    assert progress.score == math.inf
    (step, row), _ = fake.recorder.recorded[-1]
    assert (step, row["train/loss"]) == (3, 0.1)
    assert math.isnan(row["validation/accuracy"])


def test_an_evaluation_that_diverged_reaches_no_target():
    _, _, progress, reason = run(bad_metric=0, goals=[HIT])
    assert (reason, progress.score) == ("diverged", math.inf)
    assert not progress.validation_goal_reached
