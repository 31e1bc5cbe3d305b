"""`dataset_setup librispeech`: from archives to splits, through a kill."""

import io
import tarfile
from pathlib import Path

import pytest
from corpora import (
    COUNTS,
    VOCABULARY_SIZE,
    assert_complete,
    definition,
    files,
    make_corpus,
    names,
    spoken,
)
from corpora import run_setup as run

from algorithmic_efficiency.data import Folders
from dataset_setup import setup
from workloads._librispeech import index, layout
from workloads._librispeech.data import missing

pytestmark = pytest.mark.usefixtures("small_archives")


def test_archives_become_splits(tmp_path, archives, capsys):
    assert missing(definition(), Folders(tmp_path / "data"))
    assert run(tmp_path, f"--archives={tmp_path}", f"--archives={archives}") == 0
    root = tmp_path / "data" / "LibriSpeech"
    lines = capsys.readouterr().out.splitlines()[-3:]
    assert lines == [
        f"{split}: {n} of {n} utterances in {root}, of which {n} of {n} are short "
        "enough"
        for split, n in COUNTS.items()
    ]
    assert_complete(root)
    assert missing(definition(), Folders(tmp_path / "data")) is None
    assert len(list(archives.iterdir())) == 6
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert run(tmp_path) == 0  # finds everything there, without the archives
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == times


def test_index_says_what_lies_where(tmp_path, archives):
    run(tmp_path, f"--archives={archives}")
    path = index.path_of(tmp_path / "data" / "LibriSpeech", "validation")
    head, *lines = path.read_text().splitlines()
    assert head == '{"format": 1, "rows": 7, "unknown": 0}'
    rows = [(f, n, *spoken(n)) for s in ("dev-clean", "dev-other") for f, n in names(s)]
    assert lines == [
        f"{name}\t{folder}/{name}.flac\t{len(sound)}\t{text}"
        for folder, name, sound, text in rows
    ]


def test_tokenizer_hears_the_first_training_subset_only(tmp_path, archives):
    run(tmp_path, f"--archives={archives}")
    texts = [
        text.partition(" ")[2]
        for path, data in sorted(
            files("train-clean-100").items(), key=lambda row: int(row[0].split("/")[1])
        )
        if path.endswith(".txt")
        for text in data.decode().splitlines()
    ]
    layout.tokenizer.train(texts, tmp_path / "mine.model", VOCABULARY_SIZE)
    root = tmp_path / "data" / "LibriSpeech"
    assert (root / "tokenizer.model").read_bytes() == (
        tmp_path / "mine.model"
    ).read_bytes()


def test_tokenizer_is_trained_on_so_many_characters_at_most(tmp_path, monkeypatch):
    texts = [spoken(f"1-1-{k}")[1] for k in range(40)]
    monkeypatch.setattr(layout.tokenizer, "MAX_CHARACTERS", sum(map(len, texts[:30])))
    for name, used in (("all", texts), ("first", texts[:30])):
        layout.tokenizer.train(used, tmp_path / name, 30)
    assert (tmp_path / "all").read_bytes() == (tmp_path / "first").read_bytes()
    monkeypatch.undo()
    layout.tokenizer.train(texts, tmp_path / "more", 30)
    assert (tmp_path / "all").read_bytes() != (tmp_path / "more").read_bytes()


def test_unpacking_goes_on_after_a_kill(tmp_path, archives):
    partial = tmp_path / "data" / "LibriSpeech" / ".dev-clean.partial" / "84" / "121"
    partial.mkdir(parents=True)
    whole, half = (f"dev-clean/84/121/84-121-000{k}.flac" for k in range(2))
    data = files("dev-clean")
    (partial / Path(whole).name).write_bytes(data[whole])
    (partial / Path(half).name).write_bytes(data[half][:500])
    kept = (partial / Path(whole).name).stat().st_mtime_ns
    assert run(tmp_path, f"--archives={archives}") == 0
    root = tmp_path / "data" / "LibriSpeech"
    assert (root / whole).stat().st_mtime_ns == kept
    assert_complete(root)


@pytest.mark.parametrize("damage", ["cut off", "changed"])
def test_damaged_archive_is_one_sentence(tmp_path, archives, capsys, damage):
    path = archives / "dev-other.tar.gz"
    data = path.read_bytes()
    path.write_bytes(data[:-9] if damage == "cut off" else data[:-9] + bytes(9))
    assert run(tmp_path, f"--archives={archives}") == 2
    error = capsys.readouterr().err
    assert f"{path} (" in error and "its SHA-256 sum differs" in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "data" / "LibriSpeech").glob("*dev-other*"))
    path.write_bytes(data)
    assert run(tmp_path, f"--archives={archives}") == 0


def test_only_utterances_leave_an_archive(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in (
            "LibriSpeech/dev-clean/84/121/84-121-0000.flac",
            "LibriSpeech/dev-clean/../../../84-121-0001.flac",
            "/LibriSpeech/dev-clean/84/121/84-121-0002.flac",
            "LibriSpeech/dev-clean/84/121/../84-121-0003.flac",
            "LibriSpeech/dev-other/84/121/84-121-0004.flac",
            "LibriSpeech/dev-clean/84/121/program.py",
        ):
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"data"))
        link = tarfile.TarInfo("LibriSpeech/dev-clean/84/121/84-121-0005.flac")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    (tmp_path / "a.tar.gz").write_bytes(buffer.getvalue())
    setup.unpack.speech(tmp_path / "a.tar.gz", tmp_path / "data" / "dev-clean")
    found = [p for p in tmp_path.rglob("*") if not p.is_dir()]
    wanted = tmp_path / "data" / "dev-clean" / "84" / "121" / "84-121-0000.flac"
    assert sorted(found) == [tmp_path / "a.tar.gz", wanted]


def test_stale_index_is_written_anew(tmp_path):
    root = tmp_path / "data" / "LibriSpeech"
    make_corpus(root)
    (root / "test-clean/61/70/61-70-0004.flac").unlink()
    chapter = root / "test-clean/61/70/61-70.trans.txt"
    chapter.write_text("".join(chapter.read_text().splitlines(keepends=True)[:4]))
    assert run(tmp_path) == 1  # 4 of 5
    assert index.path_of(root, "test").read_text().startswith('{"format": 1, "rows": 4')
