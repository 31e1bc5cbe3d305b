"""How long a trial that hears no signal may hold up the run."""

import multiprocessing
import signal
import time
from types import SimpleNamespace

import pytest

from algorithmic_efficiency.runner import isolation

DOCKER_SECONDS = 10.0  # from `docker stop` until it kills


class Deaf:
    """A process in a compilation: it hears no signal, and dies when it is killed."""

    def __init__(self):
        self.sentinel, self._alive = multiprocessing.Pipe(duplex=False)
        self.killed = False

    def kill(self):
        self.killed = True
        self._alive.close()


@pytest.mark.parametrize("stopping", [True, False])
def test_a_process_that_hears_nothing_is_killed_in_time(monkeypatch, stopping):
    """One that has said that it is stopping, and may be writing, is left to end."""
    tenth = {
        name: getattr(isolation, name) / 10
        for name in ("_GRACE_SECONDS", "_LAST_SECONDS", "_LOOK_SECONDS")
    }
    for name, seconds in tenth.items():
        monkeypatch.setattr(isolation, name, seconds)
    process, signals, sent = Deaf(), isolation.Signals(), []
    monkeypatch.setattr(signals, "send", lambda number: sent.append(time.monotonic()))
    receiver, sender = multiprocessing.Pipe(duplex=False)
    began = time.monotonic()
    signals.number, signals.time = signal.SIGTERM, began
    watched = SimpleNamespace(outcome=None, stopping=False, hear=lambda *event: None)
    if stopping:
        watched.stopping = True
        sender.close()  # it has ended by itself
    isolation._listen(process, receiver, watched, signals)
    assert process.killed is not stopping
    assert len(sent) == (not stopping)
    if not stopping:
        assert sent[0] - began >= tenth["_GRACE_SECONDS"]
        assert time.monotonic() - sent[0] >= tenth["_LAST_SECONDS"]


def test_that_is_before_docker_kills():
    looks = 2 * isolation._LOOK_SECONDS
    longest = isolation._GRACE_SECONDS + isolation._LAST_SECONDS + looks
    assert longest < DOCKER_SECONDS
