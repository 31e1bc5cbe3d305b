"""Ends a trial early when a signal asks for it, with its state whole.

The first signal is a wish that the trial loop looks at after each step; where the state
of a trial is whole anyway, as in an evaluation, it breaks off at once. The second one
breaks off wherever the trial is.
"""

import collections
import contextlib
import signal
import threading
from collections.abc import Iterator

# What other processes, the terminal or a queue system send. SIGHUP is a lost terminal.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# How the parent passes a signal on. A number of its own, because a terminal and some
# queue systems send their signal to the child as well: that is one wish, not two.
FROM_PARENT = signal.SIGUSR1


class Interrupted(BaseException):
    """A signal has asked for the end; no `except Exception` holds it up.

    Attributes:
      whole: the state of the trial is that after a step, so it can be saved.
    """

    def __init__(self, *, whole: bool) -> None:
        super().__init__()
        self.whole = whole


class Stop:
    """The wish to stop."""

    def __init__(self) -> None:
        self._counts: collections.Counter[bool] = collections.Counter()
        self._breaks_off = False

    def requested(self) -> bool:
        """Says whether a signal has come."""
        return bool(self._counts)

    def listen(self) -> None:
        """Takes over the signals; those that the parent has blocked may come now.

        One that is ignored, as SIGHUP under nohup, stays so.
        """
        for number in (*SIGNALS, FROM_PARENT):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._hear)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*SIGNALS, FROM_PARENT})

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Lets a signal break off what is inside.

        Raises:
          Interrupted: with a whole state, also where the signal came before.
        """
        before, self._breaks_off = self._breaks_off, True
        try:
            if self.requested():
                raise Interrupted(whole=True)
            yield
        finally:
            self._breaks_off = before

    def _hear(self, number: int, frame: object) -> None:
        del frame
        origin = number == FROM_PARENT
        self._counts[origin] += 1
        if self._breaks_off or self._counts[origin] > 1:
            raise Interrupted(whole=self._breaks_off)


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Holds the signals back, in this process and in one that is started inside."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*SIGNALS, FROM_PARENT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
