import itertools

import pytest
from core_fakes import Time
from hypothesis import given
from hypothesis import strategies as st

from algorithmic_efficiency.runner.clock import PHASES, Clock

EIGHTHS = st.integers(0, 80).map(lambda n: n / 8)


def test_every_second_is_charged_to_the_phase_that_was_running():
    time = Time()
    clock = Clock(time)
    for phase, seconds in [
        ("submission", 1.0),  # what follows `switch` counts for the new phase
        ("evaluation", 2.0),
        ("submission", 4.0),
        ("logging", 8.0),
        ("other", 16.0),
    ]:
        clock.switch(phase)
        time.sleep(seconds)
    clock.switch("other")
    assert clock.seconds == {
        "submission": 5.0,
        "evaluation": 2.0,
        "logging": 8.0,
        "other": 16.0,
    }
    assert clock.submission == 5.0
    assert clock.total == time.now - 1000.0


def test_time_before_the_first_switch_is_other():
    time = Time()
    clock = Clock(time)
    time.sleep(0.5)
    clock.switch("submission")
    assert clock.seconds["other"] == 0.5
    assert clock.submission == 0.0


def test_a_restored_clock_goes_on_and_does_not_count_the_pause():
    time = Time()
    clock = Clock(time, {"submission": 3.0, "logging": 0.25})
    time.sleep(1.0)
    clock.switch("submission")
    time.sleep(2.0)
    clock.switch("logging")
    assert clock.submission == 5.0
    assert clock.seconds["logging"] == 0.25
    assert clock.total == 3.0 + 0.25 + 1.0 + 2.0


def test_restoring_copies_the_seconds():
    time, saved = Time(), {"submission": 3.0}
    clock = Clock(time, saved)
    clock.switch("submission")
    time.sleep(1.0)
    clock.switch("other")
    assert saved == {"submission": 3.0}


def test_switching_to_the_running_phase_loses_and_invents_nothing():
    time = Time()
    clock = Clock(time)
    clock.switch("submission")
    for _ in range(8):
        time.sleep(0.125)
        clock.switch("submission")
    assert clock.submission == 1.0
    assert clock.total == 1.0


def test_a_phase_inside_another_is_taken_out_of_it():
    time = Time()
    clock = Clock(time)

    def logging():
        clock.switch("logging")
        time.sleep(0.5)
        clock.switch("submission")

    clock.switch("submission")
    time.sleep(1.0)
    logging()
    time.sleep(2.0)
    clock.switch("other")
    assert (clock.submission, clock.seconds["logging"]) == (3.0, 0.5)


@given(st.lists(st.tuples(st.sampled_from(PHASES), EIGHTHS), max_size=30))
def test_phases_add_up_to_the_wall_exactly(switches):
    time = Time(0.0)
    clock = Clock(time)
    expected = dict.fromkeys(PHASES, 0.0)
    for phase, seconds in switches:
        clock.switch(phase)
        time.sleep(seconds)
        expected[phase] += seconds
    clock.switch("other")
    assert clock.seconds == expected
    assert clock.total == time.now


def test_the_real_clock_never_goes_back():
    clock = Clock()
    totals = []
    for phase in itertools.islice(itertools.cycle(PHASES), 50):
        clock.switch(phase)
        totals.append(clock.total)
    assert totals == sorted(totals)
    assert all(seconds >= 0.0 for seconds in clock.seconds.values())


def test_a_phase_that_does_not_exist_is_an_error():
    clock = Clock(Time())
    clock.switch("coffee")
    with pytest.raises(KeyError, match="coffee"):
        clock.switch("other")
