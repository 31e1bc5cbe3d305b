"""Command-line flags in the spelling of absl: --name=value, --name value, --noname."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from algorithmic_efficiency.errors import UsageError, UserError
from algorithmic_efficiency.paths import path_of
from algorithmic_efficiency.text import show
from scoring.reading.records import shorten


@dataclass(frozen=True)
class Flag:
    """One flag: a bool default makes it a switch, `choices` limits its values."""

    name: str
    default: Any
    help: str
    choices: tuple[str, ...] = ()


class _Parser(argparse.ArgumentParser):
    """A parser that reports a wrong command line as one UsageError."""

    def error(self, message: str) -> NoReturn:
        message = shorten(f"{message[0].upper()}{message[1:]}", 300)
        raise UsageError(f"{message}; --help lists the flags.")


def parse(
    flags: Sequence[Flag],
    argv: Sequence[str],
    description: str,
    positionals: Sequence[Flag] = (),
) -> argparse.Namespace:
    """Return the values of all flags; raises UsageError for what they do not allow."""
    parser = _Parser(description=description, allow_abbrev=False)
    for flag in positionals:
        parser.add_argument(flag.name, help=flag.help)
    switches = {f.name for f in flags if isinstance(f.default, bool | None)}
    for flag in flags:
        if flag.name in switches:
            parser.add_argument(
                f"--{flag.name}", default=flag.default, type=_truth, help=flag.help
            )
        else:
            parser.add_argument(
                f"--{flag.name}",
                default=flag.default,
                type=type(flag.default),
                choices=flag.choices or None,
                metavar=None if flag.choices else flag.name.upper(),
                help=f"{flag.help} (default: {flag.default or 'none'})",
            )
    names = [flag.name for flag in flags] + ["help"]
    values = parser.parse_args([_plain(word, switches, names) for word in argv])
    for name, value in vars(values).items():
        given = isinstance(value, str) and value != parser.get_default(name)
        if given and value.startswith("~"):  # a path in a home folder
            setattr(values, name, str(path_of(name, value)))
    return values


def run(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Run a command: one sentence and exit code 2 for what the user can put right."""
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
        sys.exit(code)
    except UserError as error:
        show(str(error), sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        show("Interrupted.", sys.stderr)
        sys.exit(1)
    except OSError as error:
        # Whoever read our output, `head` say, has seen enough; or it has no room.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(0)
        show(f"Cannot write or read: {error.strerror or error}.", sys.stderr)
        sys.exit(2)


def _plain(word: str, switches: set[str], names: Sequence[str]) -> str:
    """Return a command-line word as argparse reads it; unknown flags are refused."""
    if not word.startswith("-") or word in ("-", "--", "-h"):
        return word
    name, equals, value = word.lstrip("-").partition("=")
    if name in switches and not equals:
        return f"--{name}=true"
    if name.removeprefix("no") in switches and not equals:
        return f"--{name.removeprefix('no')}=false"
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
        raise UsageError(f"There is no flag --{name}; the nearest is --{near}.")
    return f"--{name}{equals}{value}"


def _truth(text: str) -> bool:
    """Return the truth value that absl reads from a switch's value."""
    words = {"true": True, "t": True, "1": True, "yes": True}
    words |= {"false": False, "f": False, "0": False, "no": False}
    try:
        return words[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is not true or false") from None
