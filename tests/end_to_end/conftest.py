"""The command in a temporary experiment folder."""

from pathlib import Path

import pytest
from commands import Command

from algorithmic_efficiency.data import Folders


@pytest.fixture
def command(tmp_path: Path, folders: Folders) -> Command:
    return Command(tmp_path, folders)
