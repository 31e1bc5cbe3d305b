"""What lies on a disk, as trials: files, tables of numbers, records, constants.

`logs` finds the trials of a tree, `evaluations` reads their tables, `records` what the
runs say of themselves, and `benchmark` knows what an edition says of a workload.
"""
