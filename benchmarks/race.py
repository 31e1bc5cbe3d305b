"""Times steps of several candidates in turns, each in a process of its own.

Process settings are part of what is measured; turns make load from outside hit all
candidates alike.
"""

import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

Step = Callable[[], None]
Seconds = dict[str, float]  # 'wall_s' and 'cpu_s' of a step
CLOCKS = ("wall_s", "cpu_s")


def race(
    candidates: Sequence[Callable[..., Step]], arguments: tuple[Any, ...], steps: int
) -> list[list[Seconds]]:
    """Returns the seconds of each candidate's steps; prints a line for each.

    Args:
      candidates: functions of a module, which make a step from `arguments`.
      arguments: the same for all.
      steps: how many are timed, after a first one.
    """
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for candidate in candidates:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(candidate, arguments, theirs))
        process.start()
        first = ours.recv()
        print_line(candidate=candidate.__name__, first_step_wall_s=first["wall_s"])
        pipes.append(ours)
        processes.append(process)
    seconds: list[list[Seconds]] = [[] for _ in candidates]
    for turn in range(steps):
        order = list(zip(pipes, seconds, strict=True))
        for pipe, record in order if turn % 2 == 0 else reversed(order):
            pipe.send("step")
            record.append(pipe.recv())
    for candidate, pipe, record in zip(candidates, pipes, seconds, strict=True):
        pipe.send("stop")
        summary: dict[str, Any] = {"candidate": candidate.__name__}
        for clock in CLOCKS:
            values = [second[clock] for second in record]
            summary[f"median_{clock}"] = statistics.median(values)
            summary[f"min_{clock}"] = min(values)
        print_line(**summary, peak_mb=pipe.recv())
    for process in processes:
        process.join()
    return seconds


def ratios(above: list[Seconds], below: list[Seconds]) -> dict[str, float]:
    """Returns, for each clock, the median ratio of the steps of one turn."""
    pairs = list(zip(above, below, strict=True))
    return {
        clock: statistics.median(a[clock] / b[clock] for a, b in pairs)
        for clock in CLOCKS
    }


def print_line(**values: Any) -> None:
    """Prints a JSON line, numbers to three decimals."""
    rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in values.items()}
    print(json.dumps(rounded), flush=True)


def _serve(
    candidate: Callable[..., Step], arguments: tuple[Any, ...], pipe: Connection
) -> None:
    """Makes one candidate's step, then times it once per message."""
    step: Step | None = None
    message = "step"
    while message == "step":
        wall, cpu = time.perf_counter(), time.process_time()
        step = step or candidate(*arguments)
        step()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        pipe.send({"wall_s": wall, "cpu_s": cpu})
        message = pipe.recv()
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
