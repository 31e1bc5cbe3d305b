"""Downloads of LibriSpeech go on after kills and bad nets, and need room."""

import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
from corpora import CHAPTERS, archive, assert_complete, make_corpus
from corpora import run_setup as run

from datasets import download

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("small_archives")


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_downloads_go_on_where_the_net_failed(
    tmp_path, server, monkeypatch, knows_ranges
):
    monkeypatch.setattr(download, "URL", server.url)
    name = "dev-clean.tar.gz"
    size = len(server.files[name])
    server.knows_ranges = knows_ranges
    partial = tmp_path / f".{name}.partial"
    partial.write_bytes(server.files[name][:2_000])
    row = next(row for row in download.ARCHIVES if row.file_name == name)
    if knows_ranges:
        server.cut_after = 5_000
    path = download.download(row, tmp_path)
    assert path.read_bytes() == server.files[name]
    assert not partial.exists()
    starts = [*range(2_000, size, 5_000)] if knows_ranges else [2_000]
    assert server.starts[name] == starts


def test_downloaded_archives_are_unpacked_and_removed(tmp_path, server, monkeypatch):
    monkeypatch.setattr(download, "URL", server.url)
    root = tmp_path / "data" / "LibriSpeech"
    (root / "archives").mkdir(parents=True)
    already = root / "archives" / "dev-other.tar.gz"  # killed before it was unpacked
    already.write_bytes(server.files[already.name])
    assert run(tmp_path) == 0
    assert_complete(root)
    assert server.starts == {f"{s}.tar.gz": [0] for s in CHAPTERS if s != "dev-other"}


def test_archive_that_a_kill_left_is_removed(tmp_path):
    root = tmp_path / "data" / "LibriSpeech"
    make_corpus(root)
    own = root / "archives"
    own.mkdir()
    for name in ("dev-other.tar.gz", ".dev-clean.tar.gz.partial"):
        (own / name).write_bytes(b"any")
    assert run(tmp_path, f"--archives={own}/../archives") == 0
    assert len(list(own.iterdir())) == 2  # the user's, not ours
    assert run(tmp_path) == 0
    assert_complete(root)


@pytest.mark.parametrize("what", ["missing", "file"])
def test_archives_that_are_no_folder_are_refused(tmp_path, server, capsys, what):
    given = tmp_path / what
    if what == "file":
        given.write_bytes(archive("dev-clean"))
    assert run(tmp_path, f"--archives={given}") == 2
    assert f"--archives={given} is no folder; expected" in capsys.readouterr().err
    assert not server.starts and not (tmp_path / "data").exists()


def test_full_disk_is_noticed_before_a_download(tmp_path, server, monkeypatch, capsys):
    """What an earlier attempt wrote is not needed again."""
    monkeypatch.setattr(download, "URL", server.url)
    sizes = [len(archive(subset)) for subset in CHAPTERS]
    needed, begun = sum(sizes) + max(sizes), 2_000
    own = tmp_path / "data" / "LibriSpeech" / "archives"
    own.mkdir(parents=True)
    partial = archive("train-clean-100")[:begun]
    (own / ".train-clean-100.tar.gz.partial").write_bytes(partial)
    free = types.SimpleNamespace(free=needed - begun - 1)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: free)
    assert run(tmp_path) == 2
    said = capsys.readouterr()
    assert said.out.startswith("Downloading train-clean-100.tar.gz, train-clean-360.")
    assert said.err.startswith(f"{tmp_path}/data/LibriSpeech has 0.0 GB of free space")
    assert not server.starts
    free.free += 1
    assert run(tmp_path) == 0
    assert_complete(tmp_path / "data" / "LibriSpeech")


def test_server_without_the_file_is_one_sentence(tmp_path, server, monkeypatch, capsys):
    monkeypatch.setattr(download, "URL", server.url)
    del server.files["train-clean-100.tar.gz"]
    assert run(tmp_path) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"{server.url}/train-clean-100.tar.gz cannot be downloaded")
    assert "404" in error and "--archives" in error
    assert len(server.starts["train-clean-100.tar.gz"]) == download.ATTEMPTS


def test_download_with_another_sum_is_not_kept(tmp_path, server, monkeypatch, capsys):
    monkeypatch.setattr(download, "URL", server.url)
    name = "train-clean-100.tar.gz"
    right = server.files[name]
    server.files[name] = right[:-3] + b"xyz"
    assert run(tmp_path) == 2
    assert "SHA-256 sum differs" in capsys.readouterr().err
    server.files[name] = right
    assert run(tmp_path) == 0
    assert_complete(tmp_path / "data" / "LibriSpeech")


KILLED = """
from pathlib import Path
from datasets import download
download.URL = "{url}"
download.download(download.Archive("dev-clean", {size}, "{sha256}"), Path("{folder}"))
"""


def test_killed_download_goes_on(tmp_path, server, monkeypatch):
    monkeypatch.setattr(download, "URL", server.url)
    name, server.pause = "dev-clean.tar.gz", 0.05
    (row,) = (row for row in download.ARCHIVES if row.file_name == name)
    code = KILLED.format(url=server.url, folder=tmp_path, **vars(row))
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    partial = tmp_path / f".{name}.partial"
    deadline = time.monotonic() + 60
    while not partial.exists() or partial.stat().st_size < 10_000:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    server.pause = 0.0
    assert not (tmp_path / name).exists()
    had = partial.stat().st_size
    assert download.download(row, tmp_path).read_bytes() == server.files[name]
    assert server.starts[name] == [0, had]
