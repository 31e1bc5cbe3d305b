"""The command `python -m dataset_setup`: prepares data, or looks at every file."""

import sys
from collections.abc import Sequence

from dataset_setup import doctor, setup


def main(argv: Sequence[str]) -> int:
    """Runs `doctor ...`, or else a command of `setup`; returns its exit code."""
    if argv[:1] == ["doctor"]:
        return doctor.main(argv[1:])
    return setup.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
