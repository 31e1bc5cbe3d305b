"""Says what to run where Python or the packages that everything needs are missing.

It is what the scripts import first, so it needs nothing but Python itself, an older one
included.
"""

import importlib.util
import sys

_OLDEST = (3, 11)
_NEEDED = ("absl", "numpy", "psutil")  # the whole list is in setup.cfg


def check() -> None:
    """Ends the process with exit code 2 and a sentence where something is missing."""
    lost = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if sys.version_info >= _OLDEST and not lost:
        return
    version = "{}.{}".format(*sys.version_info)
    found = f"without {', '.join(lost)}" if lost else "where 3.11 or newer is needed"
    print(
        f"Error: this is Python {version} ({sys.executable}) {found}. In the project's "
        "folder run `make setup`, then `. .venv/bin/activate`; or install the project "
        "with pip into this Python.",
        file=sys.stderr,
    )
    sys.exit(2)
