"""Bad speech data: a sentence names the file; training goes on below 0.1 %."""

import dataclasses
import os
import re

import numpy as np
import pytest
import soundfile
from corpora import COUNTS, definition, flac, make_corpus, spoken

from algorithmic_efficiency.data import (
    BadExample,
    eval_batches,
    train_batches,
)
from algorithmic_efficiency.errors import DataError
from workloads._librispeech import index, layout
from workloads._librispeech.data import missing, open_split
from workloads._librispeech.reading import Element, Utterance, damage, samples
from workloads._librispeech.tokenizer import Tokenizer

FIRST = "test-clean/61/70/61-70-0000"
SOUND, TEXT = spoken("61-70-0000")


@pytest.fixture
def folders(tmp_path):
    return make_corpus(tmp_path / "LibriSpeech")


@pytest.fixture
def root(folders):
    return folders.data_dir / "LibriSpeech"


def flipped(data):
    """Returns a file with one byte changed in its middle."""
    changed = bytearray(data)
    changed[len(data) // 2] ^= 0x5A
    return bytes(changed)


BROKEN = {
    "nothing": (b"", "is empty"),
    "header only": (flac(SOUND)[:42] + bytes(60), "cannot be decoded: "),
    "half a header": (flac(SOUND)[:41], "cannot be decoded: no FLAC header"),
    "no FLAC": (b"MP3" * 40, "cannot be decoded: no FLAC header"),
    "a wrong byte": (flipped(flac(SOUND)), "cannot be decoded: "),
    "cut off": (flac(SOUND)[:-900], "cannot be decoded: "),
    "rate": (flac(SOUND, 44_100), "has 44100 Hz and 1 channels, expected 16000 Hz"),
    "stereo": (flac(np.stack([SOUND, SOUND], 1)), "has 16000 Hz and 2 channels, exp"),
    "shorter": (flac(SOUND[:-7]), f"has {len(SOUND) - 7} samples, and {len(SOUND)} in"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_sound_is_a_bad_example(folders, root, what):
    data, why = BROKEN[what]
    dataset = open_split(definition(), folders, "test")
    path = root / f"{FIRST}.flac"
    path.write_bytes(data)
    rows = map(dataset.examples.__getitem__, range(5))
    (broken,) = (row for row in rows if row.path == str(path))
    with pytest.raises(BadExample) as caught:
        dataset.element(broken, None)
    assert caught.value.name == str(path)
    assert caught.value.why.startswith(why)


def test_decoder_that_gives_what_it_has_is_not_trusted(folders, monkeypatch):
    """libsndfile 1.2.2 fails on a file that is cut off; others may not."""
    path = folders.data_dir / "LibriSpeech" / f"{FIRST}.flac"
    monkeypatch.setattr(soundfile, "read", lambda *a, **k: (SOUND[:-5], 16_000))
    size = len(SOUND)
    assert damage(path) == f"is cut off: {size - 5} of {size} samples"
    with pytest.raises(BadExample, match=f"is cut off: {size - 5} of {size} samples"):
        samples(Utterance(str(path), size, TEXT))


def test_sound_that_is_gone_is_a_bad_example(folders, root):
    dataset = open_split(definition(), folders, "test")
    (root / f"{FIRST}.flac").unlink()
    with pytest.raises(DataError, match=rf"{FIRST}.flac is not there\. A score needs"):
        list(eval_batches(dataset, 5))


def test_too_long_for_the_workload_is_a_bad_example(folders):
    path = folders.data_dir / "LibriSpeech" / f"{FIRST}.flac"
    tokenizer = Tokenizer(folders.data_dir / "LibriSpeech" / "tokenizer.model", 36)
    utterance = Utterance(str(path), len(SOUND), TEXT)
    tokens = len(tokenizer.encode(TEXT))
    Element(tokenizer, len(SOUND), tokens)(utterance, None)
    with pytest.raises(BadExample, match=f"has {tokens} tokens, at most {tokens - 1}"):
        Element(tokenizer, len(SOUND), tokens - 1)(utterance, None)
    with pytest.raises(BadExample, match=f"has {len(SOUND)} samples, at most"):
        Element(tokenizer, len(SOUND) - 1, tokens)(utterance, None)


def rewritten(folders, root, old, new):
    """Changes the transcripts of the test chapter and indexes it anew."""
    path = root / "test-clean/61/70/61-70.trans.txt"
    path.write_text(path.read_text().replace(old, new))
    layout.index.path_of(root, "test").unlink()
    layout.complete(root, layout.SUBSETS, 36)
    return open_split(definition(), folders, "test")


def test_characters_outside_the_tokenizer_are_named(folders, root):
    dataset = rewritten(folders, root, TEXT, "THE BOX FÜR 2")
    message = "61-70-0000.flac has 'Ü2' in its transcript, .*/tokenizer.model"
    with pytest.raises(DataError, match=message):
        list(eval_batches(dataset, 5))


def test_missing_transcript_is_named(folders, root):
    dataset = rewritten(folders, root, f"61-70-0000 {TEXT}\n", "")
    assert len(dataset.examples) == 5
    open_split(definition(num_test_examples=4), folders, "test")  # it may be too long
    with pytest.raises(DataError, match="61-70-0000.flac has no transcript beside it"):
        list(eval_batches(dataset, 5))


def test_missing_transcripts_of_a_chapter_are_named(folders, root):
    (root / "test-clean/61/70/61-70.trans.txt").unlink()
    layout.complete(root, layout.SUBSETS, 36)
    dataset = open_split(definition(), folders, "test")
    with pytest.raises(DataError, match=r"61-70-000\d.flac has no transcript"):
        list(eval_batches(dataset, 5))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file.*setup librispeech --data_"),
        (b"", "is empty"),
        (b"<unk>\t0\n<s>\t0\n", "is not a SentencePiece model"),
        ("other size", "has a vocabulary of 30 pieces, expected 36"),
    ],
)
def test_unusable_tokenizer_is_one_sentence(folders, root, content, words):
    path = root / "tokenizer.model"
    if content == "other size":
        texts = [spoken(f"1-1-{k}")[1] for k in range(90)]
        layout.tokenizer.train(texts, path, 30)
    elif content is None:
        path.unlink()
        assert re.search(f"no tokenizer {path}", missing(definition(), folders))
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"tokenizer\.model.*{words}"):
        open_split(definition(), folders, "train")


def test_index_that_is_older_than_the_data_is_refused(folders, root):
    os.utime(index.path_of(root, "test"), (1, 1))
    with pytest.raises(
        DataError, match=r"test\.tsv is older than the data in .*/test-c"
    ):
        open_split(definition(), folders, "test")
    layout.complete(root, layout.SUBSETS, 36)
    assert len(open_split(definition(), folders, "test").examples) == 5


@pytest.mark.parametrize("depth", ["", "61", "61/70"])
def test_any_folder_may_be_the_newer_one(folders, root, depth):
    changed = root / "test-clean" / depth
    later = index.path_of(root, "test").stat().st_mtime + 5
    os.utime(changed, (later, later))
    with pytest.raises(DataError, match=rf"older than the data in {changed}\. `python"):
        open_split(definition(), folders, "test")
    open_split(definition(), folders, "validation")


@pytest.mark.parametrize("damage", ["gone", "empty", "cut off", "garbage", "version"])
def test_unusable_index_is_one_sentence(folders, root, damage):
    path = index.path_of(root, "train")
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
        assert re.search(
            "no index of LibriSpeech's train split", missing(definition(), folders)
        )
    else:
        path.write_bytes(
            {
                "empty": b"",
                "cut off": data[: len(data) // 2],
                "garbage": b"rows\n" * 17,
                "version": data.replace(b'"format": 1', b'"format": 0'),
            }[damage]
        )
    with pytest.raises(
        DataError, match=rf"{path} .*setup librispeech --data_dir=.* mends"
    ):
        open_split(definition(), folders, "train")


@pytest.mark.parametrize("split", COUNTS)
@pytest.mark.parametrize("change", [-1, 1])
def test_another_number_than_published_is_refused(folders, split, change):
    count = COUNTS[split] + change
    other = definition(**{f"num_{split}_examples": count})
    words = (
        f"{split} split of speech .* has {COUNTS[split]} utterances, expected {count}"
    )
    with pytest.raises(DataError, match=words):
        open_split(other, folders, split)


def test_long_utterances_are_left_out(folders, root, monkeypatch):
    sizes = sorted(spoken(f"61-70-{k:04d}")[0].size for k in range(5))
    monkeypatch.setattr(index, "MAX_SAMPLES", sizes[3])
    index.path_of(root, "test").unlink()
    layout.complete(root, layout.SUBSETS, 36)
    opened = open_split(definition(num_test_examples=4), folders, "test")
    assert [opened.examples[k].samples for k in range(4)] == sizes[3::-1]
    texts = sorted(opened.examples[k].transcript for k in range(4))
    longest = max(map(len, texts))
    for limit in (longest, longest - 1):
        monkeypatch.setattr(index, "MAX_CHARACTERS", limit)
        index.path_of(root, "test").unlink()
        layout.complete(root, layout.SUBSETS, 36)
        kept = [text for text in texts if len(text) <= limit]
        opened = open_split(definition(num_test_examples=len(kept)), folders, "test")
        rows = [opened.examples[k].transcript for k in range(len(kept))]
        assert sorted(rows) == kept


def test_damaged_header_may_stand_for_one_that_is_left_out(folders, root):
    """Whether it would have been short enough cannot be known."""
    (root / f"{FIRST}.flac").write_bytes(b"")
    index.path_of(root, "test").unlink()
    layout.complete(root, layout.SUBSETS, 36)
    for count in (4, 5):
        dataset = open_split(definition(num_test_examples=count), folders, "test")
        assert len(dataset.examples) == 5
    with pytest.raises(DataError, match="61-70-0000.flac is empty"):
        list(eval_batches(dataset, 5))
    with pytest.raises(DataError, match="has 5 utterances, expected 3"):
        open_split(definition(num_test_examples=3), folders, "test")


@pytest.mark.parametrize("count", [0, 1 << 35])
def test_header_with_an_impossible_length_is_named(folders, root, count):
    path = root / f"{FIRST}.flac"
    data = bytearray(flac(SOUND))
    data[21] = data[21] & 0xF0 | count >> 32
    data[22:26] = (count & 0xFFFFFFFF).to_bytes(4)
    path.write_bytes(data)
    (row, *_) = index.scan(root, layout.SUBSETS["test"])
    assert (row.samples, row.why) == (0, f"says that it has {count} samples")
    index.path_of(root, "test").unlink()
    layout.complete(root, layout.SUBSETS, 36)
    dataset = open_split(definition(), folders, "test")
    assert dataset.examples[4] == (str(path), 0, TEXT)
    with pytest.raises(DataError, match=f"flac says that it has {count} samples"):
        list(eval_batches(dataset, 5))


class Many:
    """The same few utterances very often, some of them without their file."""

    def __init__(self, examples, broken):
        self._rows = [examples[k] for k in range(3)]
        self._broken = broken

    def __len__(self):
        return 1_000

    def __getitem__(self, number):
        row = self._rows[number % 3]
        broken = f"/nowhere/{number}.flac"
        return row._replace(path=broken) if number in self._broken else row


def test_training_goes_on_with_few_broken_files_only(folders):
    dataset = open_split(definition(), folders, "train")
    few, many = (
        dataclasses.replace(dataset, examples=Many(dataset.examples, broken))
        for broken in ((77,), (77, 500))
    )
    stream = train_batches(few, 1_000, seed=0)
    next(stream)
    stream.close()
    assert stream.bad == {"/nowhere/77.flac": "is not there"}
    stream = train_batches(many, 1_000, seed=0)
    with pytest.raises(DataError, match=r"2 of 1000 training .*/500.flac is not there"):
        next(stream)
    stream.close()
