"""The command `algoperf check-workload`: prints of each check whether it holds."""

import argparse
import functools
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from algorithmic_efficiency import registry
from algorithmic_efficiency.battery import NotChecked, Unmet
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.definition import Definition
from algorithmic_efficiency.errors import UsageError, UserError
from algorithmic_efficiency.paths import folder_of
from algorithmic_efficiency.streams import readers_may_leave
from algorithmic_efficiency.text import show

HOLDS, FAILS, NOT_DONE = "holds", "FAILS", "not done"
_USAGE = "algoperf check-workload FOLDER|NAME [--flag=value ...]"


def main(argv: Sequence[str]) -> int:
    """Checks the workloads that are asked for; returns the exit code.

    That is 0 where all that was checked holds, 1 where something does not, and 2 at a
    user's mistake.
    """
    asked = _parser().parse_args(argv)
    with readers_may_leave():
        try:
            chosen = list(_chosen(asked.what, asked.workload))
            folders = Folders(folder_of("data_dir", asked.data_dir))
            return _run(chosen, folders, asked.learning_rate)
        except UserError as error:
            show(f"Error: {error}", sys.stderr)
            return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "algoperf check-workload", _USAGE, __doc__, allow_abbrev=False
    )
    parser.add_argument(
        "what", metavar="FOLDER|NAME", help="a workload's folder, or a registered name"
    )
    parser.add_argument(
        "--workload",
        metavar="TEXT",
        help="of several in the folder, this one; default: all",
    )
    parser.add_argument("--data_dir", default="~/data", help="folder of the data sets")
    parser.add_argument(
        "--learning_rate",
        type=float,
        metavar="X",
        help="of the twenty steps; default: that of the reference NadamW",
    )
    return parser


def _chosen(what: str, only: str | None) -> Iterator[Definition]:
    """Yields the workloads to check.

    Raises:
      UsageError: there are none.
    """
    folder = Path(what)
    if not folder.is_dir():
        if "/" in what:
            raise UsageError(f"There is no folder {what}.")
        yield registry.get(what)
        return
    names = registry.add(folder)
    if only and only not in names:
        raise UsageError(
            f"{folder} has no workload {only!r}; it has {', '.join(names)}."
        )
    for name in [only] if only else names:
        yield registry.get(name)


def _run(chosen: Sequence[Definition], folders: Folders, rate: float | None) -> int:
    results: list[str] = []
    for definition in chosen:
        show(f"{definition.name} ({definition.package})")
        for name, check in _checks(definition, folders, rate):
            result, said = _outcome(check, definition)
            results.append(result)
            show(f"  {result:10}{name}: {said}")
    done = [result for result in results if result != NOT_DONE]
    count = done.count(HOLDS)
    show(f"{count} of {len(done)} checks hold.")
    return int(count < len(done))


def _checks(
    definition: Definition, folders: Folders, rate: float | None
) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yields names and functions of what is checked, in the order of their cost."""
    from algorithmic_efficiency.battery import (  # noqa: PLC0415 - load both frameworks
        agreement,
        invariance,
        promises,
    )
    from algorithmic_efficiency.battery.pair import Pair  # noqa: PLC0415 - likewise

    yield (
        "names and shapes",
        functools.partial(agreement.names_and_shapes, definition),
    )
    pair = functools.cache(lambda: Pair(definition, folders))
    with_data: tuple[tuple[str, Callable[[Any], str]], ...] = (
        ("batches", invariance.data),
        ("initial values", agreement.same_start),
        ("one training pass", agreement.one_pass),
        ("one evaluation pass", agreement.evaluation),
        ("running statistics", agreement.recalibration),
        ("padding", invariance.padding),
        ("metrics", invariance.metrics),
        ("members of the workload", promises.members),
        ("a submission", promises.template_runs),
        ("twenty steps", functools.partial(agreement.twenty_steps, learning_rate=rate)),
    )
    lost = registry.missing_data(definition, folders)
    for name, check in with_data:
        yield name, functools.partial(_with_data, check, pair, lost)


def _with_data(check: Callable[[Any], str], pair: Any, lost: str | None) -> str:
    if lost:
        raise NotChecked(lost)
    return check(pair())


def _outcome(check: Callable[[], str], definition: Definition) -> tuple[str, str]:
    """Returns how a check ends, and a sentence."""
    try:
        return HOLDS, check()
    except NotChecked as why:
        return NOT_DONE, str(why)
    except Unmet as why:
        return FAILS, f"{why}"
    except Exception as error:  # noqa: BLE001 - the user's files may raise anything
        return FAILS, f"{type(error).__name__}: {error}{_place(error, definition)}"


def _place(error: BaseException, definition: Definition) -> str:
    """Returns ' (file:line)' of the last frame in the workload's own files."""
    own = sys.modules.get(definition.package)
    folders = tuple(getattr(own, "__path__", ()))
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(folders)
    ]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if folders and frames else ""
