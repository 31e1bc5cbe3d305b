"""A trial in a process of its own: whatever ends it, the study goes on.

The process tells what happens in lines of JSON: 'begun'; 'row', a row of measurements
that is not yet on disk, or null when all are; 'stopping', a signal has been understood;
'end', how it ended. Where the last one does not come, it has died.
"""

import contextlib
import ctypes
import dataclasses
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import connection, resource_tracker
from types import FrameType
from typing import Any

from algorithmic_efficiency.errors import UserError
from algorithmic_efficiency.runner.config import RunConfig
from algorithmic_efficiency.runner.outcome import Outcome
from algorithmic_efficiency.runner.post_mortem import (
    Watched,
    is_running,
    record_death,
)
from algorithmic_efficiency.runner.stopping import (
    FROM_PARENT,
    SIGNALS,
    Interrupted,
    Stop,
    blocked,
)
from algorithmic_efficiency.streams import readers_may_leave

# Together less than the 10 s after which Docker kills, since a compilation of JAX hears
# no signal and only the death of its process ends it.
_GRACE_SECONDS = 6.0  # for the step that is running when a signal comes
_LAST_SECONDS = 2.0  # after a second wish, until the process is killed
_LEAVE_SECONDS = 30.0  # for a process to end that has told how its trial ended
_LOOK_SECONDS = 0.5
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl


class Signals:
    """The signals that this process has received; it passes them on to a trial."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.time = 0.0
        self._pid: int | None = None

    @contextlib.contextmanager
    def caught(self) -> Iterator["Signals"]:
        """Catches the signals; one that is ignored, as under nohup, stays so."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {
            number: handler
            for number in SIGNALS
            if (handler := signal.getsignal(number)) is not signal.SIG_IGN
        }
        for number in before:
            signal.signal(number, self._hear)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def passed_to(self, pid: int) -> Iterator[None]:
        """Passes on to a process what comes, and what has come already."""
        self._pid = pid
        if self.number is not None:
            self.send(FROM_PARENT)
        try:
            yield
        finally:
            self._pid = None

    def send(self, number: int) -> None:
        """Sends a signal to the process that the signals are passed to."""
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.number is None:
            self.number, self.time = number, time.monotonic()
        self.send(FROM_PARENT)


def run_trial_apart(
    config: RunConfig, study: int, trial: int, signals: Signals
) -> Outcome:
    """Runs one trial in a fresh process and returns how it ended.

    A trial whose process dies is recorded as failed, or as interrupted where a signal
    was passed on to it.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(config, study, trial, sender))
    watched = Watched(config, study, trial)
    resource_tracker.ensure_running()  # or its start would unblock the signals
    with blocked():
        process.start()
    sender.close()
    assert process.pid is not None
    with signals.passed_to(process.pid), receiver:
        _listen(process, receiver, watched, signals)
        process.join(_LEAVE_SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
    outcome = watched.outcome
    asked = signals.number is not None or watched.stopping
    if outcome is None or (outcome.kind == "interrupted" and is_running(watched)):
        outcome = record_death(watched, process.exitcode, asked=asked)
    if outcome.kind == "interrupted" and signals.number is None:
        signals.number = signal.SIGTERM  # only the trial was told to stop
    return outcome


def _listen(
    process: Any,
    receiver: "connection.Connection",
    watched: Watched,
    signals: Signals,
) -> None:
    """Hears what a trial tells until it has ended; ends it when a signal asks so."""
    asked_again = 0.0
    while watched.outcome is None:
        ready = connection.wait([receiver, process.sentinel], _LOOK_SECONDS)
        if receiver in ready:
            try:
                watched.hear(*json.loads(receiver.recv_bytes()))
                continue
            except (EOFError, OSError, ValueError):
                return
        if process.sentinel in ready:
            return
        now = time.monotonic()
        if signals.number is None or watched.stopping:
            continue
        if asked_again and now > asked_again + _LAST_SECONDS:
            process.kill()
        elif not asked_again and now > signals.time + _GRACE_SECONDS:
            asked_again = now
            signals.send(FROM_PARENT)


def _child(config: RunConfig, study: int, trial: int, sender: Any) -> None:
    """Runs a trial in this process and tells how it ended."""
    _end_with_parent()
    with readers_may_leave():
        _run(config, study, trial, sender)


def _run(config: RunConfig, study: int, trial: int, sender: Any) -> None:
    with contextlib.suppress(OSError):  # for a debugger; multiprocessing closes it
        sys.stdin = open(0, closefd=False)  # noqa: PTH123, SIM115 - a number, and kept
    lock = threading.Lock()

    def tell(event: str, content: Any = None) -> None:
        line = json.dumps([event, content]).encode()
        with lock, contextlib.suppress(OSError):
            sender.send_bytes(line)

    from algorithmic_efficiency.runner.session import Session  # noqa: PLC0415 - heavy

    stop = Stop()
    try:
        with stop.at_once():
            stop.listen()
        outcome = Session(config, study, trial, stop, tell).run()
    except UserError as error:
        outcome = Outcome("refused", str(error))
    except Interrupted:
        outcome = Outcome("interrupted")
    tell("end", dataclasses.asdict(outcome))


def _end_with_parent() -> None:
    """Lets this process end with its parent, however that ends."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
