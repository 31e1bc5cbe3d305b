"""Trees of runs that several scoring tests read."""

from pathlib import Path

import pytest

from scoring.reading import logs
from tests.scoring.trees import public_logs, write_tree


@pytest.fixture(scope="session")
def external_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("external")
    return write_tree(public_logs("external_tuning"), folder)


@pytest.fixture(scope="session")
def self_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(public_logs("self_tuning"), tmp_path_factory.mktemp("self"))


@pytest.fixture
def listed_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """List trials as the disk did on which the published numbers were measured.

    The public tool breaks ties between trials by the file system's order.
    """
    order = ["trial_5", "trial_3", "trial_4", "trial_1", "trial_2"]
    plain = logs.listing
    monkeypatch.setattr(
        logs,
        "listing",
        lambda folder: sorted(plain(folder), key=lambda f: order.index(f.name)),
    )
