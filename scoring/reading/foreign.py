"""Tables that went through a spreadsheet, an editor or another program, by pandas.

They may be quoted, separated by semicolons, tabs, bars or spaces, have decimal commas
and spaces around cells. The reader of `evaluations.py` is for what runners write, and
needs none of this.
"""

from __future__ import annotations

import csv
import io
import re
import warnings

import pandas as pd

from scoring.reading.records import shorten
from scoring.reading.trials import Sheet, Trial

SEPARATORS = (",", ";", "\t", "|")
SPACES = r"\s+"
EXCEL = re.compile(r"\s*sep=(.)\s*\n")  # Excel's own first line
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+(e[+-]?\d+)?\s*", re.IGNORECASE | re.ASCII)


def read_sheet(text: str, trial: Trial) -> Sheet:
    """Return the table, and note lines that pandas leaves out.

    Raises ValueError, of pandas or with a sentence, for what is no table.
    """
    text = EXCEL.sub("", text, count=1) if EXCEL.match(text) else text
    first = next(line for line in text.split("\n") if line.strip())
    separator = _separator(first)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        frame = pd.read_csv(
            io.StringIO(text),
            sep=separator,
            header=None,
            dtype=str,
            skipinitialspace=True,
            on_bad_lines="warn",
        )
    left_out = [str(w.message).strip() for w in said if "line" in str(w.message)]
    trial.notes += [shorten(" ".join(words.split()), 300) for words in left_out]
    frame = frame.fillna("")
    header = [str(name).strip() for name in frame.iloc[0]]

    def column(place: int) -> list[str]:
        cells = [cell.strip() for cell in frame[place].iloc[1:]]
        return cells if separator == "," else [_pointed(cell) for cell in cells]

    return Sheet(header, list(range(2, len(frame) + 1)), column)


def _separator(line: str) -> str:
    """Return what separates the names in the first line."""
    for separator in SEPARATORS:
        reader = csv.reader([line], delimiter=separator, skipinitialspace=True)
        if "global_step" in [name.strip() for name in next(reader)]:
            return separator
    return SPACES if "global_step" in re.split(r'[\s"]+', line) else ","


def _pointed(cell: str) -> str:
    """Return a number with a decimal point; commas separate nothing in this table."""
    return cell.replace(",", ".") if DECIMAL_COMMA.fullmatch(cell) else cell
