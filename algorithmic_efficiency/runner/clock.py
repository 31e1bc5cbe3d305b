"""One clock whose phases add up to the wall time, because every second has a phase."""

import time
from collections.abc import Callable, Mapping

PHASES = ("submission", "evaluation", "logging", "other")


class Clock:
    """Charges the time since the last switch to the phase that was running.

    The caller waits for the device before it switches; the clock itself only reads
    `now`. It starts in the phase 'other'.

    Attributes:
      seconds: phase -> seconds so far, without the running phase's last stretch.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.perf_counter,
        seconds: Mapping[str, float] | None = None,
    ) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.seconds.update(seconds or {})
        self._now = now
        self._phase = "other"
        self._mark = now()

    def switch(self, phase: str) -> None:
        """Ends the running phase and begins `phase`."""
        now = self._now()
        self.seconds[self._phase] += now - self._mark
        self._phase, self._mark = phase, now

    @property
    def submission(self) -> float:
        """Seconds charged to the submission: the time that scores."""
        return self.seconds["submission"]

    @property
    def total(self) -> float:
        """Seconds of all phases, resumed runs included."""
        return sum(self.seconds.values())
