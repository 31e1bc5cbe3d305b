"""Times several tasks in turns, so that a busy moment falls on all of them."""

import statistics
import time
from collections.abc import Callable


def median_seconds(
    tasks: dict[str, Callable[[], object]], rounds: int
) -> dict[str, float]:
    """Returns the median seconds of this thread's CPU time that each task takes."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            start = time.thread_time()
            task()
            seconds[name].append(time.thread_time() - start)
    return {name: statistics.median(row) for name, row in seconds.items()}
