"""Odd but sound data: line ends, marks, names and headers that readers differ on."""

import io
import os

import numpy as np
import pytest
import soundfile
from corpora import COUNTS, VOCABULARY_SIZE, definition, flac, make_corpus, spoken

from algorithmic_efficiency.data import BadExample, Folders, eval_batches
from algorithmic_efficiency.errors import DataError
from dataset_setup import doctor
from workloads._librispeech import index, layout
from workloads._librispeech.data import open_split
from workloads._librispeech.reading import damage, header
from workloads._librispeech.tokenizer import Tokenizer

CHAPTER = "test-clean/61/70"
NO_LINE_ENDS = [
    "\u2028",
    "\u2029",
    "\x85",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x1d",
    "\x1e",
    "\r",
]


@pytest.fixture
def chapter(tmp_path):
    folder = tmp_path / "7" / "9"
    folder.mkdir(parents=True)
    return folder


def transcripts(chapter, data):
    data = data if isinstance(data, bytes) else data.encode()
    (chapter / "7-9.trans.txt").write_bytes(data)
    return index.read_transcripts(chapter)


@pytest.mark.parametrize("mark", NO_LINE_ENDS)
def test_only_a_line_feed_ends_a_line(chapter, mark):
    found = transcripts(chapter, f"7-9-0 HELLO{mark}WORLD\n7-9-1 A{mark} B{mark}\n")
    assert found == {"7-9-0": "HELLO WORLD", "7-9-1": "A B"}


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf7-9-0 HELLO WORLD\n7-9-1 A B\n",
        b"\xef\xbb\xbf7-9-0 HELLO WORLD\r\n7-9-1 A B\r\n",
        b"7-9-0\tHELLO  WORLD \n\n7-9-1 A\tB",
        "7-9-0 HELLO\N{NO-BREAK SPACE}WORLD\n7-9-1 A B\n",
        b"7-9-0 HELLO WORLD\n7-9-1 A B\n7-9-0 HELLO  WORLD\n# more\n",
    ],
)
def test_spellings_of_the_same_transcripts(chapter, data):
    assert transcripts(chapter, data) == {"7-9-0": "HELLO WORLD", "7-9-1": "A B"}


def test_two_transcripts_that_differ_are_none(chapter):
    found = transcripts(chapter, "7-9-0 FIRST\n7-9-1 B\n7-9-0 SECOND\n7-9-0 FIRST\n")
    assert found == {"7-9-0": "", "7-9-1": "B"}


def test_transcripts_without_end_are_not_read(chapter):
    with (chapter / "7-9.trans.txt").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="It has 1,099,511,627,776 bytes, at most"):
        index.read_transcripts(chapter)


def test_index_keeps_what_is_no_line_feed(tmp_path):
    row = index.Row("a", "x\u2028\x85y.flac", 5, "A\u2028B\x0bC\x1cD\rE")
    path = tmp_path / "index" / "test.tsv"
    index.write(path, [row, row])
    rows = index.Indexed(path)
    assert len(rows) == 2
    assert rows[1] == (str(tmp_path / row.path), 5, row.transcript)


@pytest.fixture
def root(tmp_path):
    make_corpus(tmp_path / "LibriSpeech")
    return tmp_path / "LibriSpeech"


def refreshed(root):
    """Indexes the test chapter anew and opens it."""
    index.path_of(root, "test").unlink()
    layout.complete(root, layout.SUBSETS, VOCABULARY_SIZE)
    return open_split(definition(), Folders(root.parent), "test")


def test_marks_and_line_ends_reach_neither_targets_nor_doctor(root, published):
    path = root / CHAPTER / "61-70.trans.txt"
    plain = {row.path: row for row in all_rows(refreshed(root))}
    text = path.read_text().replace("\n", "\r\n")
    first, _, rest = text.partition(" ")
    path.write_bytes(("\ufeff" + first + " " + rest.replace(" ", "\u2028")).encode())
    text = path.read_bytes().decode()
    for name in (f"61-70-{k:04d}" for k in range(1, 5)):
        text = text.replace(f"{name}\u2028", f"{name} ")
    path.write_bytes(text.encode())
    assert {row.path: row for row in all_rows(refreshed(root))} == plain
    assert doctor.main(["librispeech", f"--data_dir={root.parent}"]) == 0


def all_rows(dataset):
    return [dataset.examples[k] for k in range(len(dataset.examples))]


def test_sound_without_sum_is_sound_for_trainer_and_doctor(root, published, capsys):
    path = root / CHAPTER / "61-70-0000.flac"
    data = bytearray(path.read_bytes())
    data[26:42] = bytes(16)  # as streaming encoders leave it
    path.write_bytes(data)
    assert damage(path) == ""
    assert len(list(eval_batches(refreshed(root), 5))) == 1
    assert doctor.main(["librispeech", f"--data_dir={root.parent}"]) == 0


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_24", 24), ("PCM_S8", 8)])
def test_other_depths_are_refused_by_trainer_and_doctor(root, subtype, bits):
    path = root / CHAPTER / "61-70-0000.flac"
    sound = spoken("61-70-0000")[0].astype(np.int32) << 16
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, 16_000, subtype, format="FLAC")
    path.write_bytes(buffer.getvalue())
    words = f"has {bits} bits a sample, expected 16"
    assert damage(path) == words
    dataset = refreshed(root)
    (bad,) = (row for row in all_rows(dataset) if row.path == str(path))
    with pytest.raises(BadExample, match=words):
        dataset.element(bad, None)


def test_folders_that_systems_leave_are_no_chapters(root):
    count = len(refreshed(root).examples)
    for folder in ("test-clean/@eaDir/70", "test-clean/61/.ipynb_checkpoints"):
        (root / folder).mkdir(parents=True)
        (root / folder / "61-70-0000.flac").write_bytes(flac(spoken("61-70-0000")[0]))
    (root / "test-clean" / "lost+found").mkdir()
    (root / CHAPTER / "61 70\t1.flac").write_bytes(b"x")
    (root / CHAPTER / os.fsdecode(b"caf\xe9.flac")).write_bytes(b"x")
    assert len(refreshed(root).examples) == count == COUNTS["test"]


@pytest.mark.parametrize("what", ["folder", "pipe"])
def test_what_is_no_file_is_bad(root, what):
    path = root / CHAPTER / "61-70-0000.flac"
    path.unlink()
    path.mkdir() if what == "folder" else os.mkfifo(path)
    with pytest.raises(BadExample, match="It is no file"):
        header(path)
    assert "It is no file" in damage(path)


def test_tokenizer_without_end_is_not_read(tmp_path):
    with (tmp_path / "tokenizer.model").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(
        DataError, match="tokenizer.model cannot be read: It has 1,099,"
    ):
        Tokenizer(tmp_path / "tokenizer.model", 36).check()
