"""A trial's folder: one process at a time, and emptied only when asked."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from algorithmic_efficiency.files import exclusive


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps a second process out of a trial's folder."""
    otherwise = ", or give another --experiment_name"
    with exclusive(folder, "--experiment_dir", otherwise):
        try:
            yield
        finally:
            if [path.name for path in folder.iterdir()] == [".lock"]:
                shutil.rmtree(folder)  # nothing was run, so the name is free again


def empty(folder: Path) -> None:
    """Deletes the records of an earlier run, but not the lock that we hold."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()
