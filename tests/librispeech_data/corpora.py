"""Small corpora in LibriSpeech's layout, made on the fly, and a definition for them."""

import dataclasses
import functools
import io
import tarfile
from pathlib import Path

import numpy as np
import soundfile

from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.definition import Definition, Field
from dataset_setup import check_speech, setup
from workloads._librispeech import layout, scale
from workloads._librispeech.data import open_split
from workloads.imagenet_resnet.workload import BASE

SENTENCE = "IT'S MY FAMOUS RED BOX AND HE JUMPED QUIETLY BEYOND THE ZOO WALK"
WORDS = SENTENCE.split()
VOCABULARY_SIZE = 36
SAMPLES, TOKENS = 20_000, 60
# Subset -> (speaker, chapter, number of utterances).
CHAPTERS = {
    "train-clean-100": ((19, 198, 5), (103, 1240, 4)),
    "train-clean-360": ((7, 11, 3),),
    "train-other-500": ((2, 1, 2), (2, 10, 2)),
    "dev-clean": ((84, 121, 4),),
    "dev-other": ((116, 288, 3),),
    "test-clean": ((61, 70, 5),),
}
COUNTS = {"train": 16, "validation": 7, "test": 5}


def definition(**changes) -> Definition:
    """Returns a speech workload whose data are those of `make_corpus`."""
    sound, text = Field((SAMPLES,), "float32"), Field((TOKENS,), "float32")
    row = {
        "name": "speech",
        "data": scale.FULL["data"],
        "fields": {"inputs": (sound, sound), "targets": (text, text)},
        "data_arguments": {
            "source": "librispeech",
            "vocabulary_size": VOCABULARY_SIZE,
            "buckets": (6_000, 12_000, SAMPLES),
        },
        "num_eval_train_examples": 6,
        **{f"num_{split}_examples": count for split, count in COUNTS.items()},
    }
    return dataclasses.replace(BASE, **{**row, **changes})


def names(subset):
    """Yields (folder below the root, name) of every utterance of a subset."""
    for speaker, chapter, count in CHAPTERS[subset]:
        for number in range(count):
            folder = f"{subset}/{speaker}/{chapter}"
            yield folder, f"{speaker}-{chapter}-{number:04d}"


def spoken(name):
    """Returns (int16 samples, transcript) of an utterance; its name is the seed."""
    rng = np.random.default_rng([int(part) for part in name.split("-")])
    size = rng.integers(3_000, SAMPLES)
    sound = np.cumsum(rng.integers(-400, 401, size)).clip(-32_768, 32_767)
    words = " ".join(rng.choice(WORDS, rng.integers(2, 6)))
    return sound.astype(np.int16), SENTENCE if name == "19-198-0000" else words


def flac(sound, rate=16_000, **options):
    """Returns the bytes of a FLAC file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, rate, "PCM_16", format="FLAC", **options)
    return buffer.getvalue()


@functools.cache
def files(subset):
    """Returns path below the root -> bytes, of a whole subset."""
    found = {}
    for folder, name in names(subset):
        sound, text = spoken(name)
        found[f"{folder}/{name}.flac"] = flac(sound)
        chapter = f"{folder}/{'-'.join(folder.split('/')[1:])}.trans.txt"
        found[chapter] = found.get(chapter, b"") + f"{name} {text}\n".encode()
    return found


def make_corpus(root: Path, *, complete: bool = True) -> Folders:
    """Writes all subsets below `root`, which is `<data_dir>/LibriSpeech`."""
    for subset in CHAPTERS:
        for path, data in files(subset).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
    if complete:
        layout.complete(root, layout.SUBSETS, VOCABULARY_SIZE)
    return Folders(root.parent)


def publish(monkeypatch) -> None:
    """Makes the published numbers those of this corpus."""
    counts = {f"num_{split}_examples": count for split, count in COUNTS.items()}
    monkeypatch.setattr(check_speech, "FULL", counts)
    monkeypatch.setattr(layout, "UTTERANCES", COUNTS)
    monkeypatch.setattr(layout, "VOCABULARY_SIZE", VOCABULARY_SIZE)


@functools.cache
def archive(subset) -> bytes:
    """Returns an archive as openslr.org gives it, other files of its included."""
    buffer = io.BytesIO()
    content = {"LibriSpeech/README.TXT": b"read me", "LibriSpeech/BOOKS.TXT": b"books"}
    content |= {f"LibriSpeech/{path}": data for path, data in files(subset).items()}
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def run_setup(tmp_path, *options):
    """Sets LibriSpeech up in `<tmp_path>/data`."""
    return setup.main(["librispeech", f"--data_dir={tmp_path / 'data'}", *options])


def assert_complete(root):
    """Compares every unpacked file with the original, and finds no other."""
    expected = {
        path: data for subset in CHAPTERS for path, data in files(subset).items()
    }
    found = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
    indexes = {f"index/{split}.tsv" for split in COUNTS}
    assert found == expected.keys() | indexes | {"tokenizer.model"}
    assert all((root / path).read_bytes() == data for path, data in expected.items())
    for split, count in COUNTS.items():
        dataset = open_split(definition(), Folders(root.parent), split)
        assert len(dataset.examples) == count
