"""A trial that a signal ends goes on later as if nothing had been."""

import copy
import os
import signal

import pytest
from core_fakes import FakeRecorder, FakeTrainer, Time

from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.stopping import FROM_PARENT, Interrupted, Stop
from algorithmic_efficiency.runner.trial import INTERRUPTED, Progress, Rules, run_trial

RULES = Rules(budget_seconds=100.0, eval_period_seconds=3.0, max_global_steps=7)


class Broken(Interrupted):
    def __init__(self):
        super().__init__(whole=True)


def run(progress, seconds, stop_after=None, broken=None):
    """Returns (fake, clock, progress, reason); a stop is requested after n steps."""
    time = Time()
    fake = FakeTrainer(time, prepare_seconds=0.5)
    if broken is not None:
        evaluate = fake.evaluate

        def breaking(progress):
            if progress.step == broken:
                raise Broken
            return evaluate(progress)

        fake.evaluate = breaking
    clock = Clock(time, seconds)
    steps = lambda: len(fake.seen("step"))  # noqa: E731 - shorter than a function
    try:
        reason = run_trial(
            fake,
            FakeRecorder(time),
            clock,
            RULES,
            progress,
            lambda: stop_after is not None and steps() >= stop_after,
        )
    except Broken:
        reason = INTERRUPTED
    clock.switch("other")
    return fake, clock, progress, reason


@pytest.mark.parametrize("place", [*range(8), "first evaluation", "last evaluation"])
def test_a_stopped_trial_goes_on_as_if_nothing_had_been(place):
    whole, clock, progress, reason = run(Progress(), None)
    assert reason == "max_global_steps"
    assert [step for step, _ in progress.evals] == [3, 6, 7]
    if isinstance(place, int):
        first, first_clock, half, end = run(Progress(), None, stop_after=place)
        assert len(first.seen("step")) == place
    else:
        broken = {"first evaluation": 3, "last evaluation": 7}[place]
        first, first_clock, half, end = run(Progress(), None, broken=broken)
    assert end == INTERRUPTED
    saved = copy.deepcopy((half, first_clock.seconds))
    second, second_clock, after, end = run(*saved)
    assert end == "max_global_steps"
    assert first.events + second.events == whole.events
    assert after.evals == progress.evals
    assert second_clock.submission == clock.submission


def test_a_trial_that_has_ended_by_itself_is_not_interrupted():
    assert run(Progress(), None, stop_after=8)[3] == "max_global_steps"


@pytest.fixture
def stop():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, FROM_PARENT)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:  # whoever started the tests may ignore some
        signal.signal(number, signal.SIG_DFL)
    stop = Stop()
    stop.listen()
    yield stop
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_wish_that_comes_twice_waits_for_the_step(stop, number):
    send(number)
    send(FROM_PARENT)  # the same wish, passed on
    assert stop.requested()
    with pytest.raises(Interrupted) as caught:
        send(number)
    assert not caught.value.whole


def test_where_the_state_is_whole_a_signal_breaks_off_at_once(stop):
    with pytest.raises(Interrupted) as caught, stop.at_once():
        send(signal.SIGTERM)
        pytest.fail("went on")
    assert caught.value.whole
    with pytest.raises(Interrupted), stop.at_once():
        pytest.fail("went on though the signal came before")


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    others = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        stop = Stop()
        stop.listen()
        send(signal.SIGHUP)
        assert not stop.requested()
    finally:
        signal.signal(signal.SIGHUP, before)
        signal.signal(FROM_PARENT, signal.SIG_DFL)
        for number, handler in others.items():
            signal.signal(number, handler)
