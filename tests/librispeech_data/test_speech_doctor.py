"""`dataset_setup doctor librispeech`: what is missing, broken or changed, by name."""

import os

import pytest
from corpora import COUNTS, flac, spoken

from dataset_setup import doctor
from workloads._librispeech import layout

CHAPTER = "test-clean/61/70"
pytestmark = pytest.mark.usefixtures("published")


def examine(root, capsys):
    status = doctor.main(["librispeech", f"--data_dir={root.parent}"])
    return status, capsys.readouterr().out.splitlines()


def counted(root, split, total, short):
    expected = COUNTS[split]
    return (
        f"{split}: {total} of {expected} utterances in {root}, of which {short} of "
        f"{expected} are short enough"
    )


def test_healthy_data_are_counted(root, capsys):
    status, lines = examine(root, capsys)
    assert status == 0
    assert lines == [counted(root, split, n, n) for split, n in COUNTS.items()]


def test_every_fault_is_named(root, capsys):
    names = [root / CHAPTER / f"61-70-{k:04d}.flac" for k in range(5)]
    names[0].write_bytes(b"")
    sound, _ = spoken("61-70-0001")
    data = bytearray(flac(sound))
    data[26] ^= 1  # of the MD5 sum
    names[1].write_bytes(data)
    names[2].unlink()
    path = root / CHAPTER / "61-70.trans.txt"
    lines = path.read_text().splitlines()
    lines[3] = "61-70-0003 THE BOX # 5"
    path.write_text("\n".join(lines[:4]))
    status, found = examine(root, capsys)
    assert status == 1
    assert found[2:] == [
        counted(root, "test", 5, 5),
        f"  The index {root}/index/test.tsv differs from the files. `python -m "
        f"dataset_setup librispeech --data_dir={root.parent}` mends it or says what is "
        "missing.",
        f"  {names[0]}: is empty",
        f"  {names[1]}: does not have the MD5 sum that its header says",
        f"  {names[2]}: is not there",
        f"  {names[3]}: has '#5' in its transcript, which the tokenizer lacks",
        f"  {names[4]}: has no transcript beside it, or two that differ",
    ]


def test_sound_is_compared_with_its_own_header(root, capsys):
    path = root / CHAPTER / "61-70-0000.flac"
    path.write_bytes(flac(spoken("61-70-0000")[0])[:-900])
    status, found = examine(root, capsys)
    assert status == 1
    assert found[3].startswith(f"  {path}: cannot be decoded: ") and len(found) == 4


def test_missing_subset_is_named(root, capsys):
    (root / "dev-other").rename(root / "elsewhere")
    status, found = examine(root, capsys)
    assert status == 1
    rest = {split: COUNTS[split] for split in ("train", "test")}
    assert found[1] == f"validation: dev-other not found in {root}"
    assert found[::2] == [counted(root, split, n, n) for split, n in rest.items()]


def test_missing_tokenizer_is_named(root, capsys):
    (root / "tokenizer.model").unlink()
    status, found = examine(root, capsys)
    assert status == 1
    assert found[0].startswith(
        f"tokenizer: The tokenizer {root}/tokenizer.model cannot"
    )
    assert found[1:] == [counted(root, split, n, n) for split, n in COUNTS.items()]


def test_fewer_than_published_is_a_fault(root, capsys, monkeypatch):
    monkeypatch.setattr(layout, "UTTERANCES", {**COUNTS, "train": 17})
    assert examine(root, capsys)[0] == 1


def test_data_newer_than_their_index_are_a_fault(root, capsys):
    """A run refuses them, whatever they hold."""
    later = (root / "index" / "test.tsv").stat().st_mtime + 5
    os.utime(root / CHAPTER, (later, later))
    status, found = examine(root, capsys)
    assert status == 1
    words = (
        f"  The index {root}/index/test.tsv is older than the data in {root}/{CHAPTER}"
    )
    assert found[3].startswith(words) and len(found) == 4


def test_split_that_cannot_be_listed_does_not_hide_the_others(root, capsys):
    (root / "dev-clean" / "84").rename(root / "elsewhere")
    (root / CHAPTER / "61-70-0000.flac").write_bytes(b"")
    status, found = examine(root, capsys)
    assert status == 1
    assert found[1].startswith(
        f"validation: The folder {root}/dev-clean has no chapters"
    )
    assert found[-1] == f"  {root}/{CHAPTER}/61-70-0000.flac: is empty"


def test_transcript_that_is_not_utf8_is_one_fault(root, capsys):
    path = root / CHAPTER / "61-70.trans.txt"
    lines = path.read_bytes().splitlines()
    lines[1] = "61-70-0001 THE BOX FÜR ME".encode("latin-1")
    path.write_bytes(b"\n".join(lines))
    status, found = examine(root, capsys)
    assert status == 1
    sound = root / CHAPTER / "61-70-0001.flac"
    assert found[4:] == [f"  {sound}: has bytes that are not UTF-8 in {path}"]


def test_transcripts_in_utf16_are_none(root, capsys):
    path = root / CHAPTER / "61-70.trans.txt"
    path.write_text(path.read_text(), encoding="utf-16")
    status, found = examine(root, capsys)
    assert status == 1
    sounds = [root / CHAPTER / f"61-70-{k:04d}.flac" for k in range(5)]
    why = "has no transcript beside it, or two that differ"
    assert found[4:] == [f"  {sound}: {why}" for sound in sounds]


def test_what_macos_adds_is_no_utterance(root, capsys):
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    (root / CHAPTER / "._61-70-0000.flac").write_bytes(b"Mac OS X")
    for path, time in times.items():
        os.utime(path, ns=(time, time))
    assert examine(root, capsys)[0] == 0
