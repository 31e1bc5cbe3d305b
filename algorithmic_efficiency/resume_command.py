"""The command line that goes on with a run that a signal has ended."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from algorithmic_efficiency.runner.config import RunConfig

# Flags that a run that goes on is not given again as they were.
_NOT_TWICE = ("experiment_name", "append_timestamp", "overwrite", "resume_last_run")


def resume_command(argv: Sequence[str], config: "RunConfig") -> str:
    """Returns the command line that goes on with a run.

    Args:
      argv: of the run, the program's name and its arguments.
      config: what was made of it.
    """
    given = list(argv[1:])
    typed, count = sys.orig_argv, len(given)
    program = typed[: len(typed) - count]
    if not given or typed[-count:] != given:  # not called from a command line
        program = ["python", argv[0]]
    where = Path(config.flags["experiment_dir"]).expanduser()
    name = config.folder.relative_to(where)
    kept = []
    while given:
        word = given.pop(0)
        flag, has_value, _ = word.lstrip("-").partition("=")
        if flag == "experiment_name" and not has_value:
            given = given[1:]
        elif flag.removeprefix("no") not in _NOT_TWICE:
            kept.append(word)
    kept += [f"--experiment_name={name}", "--resume_last_run"]
    return shlex.join([*program, *kept])
