"""Scores of training algorithms from the files that runs leave behind.

Read `score_submissions.py` first: it tells the story from a folder to the report. Only
NumPy is needed for numbers, matplotlib for pictures, plotly for `report.html`, and
pandas for `load` and for tables that went through another program.

    trials, evaluations, scores = scoring.load("experiments")
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scoring.report.frames import Frames


def load(submission_directory: str | os.PathLike[str], **options: Any) -> Frames:
    """Return trials, evaluations and scores as tables of pandas; see `frames.load`."""
    from scoring.report import frames

    return frames.load(submission_directory, **options)
