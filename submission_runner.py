"""Trains a workload with a submission and scores it: see `--help` and README.md."""

import sys

from algorithmic_efficiency import environment

if __name__ == "__main__":
    environment.check()
    from algorithmic_efficiency.cli import main

    sys.exit(main(sys.argv))
