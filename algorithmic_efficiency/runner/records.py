"""What a trial leaves behind: CSV files, JSON files and one picture.

Every file is written whole to a temporary name and renamed, so that a reader, or a run
that continues after a kill, never meets half a file. Rows are kept in memory and
written off the clock.
"""

import contextlib
import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from algorithmic_efficiency import files
from algorithmic_efficiency.text import csv_cell

Row = dict[str, Any]


def atomic(path: Path) -> contextlib.AbstractContextManager[Path]:
    """Gives a temporary path to write to, and renames it to `path` at the end.

    Raises:
      StorageError: the disk is full or the folder cannot be written; what was at
        `path` before is still there.
    """
    advice = (
        "What was saved before is intact: make room or grant access, then go on with "
        "--resume_last_run."
    )
    return files.atomic(path, advice)


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file atomically; inf and NaN, which JSON lacks, become null."""
    write_text(path, json.dumps(_plain(content), indent=2, default=str) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class Table:
    """A CSV file: rows in memory, columns the union of their keys."""

    def __init__(self, path: Path, rows: Sequence[Row] = ()) -> None:
        self.path = path
        self.rows = list(rows)

    @classmethod
    def read(cls, path: Path, last_step: int) -> "Table":
        """Returns the table of an interrupted run, up to a global step."""
        rows: list[Row] = []
        if path.is_file():
            with path.open(newline="") as file:
                rows = list(csv.DictReader(file))
        return cls(path, [r for r in rows if float(r["global_step"]) <= last_step])

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds a row; nothing is written before `flush`."""
        self.rows.append(dict(row))

    def flush(self) -> None:
        """Writes the file, columns sorted by name; without rows there is no file."""
        if not self.rows:
            self.path.unlink(missing_ok=True)
            return
        text = io.StringIO()
        columns = sorted({key for row in self.rows for key in row})
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())


class MetricsLogger:
    """Receives a submission's scalars and keeps them until they are flushed.

    Attributes:
      latest: the newest value of every scalar that the submission has logged.
      sinks: further receivers such as TensorBoard, called off the clock.
    """

    def __init__(self, table: Table, sinks: Sequence[Any] = ()) -> None:
        self.table = table
        self.sinks = list(sinks)
        self.latest: dict[str, float] = {}
        self._pending: list[tuple[int, dict[str, float]]] = []

    def append_scalar_metrics(
        self,
        metrics: Mapping[str, Any],
        global_step: int,
        preemption_count: int | None = None,
    ) -> None:
        """Keeps scalars of one step; numbers or arrays of one element.

        Called by submissions on the clock, so it converts and appends and no more.
        """
        del preemption_count
        scalars = {name: float(value) for name, value in metrics.items()}
        self.latest.update(scalars)
        self._pending.append((int(global_step), scalars))

    def finish(self) -> None:
        """Flushes and closes the sinks; also part of the public API."""
        self.flush()
        for sink in self.sinks:
            sink.close()

    def flush(self) -> None:
        """Writes what has been kept; called off the clock."""
        for step, scalars in self._pending:
            cells = {csv_cell(name): value for name, value in scalars.items()}
            self.table.append({"global_step": step, **cells})
            for sink in self.sinks:
                sink.add(step, scalars)
        self._pending.clear()
        self.table.flush()


class TensorBoard:
    """Writes scalars as TensorBoard events, by PyTorch's own writer or tensorboardX."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary import Writer  # noqa: PLC0415 - an optional extra

        self._writer = Writer(str(folder))

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Adds the scalars of one step."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Writes what is left."""
        self._writer.close()


class WandB:
    """Sends scalars to Weights & Biases."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        import wandb  # noqa: PLC0415 - an optional extra

        self._run = wandb.init(dir=str(folder), name=name, config=dict(config))

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Adds the scalars of one step."""
        self._run.log(dict(scalars), step=step)

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()
