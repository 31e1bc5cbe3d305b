"""The evaluations of a trial: parsed, repaired where they must be, and checked."""

from __future__ import annotations

import codecs
import functools
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from algorithmic_efficiency.errors import UsageError
from scoring.reading.files import read_bytes
from scoring.reading.numerals import checked_float, float_or_nan, pandas_float
from scoring.reading.records import shorten
from scoring.reading.trials import NO_FILE, TOTALS, Floats, Sheet, Trial

CLOCKS = {"score", "accumulated_submission_time"}
MOST_NOTES = 5  # on one kind of damage in one file
UTF = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
KEPT = ("score", "accumulated_submission_time", "global_step")


def read_evaluations(
    path: Path,
    trial: Trial,
    metric: str,
    published: bool = False,
    whole: bool = False,
) -> None:
    """Fill the trial's columns from its CSV file; repair rows, note every repair.

    Of the validation metrics only `metric` is read, or all of them if it is ''; `whole`
    reads every column. Raises UsageError if pandas is needed and not installed.
    """
    try:
        text = _decoded(read_bytes(path))
    except FileNotFoundError:
        trial.unusable = NO_FILE
        return
    except OSError as error:
        trial.unusable = f"has an eval_measurements.csv that is lost: {error.strerror}"
        return
    sheet = _sheet(text, trial, published)
    if sheet is None:
        return
    wanted = {*KEPT, f"validation/{metric}"}
    if "score" in sheet.header:
        wanted.discard("accumulated_submission_time")
    header = _named(sheet.header)
    if not metric:
        wanted |= {name for name in header if name.startswith("validation/")}
    _fill(sheet, header, trial, set(header) if whole else wanted, published)
    for label, values in (("step", trial.steps), ("submission time", trial.seconds)):
        if not values.size:
            trial.unusable = f"has no column for the {label}"
    if trial.unusable:
        trial.columns = {}


def _decoded(data: bytes) -> str:
    """Return the text of a file with lines that end in a line feed."""
    encoding = next((name for mark, name in UTF if data.startswith(mark)), "utf-8-sig")
    text = data.decode(encoding, errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _sheet(text: str, trial: Trial, published: bool) -> Sheet | None:
    """Return the table in a file, or None, and why it is unusable.

    Files as the runners write them are read here; those that went through another
    program (quotes, other separators, spaces) are left to pandas.
    """
    header = text.partition("\n")[0].split(",")
    known = "global_step" in header and not CLOCKS.isdisjoint(header)
    numbers = text.find("_", text.find("\n")) < 0  # Python reads 1_000 as a number
    plain = text.isascii() and '"' not in text and numbers
    sheet, why = None, "without any evaluation"
    if text.strip() and not (known and plain):
        try:
            # Its pandas takes longer than all the rest.
            from scoring.reading import foreign

            sheet = foreign.read_sheet(text, trial)
        except ImportError as error:
            raise UsageError(
                f"{trial.path}: this eval_measurements.csv was not written by a runner "
                "and needs the package pandas, which is not installed."
            ) from error
        except ValueError as error:
            why = f"that is no table: {shorten(str(error))}"
    if sheet is None and (known or not text.strip()):
        sheet = replace(_rows(text.split("\n"), trial, published), plain=plain)
    if sheet is None or not sheet.lines:
        trial.unusable = f"has an eval_measurements.csv {why}"
        return None
    return sheet


def _named(header: list[str]) -> list[str]:
    """Return the names of columns as they are today.

    Our runs from before 25 November 2026 call the public formula `wer_published`, and
    the true rate `wer`; where a file has both names, they mean that.
    """
    if not any(name.endswith("/wer_published") for name in header):
        return header
    today = {"wer_published": "wer", "wer": "wer_true"}
    parts = [name.rpartition("/") for name in header]
    return [f"{split}{slash}{today.get(n, n)}" for split, slash, n in parts]


def _fill(
    sheet: Sheet,
    header: list[str],
    trial: Trial,
    wanted: Collection[str],
    published: bool,
) -> None:
    """Fill the columns that are needed with numbers."""
    parse = pandas_float if published else float
    if not sheet.plain:
        parse = functools.partial(checked_float, parse=parse)
    for place, name in enumerate(header):
        if name in trial.columns:
            trial.notes.append(f"column {name} stands twice; the first one counts")
            continue
        if name in TOTALS:
            trial.totals[name] = float_or_nan(sheet.column(place)[-1])
        if name in wanted:
            column = sheet.column(place)
            try:
                values = np.array(list(map(parse, column)))
            except (ValueError, OverflowError):
                values = _repaired(name, sheet, place, trial)
            trial.columns[name] = values


def _rows(lines: list[str], trial: Trial, published: bool) -> Sheet:
    """Return whole lines with their numbers, and note what was left out.

    The public tool takes a line that was cut off, with nothing where fields are
    missing.
    """
    header = lines[0].split(",")
    last = lines.pop()
    if last and lines:
        done = "taken as it stands" if published else "left out"
        trial.notes.append(f"last line {len(lines) + 1} is cut off and {done}")
        lines += [last] * published
    rows = [(n, line) for n, line in enumerate(lines[1:], 2) if line]
    wrong = {n for n, line in rows if line.count(",") != len(header) - 1}
    if wrong:
        rows = _padded(rows, len(header), published)
        done = (
            "missing fields are empty, longer lines left out"
            if published
            else "left out"
        )
        listed = _list(sorted(wrong))
        trial.notes.append(f"line {listed}: wrong number of fields, {done}")
    cells = ",".join([line for _, line in rows]).split(",")
    return Sheet(
        header,
        [n for n, _ in rows],
        lambda place: cells[place :: len(header)],
        plain=True,
    )


def _padded(
    rows: list[tuple[int, str]], fields: int, published: bool
) -> list[tuple[int, str]]:
    """Return lines of the right length; where it is allowed short ones are filled."""
    kept = []
    for n, line in rows:
        missing = fields - 1 - line.count(",")
        if not missing or (published and missing > 0):
            kept.append((n, line + "," * missing))
    return kept


def _repaired(name: str, sheet: Sheet, place: int, trial: Trial) -> Floats:
    """Return text as numbers; what is not a number becomes NaN, with a note."""
    values, wrong = [], []
    for line, text in zip(sheet.lines, sheet.column(place), strict=True):
        value = float_or_nan(text)
        values.append(value)
        if np.isnan(value) and text.strip().lower() not in ("", "nan", "-nan", "+nan"):
            wrong.append(f"line {line}: {name} is {shorten(text)!r}, not a number")
    trial.notes += wrong[:MOST_NOTES]
    if (more := len(wrong) - MOST_NOTES) > 0:
        trial.notes.append(f"{more:,} more cells of {name} are not numbers")
    return np.array(values)


def _list(numbers: list[int]) -> str:
    """Return a few numbers for a message."""
    return ", ".join(map(str, numbers[:5])) + (" ..." if len(numbers) > 5 else "")
