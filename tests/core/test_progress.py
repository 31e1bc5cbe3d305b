"""What a person reads while a trial runs, and after it."""

import io
import os
import pty
import re
import termios

import pytest
from core_fakes import Time, definition, run

from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.progress import (
    ProgressLine,
    evaluation_row,
    fitted,
    line_parts,
    why_missed,
)
from algorithmic_efficiency.runner.trial import Progress, Rules, eval_due

RULES = Rules(10.0, 3.0)
FULL = definition(
    validation_target_value=0.77431,
    max_allowed_runtime_sec=66_159,
    step_hint=195_999,
)
LATE = Rules(66_159.0, 510.0)
SPLITS = ("train", "validation", "test")


def result(metric=0.8765, loss=2.3456):
    got = {f"{split}/accuracy": metric for split in SPLITS}
    got |= {f"{split}/loss": loss for split in SPLITS}
    return got | {f"{split}/num_examples": 50_000.0 for split in SPLITS}


# The row of an evaluation.


def test_an_evaluation_is_one_row_with_every_split():
    row = evaluation_row(262, 20.25, result(0.25, 0.5), FULL)
    assert row == (
        "step 262  20.2 s  accuracy train 0.2500 val 0.2500 test 0.2500  loss 0.5"
    )
    assert len(evaluation_row(195_999, 66_158.9, result(), FULL)) <= 80
    assert len(evaluation_row(195_999, 66_158.9, result(loss=1.0 / 3), FULL)) <= 80


def test_a_row_does_without_what_there_is_not():
    assert evaluation_row(1, 2.0, {}, FULL) == "step 1  2.0 s"
    row = definition(target_metric_name="loss")
    got = evaluation_row(1, 2.0, {"validation/loss": 0.5}, row)
    assert got == "step 1  2.0 s  loss val 0.5000"


def said(**odd):
    stream = io.StringIO()
    line = ProgressLine(RULES, definition(), stream)
    diverged = odd.pop("diverged", None)
    evals = [(7, {"test/accuracy": 0.5, **odd})]
    line.evaluated(Progress(step=7, evals=evals, diverged=diverged), Clock(Time()))
    return stream.getvalue().splitlines()[1:]


def test_what_is_odd_about_an_evaluation_has_a_line_of_its_own():
    assert said() == said(**{"test/misfits": 0.0}) == []
    assert said(**{"test/misfits": 3.0}) == ["    test/misfits 3"]
    nan = {"train/loss": float("nan"), "test/loss": float("inf")}
    assert said(**nan) == ["    train/loss is nan, test/loss is inf"]
    assert said(diverged="fc.weight") == ["    DIVERGED: fc.weight is not finite"]


# The line.


def test_the_line_says_how_far_everything_is():
    evals = [(step, result(value)) for step, value in ((5, 0.25), (9, 0.75), (12, 0.5))]
    parts = line_parts(
        Progress(step=812, evals=evals), 20_000.4, LATE, FULL, {"loss": 0.12345}
    )
    assert parts == [
        "step 812/195,999",
        "20,000/66,159 s",
        "accuracy 0.7500/0.77431",
        "loss 0.123",
    ]
    assert line_parts(Progress(), 0.0, RULES, definition(), {}) == [
        "step 0/100",
        "0/10 s",
    ]
    less = definition(target_metric_name="loss", validation_target_value=0.5)
    progress = Progress(evals=[(1, result(loss=0.75)), (2, result(loss=float("nan")))])
    assert "loss 0.7500/0.5" in line_parts(progress, 0.0, RULES, less, {})


@pytest.mark.parametrize("columns", [200, 80, 60, 30, 10])
def test_what_has_no_room_is_left_out_but_not_what_goes_on(columns):
    progress = Progress(step=123_456, evals=[(1, result())])
    parts = line_parts(progress, 66_158.0, LATE, FULL, {"loss": 12.0})
    line = fitted([*parts, "compiling, evaluating"], columns)
    assert len(line) <= columns
    assert line.endswith("compiling, evaluating"[: min(columns, 21)])
    assert line.startswith("step 123,456/195,999") == (columns >= 60)


def drawn(columns):
    """Returns all lines that a terminal of this width is asked to show."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, columns))
    with os.fdopen(follower, "w") as stream:
        line = ProgressLine(LATE, FULL, stream)
        clock = Clock(Time(), {"submission": 66_158.0})
        progress = Progress(step=123_456, evals=[(1, result())])
        line.announce("compiling", progress, clock)
        line.show(progress, clock, {"loss": 12.0})
        line.announce("compiling, evaluating", progress, clock)
        progress.evals.append((195_999, result()))
        line.evaluated(progress, clock)
        line.show(progress, clock, {"loss": 12.0})
        line.close()
        print("END", file=stream, flush=True)
        text = b""
        while b"END" not in text:
            text += os.read(leader, 100_000)
    os.close(leader)
    parts = re.split(r"\r\n|\r|\n", text.decode().partition("END")[0])
    return [part for part in parts if part.strip()]


@pytest.mark.parametrize("columns", [80, 60])
def test_everything_fits_a_real_terminal(columns):
    lines = drawn(columns)
    rows = [line for line in lines if " val " in line]
    assert len(rows) == 1 and len(rows[0]) <= 80
    assert all(len(line) <= columns for line in lines if line not in rows)
    assert any("compiling |" in line for line in lines)
    assert any("compiling, evaluating |" in line for line in lines)
    assert any("accuracy 0.8765/0.77431" in line for line in lines) or columns < 80
    assert all("123,456/195,999" in line for line in lines if "|" in line)


# What a miss was.


@pytest.mark.parametrize(
    ("progress", "seconds", "words"),
    [
        (Progress(step=812), 10.0,
         "Missed, no evaluation, target 0.5: the budget of 10 s ended at step 812 of "
         "7,813 (0.0123 s a step); all steps would take 96 s on this machine."),
        (Progress(step=8000, evals=[(7, result(0.25)), (8, result(0.125))]), 10.5,
         "Missed, best accuracy 0.2500, target 0.5: the budget ended after all 7,813 "
         "steps of the hint, at step 8,000."),
        (Progress(step=5), 2.0,
         "Missed, no evaluation, target 0.5: the training ended at step 5 of 7,813 "
         "(0.4 s a step) with time remaining."),
        (Progress(step=0), 0.0,
         "Missed, no evaluation, target 0.5: the training ended at step 0 of 7,813 "
         "(0 s a step) with time remaining."),
        (Progress(step=5, diverged="fc.weight"), 2.0,
         "Missed, no evaluation, target 0.5: it diverged at step 5 of 7,813 (0.4 s a "
         "step)."),
    ],
)  # fmt: skip
def test_a_miss_says_why(progress, seconds, words):
    assert why_missed(progress, seconds, RULES, definition(step_hint=7_813)) == words


# What is announced, and how often a busy machine evaluates.


def test_the_loop_announces_the_first_step_and_every_evaluation():
    fake, *_ = run(steps=[2.0])
    told = [(what, step) for what, step in fake.events if what.startswith("announce")]
    assert told == [
        ("announce step", 0),
        ("announce evaluation", 2),
        ("announce evaluation", 4),
    ]
    assert fake.events.index(told[1]) == fake.events.index(("evaluate", 2)) - 1


@pytest.mark.parametrize(
    ("grows", "seconds", "at"),
    [
        (True, 2.0, [3, 6, 9]),  # shorter than the period of 3 s
        (True, 4.0, [3, 7]),
        (True, 100.0, [3]),
        (False, 100.0, [3, 6, 9]),
    ],
)
def test_at_mini_scale_long_evaluations_are_made_less_often(grows, seconds, at):
    rules = Rules(10.0, 3.0, period_grows=grows)
    fake, _, progress, _ = run(rules, steps=[1.0], eval_seconds=seconds)
    assert fake.seen("evaluate") == at
    assert progress.last_eval_seconds == seconds
    resumed = Progress(last_eval_time=4.0, last_eval_seconds=5.0)
    assert eval_due(resumed, 8.0, rules) is not grows
    assert eval_due(resumed, 9.0, rules)
