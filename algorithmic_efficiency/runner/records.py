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
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from algorithmic_efficiency import files, strict_json
from algorithmic_efficiency.errors import StorageError
from algorithmic_efficiency.text import csv_cell, show

Row = dict[str, Any]
_MOST_JSON = 2**26  # bytes; a record has some thousand
_DAMAGED = (
    "Bring the file back from a copy; or delete it, and the trial goes on from its "
    "last checkpoint; or start a new experiment."
)


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write to, and renames it to `path` at the end.

    A folder that somebody has removed meanwhile is made again.

    Raises:
      StorageError: the disk is full or the folder cannot be written; what was at
        `path` before is still there.
    """
    advice = (
        "What was saved before is intact: make room or grant access, then go on with "
        "--resume_last_run."
    )
    with contextlib.suppress(OSError):  # the next line says what is wrong
        path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic(path, advice) as temporary:
        yield temporary


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file atomically; inf and NaN, which JSON lacks, become null."""
    write_text(path, json.dumps(_plain(content), indent=2, default=str) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Returns what `write_json` wrote, or {} where there is no file.

    Raises:
      StorageError: the file is damaged or cannot be read.
    """
    try:
        content = strict_json.parse(files.read_bytes(path, _MOST_JSON).decode())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        what = str(error) if isinstance(error, ValueError) else "nested too deeply"
        raise StorageError(f"{path} is damaged: {what}. {_DAMAGED}") from error
    if not isinstance(content, dict):
        raise StorageError(
            f"{path} is damaged: it holds {type(content).__name__}, where an object "
            f"was written. {_DAMAGED}"
        )
    return content


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
    def read(cls, path: Path, last_step: float, count: int | None = None) -> "Table":
        """Returns the table as it was when a checkpoint was written.

        Args:
          path: of the file; where there is none the table is empty.
          last_step: of the checkpoint; rows of later steps are made again.
          count: of rows that there were, where the checkpoint knows it. Only the step
            does not tell: rows of its own step may have been written after it.

        Raises:
          StorageError: the file is damaged or cannot be read.
        """
        rows: list[Row] = []
        try:
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file, strict=True)
                if "global_step" not in (reader.fieldnames or ()):
                    raise ValueError("its first line names no global_step")
                for row in map(_whole, reader):
                    if count is not None or float(row["global_step"]) <= last_step:
                        rows.append(row)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StorageError(f"{path} cannot be read ({error.strerror}).") from error
        except (ValueError, TypeError, KeyError, csv.Error) as error:
            why = f"{type(error).__name__}: {error}"
            raise StorageError(f"{path} is damaged ({why}). {_DAMAGED}") from error
        return cls(path, rows[:count])

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


def _whole(row: Row) -> Row:
    """Returns a row that has as many cells as there are columns.

    Raises:
      ValueError: it has more, or less.
    """
    if None in row or None in row.values():
        raise ValueError(f"a row has another number of cells than the header: {row}")
    return row


Scalars = dict[str, float]


class MetricsLogger:
    """Receives a submission's scalars and keeps them until they are flushed.

    Args:
      table: the CSV file.
      sinks: further receivers such as TensorBoard, called off the clock. One that
        raises is left out from then on.
      tee: is given each (step, scalars) at once, on the clock, and None when all that
        it was given has been written.

    Attributes:
      latest: the newest value of every scalar that the submission has logged.
    """

    def __init__(
        self,
        table: Table,
        sinks: Sequence[Any] = (),
        tee: Callable[[tuple[int, Scalars] | None], None] = lambda row: None,
    ) -> None:
        self.table = table
        self.sinks = list(sinks)
        self.latest: Scalars = {}
        self._pending: list[tuple[int, Scalars]] = []
        self._tee = tee

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
        self._tee(self._pending[-1])

    def finish(self, *, failed: bool = False) -> None:
        """Flushes and closes the sinks; also part of the public API."""
        try:
            self.flush()
        finally:
            self._tell(lambda sink: sink.close(failed=failed))
            self.sinks.clear()

    def flush(self) -> None:
        """Writes what has been kept; called off the clock."""
        pending, self._pending = self._pending, []
        for step, scalars in pending:
            self.table.append(as_row(step, scalars))
        self._tell(lambda sink: [sink.add(*row) for row in pending])
        self.table.flush()
        self._tee(None)

    def _tell(self, what: Callable[[Any], object]) -> None:
        """Tells each sink; one that raises is left out from then on."""
        for sink in list(self.sinks):
            try:
                what(sink)
            except Exception as error:  # noqa: BLE001 - a lost network ends no trial
                self.sinks.remove(sink)
                show(
                    f"{type(sink).__name__} is left out from here on "
                    f"({type(error).__name__}: {error}); the CSV files have all.",
                    sys.stderr,
                )


def as_row(step: int, scalars: Mapping[str, float]) -> Row:
    """Returns the row of a table for scalars of one step."""
    return {
        "global_step": step,
        **{csv_cell(name): value for name, value in scalars.items()},
    }
