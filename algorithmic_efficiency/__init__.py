"""A harness that measures how fast training algorithms train.

Start reading at `cli.py`, then `runner/trial.py`. The frameworks meet in two places
only, `backends/` and `nn/`; everything else is plain Python and NumPy.
"""
