"""The commands `algoperf new-workload` and `new-submission`: copy a template."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from algorithmic_efficiency import registry
from algorithmic_efficiency.errors import UsageError, UserError
from algorithmic_efficiency.text import show

WORKLOAD = registry.ROOT / "workloads" / "_template"
SUBMISSION = registry.ROOT / "submissions" / "template"


def workload(argv: Sequence[str]) -> int:
    """Makes the folder of a new workload; returns the exit code, 2 at a mistake."""
    return _run("new-workload", argv, _workload)


def submission(argv: Sequence[str]) -> int:
    """Makes the folder of a new submission; returns the exit code, 2 at a mistake."""
    return _run("new-submission", argv, _submission)


def _run(word: str, argv: Sequence[str], make: Callable[[Path], list[str]]) -> int:
    parser = argparse.ArgumentParser(f"algoperf {word}", allow_abbrev=False)
    parser.add_argument("name", metavar="NAME", help="the folder that is made, here")
    folder = Path(parser.parse_args(argv).name)
    try:
        commands = make(folder)
    except UserError as error:
        show(f"Error: {error}", sys.stderr)
        return 2
    made = ", ".join(sorted(path.name for path in folder.glob("*.py")))
    show(f"Made {folder} with {made}. It runs as it is:\n")
    show("\n".join(f"  {command}" for command in commands))
    return 0


def _workload(folder: Path) -> list[str]:
    name = folder.name
    if not (name.isidentifier() and name == name.lower()):
        raise UsageError(
            f"{name!r} is no name of a workload: use small letters, digits and _, as "
            "in 'my_table'."
        )
    if name in registry.definitions():
        raise UsageError(f"There is a workload {name} already; choose another name.")
    _copy(WORKLOAD, folder, {'name="template"': f'name="{name}"'})
    return [
        f"algoperf run --workload_path={folder}",
        f"algoperf run --workload_path={folder} --framework=jax",
        f"algoperf check-workload {folder}",
    ]


def _submission(folder: Path) -> list[str]:
    _copy(SUBMISSION, folder, {"submissions/template/": f"{folder}/"})
    name = registry.example()
    return [
        f"algoperf run --workload={name} --submission_path={folder}/{framework}.py"
        for framework in ("pytorch", "jax")
    ] + [f"algoperf check {folder}/pytorch.py"]


def _copy(template: Path, folder: Path, changes: Mapping[str, str]) -> None:
    """Copies the Python files of a folder, with some of their text changed.

    Raises:
      UsageError: the new folder is there already, or cannot be made.
    """
    if folder.exists():
        raise UsageError(f"{folder} is there already; give another name, or remove it.")
    try:
        folder.mkdir(parents=True)
        for file in sorted(template.glob("*.py")):
            text = file.read_text(encoding="utf-8")
            for old, new in changes.items():
                text = text.replace(old, new)
            (folder / file.name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}.") from error
