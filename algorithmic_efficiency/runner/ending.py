"""The last words of a trial: why it failed, what it took, its picture."""

import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

from algorithmic_efficiency.definition import Definition
from algorithmic_efficiency.errors import StorageError
from algorithmic_efficiency.runner import curves, failures, metadata, records
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.config import RunConfig
from algorithmic_efficiency.runner.rules import rules_of
from algorithmic_efficiency.runner.run_record import submission_name
from algorithmic_efficiency.runner.trial import Progress
from algorithmic_efficiency.text import show


def explain(error: BaseException, submission: Path, folder: Path) -> None:
    """Shows why a trial failed, and leaves the traceback in its folder."""
    place = failures.where(error, submission)
    words = failures.told(error).rstrip().removesuffix(".")
    words += f" ({place})" * bool(place)
    text = "".join(traceback.format_exception(error))
    path = folder / "traceback.txt"
    try:
        records.write_text(path, text)
        more = f"The whole traceback is in {path}."
    except StorageError as full:
        more = f"{full}\n{text}"
    show(f"The trial failed: {words}. {more}", sys.stderr)


def draw(
    config: RunConfig, definition: Definition, folder: Path, progress: Progress
) -> None:
    """Draws the evaluations of a trial, if there are any."""
    if not progress.evals:
        return
    title = f"{config.workload}, {config.framework}, {submission_name(config)}"
    budget = rules_of(config, definition).budget_seconds
    try:
        curves.draw(folder / "curves.png", definition, title, progress, budget)
    except Exception as error:  # noqa: BLE001 - a picture is no reason to fail
        show(f"curves.png was not drawn ({failures.told(error)}).", sys.stderr)


def profile(seconds_in: Mapping[str, float], steps: int) -> str:
    """Returns lines on the time of every part of a step."""
    each = 1e3 / max(steps, 1)
    return "\n".join(
        f"{part}: {seconds:.2f} s, {seconds * each:.2f} ms a step"
        for part, seconds in seconds_in.items()
    )


def summary(end: str, progress: Progress, clock: Clock) -> str:
    """Returns the line that ends a trial."""
    phases = " + ".join(f"{name} {s:.1f}" for name, s in clock.seconds.items())
    peak = metadata.peak_memory_bytes() / 2**30
    return (
        f"{end} after {progress.step} steps. Wall {clock.total:.1f} s = {phases}. "
        f"Peak memory {peak:.2f} GiB."
    )
