"""The small corpus, and its archives in a folder and on a server."""

import hashlib

import archive_server
import pytest
from corpora import CHAPTERS, archive, make_corpus, publish

from dataset_setup import download


@pytest.fixture
def root(tmp_path):
    """The corpus, set up; `--data_dir` is the folder above."""
    make_corpus(tmp_path / "LibriSpeech")
    return tmp_path / "LibriSpeech"


@pytest.fixture
def published(monkeypatch):
    """Makes the published numbers those of the corpus."""
    publish(monkeypatch)


@pytest.fixture
def small_archives(monkeypatch, published):
    """Makes the published archives those of the corpus."""
    rows = [
        download.Archive(name, len(data), hashlib.sha256(data).hexdigest())
        for name, data in ((name, archive(name)) for name in CHAPTERS)
    ]
    monkeypatch.setattr(download, "ARCHIVES", rows)
    monkeypatch.setattr(download, "WAIT_SECONDS", 0.01)


@pytest.fixture
def archives(tmp_path):
    folder = tmp_path / "archives"
    folder.mkdir()
    for subset in CHAPTERS:
        (folder / f"{subset}.tar.gz").write_bytes(archive(subset))
    return folder


@pytest.fixture
def server():
    content = {f"{subset}.tar.gz": archive(subset) for subset in CHAPTERS}
    with archive_server.running(content) as server:
        yield server
