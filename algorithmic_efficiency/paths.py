"""Paths of the command line: every command reads them by the same rules."""

import os
from pathlib import Path

from algorithmic_efficiency.errors import UsageError


def path_of(flag: str, text: str) -> Path:
    """Returns the path that a flag gives; `~` is the user's home.

    Args:
      flag: its name without dashes, for errors.
      text: its value.

    Raises:
      UsageError: it is empty, or needs a home folder that is not known.
    """
    if not text.strip() or "\0" in text:
        raise UsageError(f"--{flag}={text!r} is no path; give one, or leave it out.")
    if text.startswith("~") and os.environ.get("HOME") != "":
        try:
            return Path(text).expanduser()
        except RuntimeError:  # the system does not know the user either
            pass
    elif not text.startswith("~"):
        return Path(text)
    raise UsageError(
        f"--{flag}={text} begins with a home folder, and none is known for it. Write "
        "the whole path, or set HOME."
    )


def folder_of(flag: str, text: str) -> Path:
    """Returns the folder that a flag gives, which may have to be made yet.

    Raises:
      UsageError: as `path_of`; or it is a file or a link to nothing, or cannot be read.
    """
    path = path_of(flag, text)
    try:
        path.lstat()
        if path.is_symlink() and not path.exists():
            raise UsageError(f"--{flag}={path} is a link that leads nowhere; mend it.")
        if not path.is_dir():
            raise UsageError(f"--{flag}={path} is a file, expected a folder.")
        if not os.access(path, os.R_OK | os.X_OK):
            raise PermissionError(None, "Permission denied")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UsageError(
            f"--{flag}={path} cannot be read ({error.strerror}). Give another."
        ) from error
    return path
