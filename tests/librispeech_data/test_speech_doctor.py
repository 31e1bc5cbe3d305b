"""`datasets.doctor librispeech`: what is missing, broken or changed, by name."""

import pytest
from corpora import COUNTS, flac, make_corpus, publish, spoken

from datasets import doctor
from workloads._librispeech import layout

CHAPTER = "test-clean/61/70"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    publish(monkeypatch)


@pytest.fixture
def root(tmp_path):
    make_corpus(tmp_path / "LibriSpeech")
    return tmp_path / "LibriSpeech"


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
        f"  {root}/index/test.tsv: differs from the files; `python -m datasets.setup "
        "librispeech` writes it anew.",
        f"  {names[0]}: is empty",
        f"  {names[1]}: does not have the MD5 sum that its header says",
        f"  {names[2]}: is not there",
        f"  {names[3]}: has '#5' in its transcript, which the tokenizer lacks",
        f"  {names[4]}: has no transcript beside it",
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
