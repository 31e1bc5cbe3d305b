"""Records the end of a trial whose process could not do it itself."""

import contextlib
import faulthandler
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from algorithmic_efficiency.errors import StorageError, UserError
from algorithmic_efficiency.runner import failures, records
from algorithmic_efficiency.runner.config import RunConfig
from algorithmic_efficiency.runner.folder import empty, locked
from algorithmic_efficiency.runner.outcome import Outcome
from algorithmic_efficiency.runner.rules import definition_of, rules_of
from algorithmic_efficiency.runner.run_record import RunRecord, describe, read_run
from algorithmic_efficiency.runner.trial import INTERRUPTED
from algorithmic_efficiency.text import show

_EVENTS = Path("/sys/fs/cgroup/memory.events")
_FAULTS = "faults.txt"


class Watched:
    """What a process has told of the trial that it runs.

    Attributes:
      begun: the trial is recorded as running.
      stopping: it has understood a signal.
      outcome: how the trial ended, once that is told.
      rows: (step, scalars) that were logged and are not yet on disk.
      kills: processes of ours that the system had killed for memory, at the start.
    """

    def __init__(self, config: RunConfig, study: int, trial: int) -> None:
        self.config = config
        self.study = study
        self.trial = trial
        self.folder = config.trial_folder(study, trial)
        self.begun = False
        self.stopping = False
        self.outcome: Outcome | None = None
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.kills = memory_kills()

    def hear(self, event: str, content: Any) -> None:
        """Takes in what the process has told."""
        if event == "row":
            if content is None:
                self.rows.clear()
            else:
                self.rows.append(tuple(content))
        elif event == "end":
            self.outcome = Outcome(**content)
        else:
            self.begun |= event == "begun"
            self.stopping |= event == "stopping"


def memory_kills() -> int:
    """Returns how many of our container's processes were killed for memory so far."""
    with contextlib.suppress(OSError, ValueError):
        for line in _EVENTS.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0


def is_running(watched: Watched) -> bool:
    """Says whether run.json still says that the trial runs."""
    try:
        return read_run(watched.folder).get("status") == "running"
    except StorageError:
        return False


def record_death(watched: Watched, code: int | None, *, asked: bool) -> Outcome:
    """Records the end of a trial whose process has died; returns how it ended.

    What was recorded before stays, and what was logged since is added.

    Args:
      watched: what it told.
      code: its exit code, below 0 the signal.
      asked: it was told to stop.
    """
    status, reason, words = "interrupted", INTERRUPTED, ""
    if not asked:
        memory = memory_kills() > watched.kills
        status, (reason, words) = "failed", failures.died(code, memory=memory)
    elif not watched.begun:
        return Outcome("interrupted")
    trace = ""
    with contextlib.suppress(UserError, OSError), locked(watched.folder):
        if watched.config.overwrite and not watched.begun:
            empty(watched.folder)
        _write(watched, status, reason, words)
        trace = _keep_faults(watched.folder)
    if not asked:
        show(f"The trial failed: {words}.{trace}", sys.stderr)
    return Outcome(status)


def _write(watched: Watched, status: str, reason: str, words: str) -> None:
    config, folder = watched.config, watched.folder
    definition = definition_of(config)
    facts = describe(config, definition, rules_of(config, definition))
    point = config.point(watched.study, watched.trial)
    facts |= {"study": watched.study, "trial": watched.trial, "hyperparameters": point}
    run = RunRecord(folder, facts)
    with contextlib.suppress(StorageError):
        run.before = read_run(folder)
    run.write(status, reason, words)
    if watched.rows:
        table = records.Table.read(folder / "measurements.csv", math.inf)
        for step, scalars in watched.rows:
            table.append(records.as_row(step, scalars))
        table.flush()


@contextlib.contextmanager
def faults_kept(folder: Path) -> Iterator[None]:
    """Lets a fault that kills the interpreter leave its traceback in a file."""
    path = folder / _FAULTS
    try:
        file = path.open("w")
    except OSError:
        yield
        return
    with file:
        faulthandler.enable(file)
        try:
            yield
        finally:
            faulthandler.disable()
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _keep_faults(folder: Path) -> str:
    """Returns a sentence on the traceback that a fault has left, or ''."""
    path, kept = folder / _FAULTS, folder / "traceback.txt"
    if not path.is_file():
        return ""
    if not path.stat().st_size:
        path.unlink()
        return ""
    path.replace(kept)
    return f" The whole traceback is in {kept}."
