"""Downloads of LibriSpeech go on after kills and bad nets, and need room."""

import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
from corpora import CHAPTERS, archive, assert_complete, make_corpus
from corpora import run_setup as run

from algorithmic_efficiency.files import exclusive
from dataset_setup import download, setup

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("small_archives")


def begin(root, data, name):
    """Writes what an attempt that was killed had of an archive."""
    (root / ".downloads").mkdir(parents=True)
    (root / ".downloads" / name).write_bytes(data)


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_downloads_go_on_where_the_net_failed(
    tmp_path, server, monkeypatch, knows_ranges
):
    monkeypatch.setattr(download, "URL", server.url)
    name = "dev-clean.tar.gz"
    size = len(server.files[name])
    server.knows_ranges = knows_ranges
    begin(tmp_path, server.files[name][:2_000], name)
    row = next(row for row in download.ARCHIVES if row.file_name == name)
    if knows_ranges:
        server.cut_after = 5_000
    path = download.download(row, tmp_path)
    assert path.read_bytes() == server.files[name]
    starts = [*range(2_000, size, 5_000)] if knows_ranges else [2_000]
    assert server.starts[name] == starts


def test_downloaded_archives_are_unpacked_and_removed(tmp_path, server, monkeypatch):
    monkeypatch.setattr(download, "URL", server.url)
    root = tmp_path / "data" / "LibriSpeech"
    name = "dev-other.tar.gz"  # killed before it was unpacked
    begin(root, server.files[name], name)
    assert run(tmp_path) == 0
    assert_complete(root)
    assert not (root / ".downloads").exists()
    assert server.starts == {f"{s}.tar.gz": [0] for s in CHAPTERS if s != "dev-other"}


def test_archives_of_others_stay_and_what_a_kill_left_goes(tmp_path):
    root = tmp_path / "data" / "LibriSpeech"
    make_corpus(root)
    given = root / "archives" / "dev-other.tar.gz"
    given.parent.mkdir()
    given.write_bytes(b"any")
    begin(root, b"any", "dev-clean.tar.gz")
    assert run(tmp_path) == 0
    given.unlink()
    assert_complete(root)


@pytest.mark.parametrize("data_set", ["imagenet", "librispeech"])
def test_two_setups_do_not_write_at_once(tmp_path, server, capsys, data_set):
    options = ["--train_tar=any.tar"] if data_set == "imagenet" else []
    with exclusive(tmp_path / "data", ""):
        code = setup.main([data_set, f"--data_dir={tmp_path / 'data'}", *options])
    assert code == 2
    error = f"Another process is running in {tmp_path / 'data'}. Wait for it.\n"
    assert capsys.readouterr().err == error
    assert not server.starts


def test_complete_data_need_no_writing(tmp_path, monkeypatch):
    """As root we may write everywhere, so the folder is only said to be read-only."""
    root = tmp_path / "data" / "LibriSpeech"
    make_corpus(root)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    before = sorted(tmp_path.rglob("*"))
    assert run(tmp_path) == 0
    assert sorted(tmp_path.rglob("*")) == before


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
    root = tmp_path / "data" / "LibriSpeech"
    begin(root, archive("train-clean-100")[:begun], "train-clean-100.tar.gz")
    free = types.SimpleNamespace(free=needed - begun - 1)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: free)
    assert run(tmp_path) == 2
    said = capsys.readouterr()
    assert said.out.startswith("Downloading train-clean-100.tar.gz, train-clean-360.")
    megabytes = f"{free.free / 1e6:.1f} MB"
    expected = f"{tmp_path}/data/LibriSpeech has {megabytes} of free space, expected"
    assert said.err.startswith(expected)
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


def test_no_more_is_written_than_was_published(tmp_path, server, monkeypatch):
    monkeypatch.setattr(download, "URL", server.url)
    (row,) = (row for row in download.ARCHIVES if row.subset == "dev-clean")
    right = server.files[row.file_name]
    server.files[row.file_name] = right + bytes(3 << 20)
    assert download.download(row, tmp_path).read_bytes() == right


KILLED = """
from pathlib import Path
from dataset_setup import download
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
    partial = tmp_path / ".downloads" / name
    deadline = time.monotonic() + 60
    while not partial.exists() or partial.stat().st_size < 10_000:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    server.pause = 0.0
    had = partial.stat().st_size
    assert download.download(row, tmp_path).read_bytes() == server.files[name]
    assert server.starts[name] == [0, had]
