"""What the tests of workloads from outside share."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from algorithmic_efficiency import registry

TEMPLATE = registry.ROOT / "workloads" / "_template"


@pytest.fixture
def _registry_as_before() -> Iterator[None]:
    """Takes out of the registry what a test has added."""
    known = registry.definitions()
    before = dict(known)
    yield
    known.clear()
    known.update(before)


@pytest.fixture
def copied(tmp_path: Path, _registry_as_before: None) -> Callable[..., Path]:
    """Returns a function that copies the template, some of its text changed."""

    def copy(name: str, **changes: tuple[str, str]) -> Path:
        folder = tmp_path / name
        shutil.copytree(TEMPLATE, folder, ignore=shutil.ignore_patterns("__*"))
        for stem, (old, new) in changes.items():
            file = folder / f"{stem}.py"
            text = file.read_text()
            assert old in text, (stem, old)
            file.write_text(text.replace(old, new))
        return folder

    return copy
