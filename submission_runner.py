"""Trains a workload with a submission and scores it: see `--help` and README.md."""

import sys

from algorithmic_efficiency.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
