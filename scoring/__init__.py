"""Scores of training algorithms from the files that runs leave behind.

Read `score_submissions.py` first: it tells the story from a folder to the report.
Only NumPy is needed for numbers, matplotlib for pictures, plotly for `report.html`.
"""

from algorithmic_efficiency import environment

environment.check()
