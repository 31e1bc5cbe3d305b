"""One trial and its evaluations: parsed, repaired where they must be, and checked."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NO_FILE = "has no eval_measurements.csv"
KEPT = ("score", "accumulated_submission_time", "global_step")
# Of these only the last value is ever needed; parsing is what reading takes time for.
TOTALS = ("accumulated_eval_time", "accumulated_logging_time", "preemption_count")
# Our runs from before 25 November 2026 call the public formula `wer_published`, and the
# true rate `wer`; where a file has both names, they mean that.
PUBLIC_NAMES = {"validation/wer_published": "validation/wer", "validation/wer": ""}


@dataclass
class Trial:
    """One training run: where it belongs, its evaluations, and what was odd about it.

    `columns` holds a float64 array [evaluations] per measurement; it is empty when
    nothing could be read, and `unusable` then says why. `totals` holds last values.
    `run` is `run.json` or {}.
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


def read_evaluations(
    path: Path, trial: Trial, metric: str, published: bool = False
) -> None:
    """Fill the trial's columns from its CSV file; repair rows, note every repair.

    Of the validation metrics only `metric` is read, or all of them if it is ''.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        trial.unusable = NO_FILE
        return
    except OSError as error:
        trial.unusable = f"has an eval_measurements.csv that is lost: {error.strerror}"
        return
    header = lines[0].split(",")
    rows = _rows(lines, len(header), trial, published)
    if not rows:
        trial.unusable = "has an eval_measurements.csv without any evaluation"
        return
    wanted = {*KEPT, f"validation/{metric}"}
    if "score" in header:
        wanted.discard("accumulated_submission_time")
    if "validation/wer_published" in header:
        header = [PUBLIC_NAMES.get(name, name) for name in header]
    if not metric:
        wanted |= {name for name in header if name.startswith("validation/")}
    _parse(header, rows, trial, wanted, pandas_float if published else float)
    for label, values in (("step", trial.steps), ("submission time", trial.seconds)):
        if not values.size:
            trial.unusable = f"has no column for the {label}"
    if trial.unusable:
        trial.columns = {}


def _parse(
    header: list[str],
    rows: list[tuple[int, str]],
    trial: Trial,
    wanted: Collection[str],
    parse: Callable[[str], float],
) -> None:
    """Fill the columns that are needed with numbers."""
    cells = ",".join([line for _, line in rows]).split(",")
    for place, name in enumerate(header):
        if name in TOTALS:
            trial.totals[name] = _number(cells[place - len(header)])
        elif name in wanted:
            column = cells[place :: len(header)]
            try:
                trial.columns[name] = np.array(list(map(parse, column)))
            except ValueError:
                numbers = [n for n, _ in rows]
                trial.columns[name] = _repaired(name, column, numbers, trial)


def _rows(
    lines: list[str], fields: int, trial: Trial, published: bool
) -> list[tuple[int, str]]:
    """Return whole lines with their numbers, and note what was left out.

    The public tool takes a line that was cut off, with nothing where fields are
    missing.
    """
    last = lines.pop()
    if last and lines:
        done = "taken as it stands" if published else "left out"
        trial.notes.append(f"last line {len(lines) + 1} is cut off and {done}")
        lines += [last] * published
    rows = [(n, line) for n, line in enumerate(lines[1:], 2) if line]
    wrong = {n for n, line in rows if line.count(",") != fields - 1}
    if not wrong:
        return rows
    kept = []
    for n, line in rows:
        missing = fields - 1 - line.count(",")
        if not missing or (published and missing > 0):
            kept.append((n, line + "," * missing))
    done = (
        "missing fields are empty, longer lines left out" if published else "left out"
    )
    trial.notes.append(f"line {_list(sorted(wrong))}: wrong number of fields, {done}")
    return kept


def _repaired(name: str, column: list[str], lines: list[int], trial: Trial) -> Floats:
    """Return text as numbers; what is not a number becomes NaN, with a note."""
    values = []
    for line, text in zip(lines, column, strict=True):
        try:
            values.append(float(text or "nan"))
        except ValueError:
            values.append(np.nan)
            trial.notes.append(f"line {line}: {name} is {text!r}, not a number")
    return np.array(values)


def _number(text: str) -> float:
    """Return text as a number, NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def pandas_float(text: str) -> float:
    """Parse a decimal as pandas 2 does, up to one unit in the last place off.

    The public tool reads with it; its published times carry that last digit. Source:
    `precise_xstrtod`, which adds up 17 digits, leading zeros among them, in floating
    point and divides once by a power of ten.
    """
    body, _, power = text.lstrip("+-").lower().partition("e")
    whole, _, fraction = body.partition(".")
    if not (whole + fraction).isdigit():
        return float(text)
    digits = (whole + fraction)[:17]
    number = float(digits[:15])  # 15 digits are exact in double precision
    for digit in digits[15:]:
        number = number * 10.0 + int(digit)
    places = len(digits) - len(whole) - int(power or 0)
    scale = float(f"1e{abs(places)}")
    number = number / scale if places >= 0 else number * scale
    return -number if text.startswith("-") else number


def check_clock(trial: Trial) -> None:
    """Put evaluations in the order of their steps and see that time makes sense."""
    rising = (np.diff(trial.steps) > 0).all() and (np.diff(trial.seconds) >= 0).all()
    if rising and trial.seconds[0] >= 0 and np.isfinite(trial.seconds[-1]):
        return
    lost = ~(np.isfinite(trial.seconds) & np.isfinite(trial.steps))
    if lost.any():
        trial.notes.append(f"{lost.sum()} evaluation(s) without time or step, left out")
        _take(trial, np.flatnonzero(~lost))
    if (np.diff(trial.steps) <= 0).any():
        _order(trial)
    seconds = trial.seconds
    if not seconds.size:
        trial.unusable = "has no evaluation with a time and a step"
    elif seconds.min() < 0:
        trial.unusable = f"has a negative submission time ({seconds.min():g} s)"
    elif (np.diff(seconds) < 0).any():
        step = trial.steps[np.argmax(np.diff(seconds) < 0)]
        trial.unusable = f"has a clock that runs backwards after step {step:g}"


def _order(trial: Trial) -> None:
    """Order the evaluations by step; of a step that was repeated the last row counts.

    If the run was restarted from a checkpoint (so its preemption count says, or a clock
    that contradicts the steps), evaluations that the restart went back behind are lost
    work and left out.
    """
    backwards = trial.steps[::-1]
    _, last = np.unique(backwards, return_index=True)
    rows = backwards.size - 1 - last
    restarted = trial.totals.get("preemption_count", 0.0) > 0.0
    if restarted or (np.diff(trial.seconds[rows]) < 0).any():
        kept = [
            np.minimum.accumulate(np.append(np.inf, values[::-1][:-1]))[::-1] > values
            for values in (trial.steps, trial.seconds)
        ]
        rows = np.flatnonzero(kept[0] & kept[1])
    left_out = trial.steps.size - rows.size
    trial.notes.append(f"steps repeated or out of order; {left_out} row(s) left out")
    _take(trial, rows)


def _take(trial: Trial, rows: NDArray[np.intp]) -> None:
    """Keep these evaluations, in this order."""
    trial.columns = {name: values[rows] for name, values in trial.columns.items()}


def _list(numbers: list[int]) -> str:
    """Return a few numbers for a message."""
    return ", ".join(map(str, numbers[:5])) + (" ..." if len(numbers) > 5 else "")
