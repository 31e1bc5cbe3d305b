"""From trials to scores and to how sure they are.

`scored` checks what may be scored together and makes one table of times; `scores` has
the formulas, `uncertainty` the intervals, and `results` draws every conclusion.
"""
