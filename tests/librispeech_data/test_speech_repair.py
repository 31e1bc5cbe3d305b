"""`dataset_setup librispeech` mends what a run refuses, and says so truly."""

import os
import shutil

import pytest
from corpora import COUNTS, definition, spoken

from algorithmic_efficiency.data import Folders, eval_batches
from algorithmic_efficiency.errors import DataError
from dataset_setup import setup
from workloads._librispeech import index, layout, mini, scale
from workloads._librispeech.data import open_split

CHAPTER = "test-clean/61/70"
pytestmark = pytest.mark.usefixtures("published")


def replace(path, data):
    """Changes a file; neither its time nor its folder's tells."""
    before = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def cut_index(root):
    path = index.path_of(root, "test")
    replace(path, path.read_bytes()[:90])


def damage_line(root):
    path = index.path_of(root, "test")
    first, line, rest = path.read_bytes().split(b"\n", 2)
    replace(path, b"\n".join((first, line.replace(b"\t", b" "), rest)))


def index_an_empty_file(root):
    """The good file is put in its place afterwards."""
    path = root / CHAPTER / "61-70-0000.flac"
    sound = path.read_bytes()
    replace(path, b"")
    index.path_of(root, "test").unlink()
    layout.complete(root, layout.SUBSETS, 36)
    replace(path, sound)


def correct_transcript(root):
    path = root / CHAPTER / "61-70.trans.txt"
    replace(path, path.read_bytes().replace(b"61-70-0000", b"61-70-0000 WALK"))


def touch_folder(root):
    now = index.path_of(root, "test").stat().st_mtime_ns
    os.utime(index.path_of(root, "test"), ns=(1, now - 10**9))


def spoil_tokenizer(root):
    (root / "tokenizer.model").write_bytes(b"junk")


def empty_tokenizer(root):
    (root / "tokenizer.model").write_bytes(b"")


def other_tokenizer(root):
    texts = [spoken(f"1-1-{k}")[1] for k in range(90)]
    layout.tokenizer.train(texts, root / "tokenizer.model", 30)


@pytest.mark.parametrize(
    "spoil",
    [
        cut_index,
        damage_line,
        index_an_empty_file,
        correct_transcript,
        touch_folder,
        spoil_tokenizer,
        empty_tokenizer,
        other_tokenizer,
    ],
)
def test_setup_mends_what_is_spoilt(root, spoil, capsys):
    whole = root / "index" / "train.tsv"
    before = whole.stat().st_mtime_ns
    spoil(root)
    assert setup.main(["librispeech", f"--data_dir={root.parent}"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(COUNTS)
    dataset = open_split(definition(), Folders(root.parent), "test")
    (batch,) = eval_batches(dataset, 5)
    assert batch["weights"].all()
    texts = {dataset.examples[k].transcript for k in range(5)}
    rows = (root / CHAPTER / "61-70.trans.txt").read_text().splitlines()
    assert texts == {row.partition(" ")[2] for row in rows}
    assert whole.stat().st_mtime_ns == before


def test_transcript_that_is_newer_than_the_index_is_refused(root):
    path = root / CHAPTER / "61-70.trans.txt"
    later = index.path_of(root, "test").stat().st_mtime + 5
    os.utime(path, (later, later))
    with pytest.raises(DataError, match=f"older than the data in {path}"):
        open_split(definition(), Folders(root.parent), "test")


@pytest.mark.parametrize("split", ["train", "test"])
def test_damaged_line_of_an_index_is_one_sentence(root, split):
    path = index.path_of(root, split)
    first, line, rest = path.read_bytes().split(b"\n", 2)
    replace(path, b"\n".join((first, line.replace(b"\t", b" "), rest)))
    with pytest.raises(DataError, match=rf"The index {path} is damaged in line 2\."):
        open_split(definition(), Folders(root.parent), split).examples[0]


def test_tokenizer_learns_from_legible_transcripts_only(root):
    model = root / "tokenizer.model"
    path = root / "train-clean-100/19/198/19-198.trans.txt"
    rows = path.read_bytes().splitlines(keepends=True)
    found = []
    for last in (rows[-1].replace(b" ", b" \xdc", 1), b""):
        path.write_bytes(b"".join((*rows[:-1], last)))
        model.unlink()
        layout.complete(root, layout.SUBSETS, 36)
        found.append(model.read_bytes())
    assert found[0] == found[1]


def test_tokenizer_that_was_asked_for_is_not_mended_by_setup(root, tmp_path):
    given = tmp_path / "given.model"
    given.write_bytes(b"junk")
    with pytest.raises(DataError, match=r"given\.model is not .* Name another one by"):
        open_split(
            definition(),
            Folders(root.parent).replaced(librispeech_tokenizer_vocab_path=given),
            "test",
        )


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    return mini.prepare(tmp_path_factory.mktemp("mini"))


@pytest.mark.parametrize("what", ["index", "old", "tokenizer", "count"])
def test_damaged_mini_corpus_is_unpacked_anew(unpacked, tmp_path, what):
    root = tmp_path / unpacked.name
    shutil.copytree(unpacked, root)
    path = index.path_of(root, "test")
    if what == "index":
        path.write_bytes(b"junk")
    elif what == "old":
        os.utime(path, (1, 1))
    elif what == "tokenizer":
        (root / "tokenizer.model").unlink()
    else:
        rows = list(index.scan(root, ("dev-clean",)))
        index.write(path, rows[:150])
    speech, folders = definition(**scale.MINI), Folders(tmp_path)
    with pytest.raises(DataError) as caught:
        open_split(speech, folders, "test")
    advice = f". Remove the folder {root}; the next run unpacks it anew."
    assert str(caught.value).endswith(advice)
    assert "dataset_setup" not in str(caught.value)
