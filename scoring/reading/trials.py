"""What reading makes of a training run, and of the table in its file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NO_FILE = "has no eval_measurements.csv"
# Of these only the last value is ever needed; parsing is what reading takes time for.
TOTALS = ("accumulated_eval_time", "accumulated_logging_time", "preemption_count")


@dataclass
class Trial:
    """One training run: where it belongs, its evaluations, and what was odd about it.

    `columns` holds a float64 array [evaluations] per measurement; it is empty when
    nothing could be read, and `unusable` then says why. `totals` holds last values.
    `run` is `run.json` or {}. `failed` says that the run ended by a fault, so that it
    misses its target whatever it reached before, as in the runner.
    """

    submission: str
    study: str
    workload: str
    framework: str
    trial: int
    path: str
    columns: dict[str, Floats] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    hyperparameters: Any = None
    notes: list[str] = field(default_factory=list)
    unusable: str = ""
    totals: dict[str, float] = field(default_factory=dict)
    failed: bool = False

    def column(self, name: str) -> Floats:
        """Return one measurement, empty if the trial has none."""
        return self.columns.get(name, np.empty(0))

    @property
    def seconds(self) -> Floats:
        """The submission clock at each evaluation."""
        name = "score" if "score" in self.columns else "accumulated_submission_time"
        return self.column(name)

    @property
    def steps(self) -> Floats:
        """The global step at each evaluation."""
        return self.column("global_step")

    @property
    def scale(self) -> str:
        """Full or mini: of the run record, otherwise of the workload's name."""
        mini = self.workload.endswith("_mini")
        return str(self.run.get("scale") or ("mini" if mini else "full"))


@dataclass(frozen=True)
class Sheet:
    """A table of text: names, the line of each row, and the cells of a column.

    In a `plain` one a cell is a number if Python says so.
    """

    header: list[str]
    lines: list[int]
    column: Callable[[int], list[str]]
    plain: bool = False
