"""The mini corpus: shipped whole, unpacked once and safely, unlike between splits."""

import io
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpora import definition

from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.errors import DataError, StorageError
from dataset_setup import synthesise_speech
from workloads._librispeech import mini, scale
from workloads._librispeech.data import missing, open_split

ROOT = Path(__file__).parents[2]
MINI = definition(**scale.MINI)
FRAME = 640  # samples of one output of the models: 4 frames of 10 ms


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    mini.prepare(folder)
    return folder


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """An archive with every 50th utterance, enough to train the tokenizer."""
    path = tmp_path_factory.mktemp("few") / "corpus.zip"
    with zipfile.ZipFile(mini.ARCHIVE) as whole, zipfile.ZipFile(path, "w") as part:
        names = whole.namelist()
        texts = [name for name in names if name.endswith(".txt")]
        for name in [*(n for n in names if n.endswith(".opus"))][::50] + texts:
            part.writestr(name, whole.read(name))
    return path


def opened(data_dir, split):
    dataset = open_split(MINI, Folders(data_dir), split)
    return dataset, [dataset.examples[k] for k in range(len(dataset.examples))]


def test_every_utterance_fits_the_workload(data_dir):
    assert missing(MINI, Folders(data_dir)) is None
    for split, count in (*mini.COUNTS.items(), ("eval_train", 200)):
        dataset, rows = opened(data_dir, split)
        assert len(rows) == count
        for row in rows[::10]:
            dataset.element(row, None)
        lengths = np.array([row.samples for row in rows])
        assert lengths.min() >= 16_000 and lengths.max() <= 38_400
        for row in rows:
            tokens = dataset.element.tokenizer.encode(row.transcript)
            assert 0 not in tokens and tokens[-1] == 2 and len(tokens) <= 28
            repeats = sum(a == b for a, b in zip(tokens, tokens[1:], strict=False))
            assert len(tokens) + repeats <= row.samples // FRAME


def test_splits_share_neither_speakers_nor_sentences(data_dir):
    speakers, texts, words = {}, {}, {}
    for split in mini.COUNTS:
        _, rows = opened(data_dir, split)
        speakers[split] = {Path(row.path).name.split("-")[0] for row in rows}
        texts[split] = [row.transcript for row in rows]
        words[split] = Counter(word for text in texts[split] for word in text.split())
    assert {split: len(names) for split, names in speakers.items()} == {
        "train": 29,
        "validation": 5,
        "test": 5,
    }
    assert len(set.union(*speakers.values())) == 39
    assert len({text for rows in texts.values() for text in rows}) == 1_900
    assert 200 < len(words["train"]) < 300
    for split in ("validation", "test"):
        assert words[split].keys() <= words["train"].keys()


def test_layout_is_that_of_librispeech(data_dir):
    (root,) = data_dir.iterdir()
    paths = sorted(root.glob("train-clean/*/*/*.flac"))
    assert len(paths) == 1_500
    for path in paths[::100]:
        speaker, chapter, _ = path.stem.split("-")
        assert path.parts[-3:-1] == (speaker, chapter)
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
        lines = (
            (path.parent / f"{speaker}-{chapter}.trans.txt").read_text().splitlines()
        )
        assert [line.split()[0] for line in lines] == sorted(
            other.stem for other in path.parent.glob("*.flac")
        )


def test_sound_is_that_of_the_archive(data_dir):
    (root,) = data_dir.iterdir()
    with zipfile.ZipFile(mini.ARCHIVE) as packed:
        names = [name for name in packed.namelist() if name.endswith(".opus")]
        for name in names[::200]:
            sound, _ = soundfile.read(io.BytesIO(packed.read(name)))
            found, _ = soundfile.read((root / name).with_suffix(".flac"))
            np.testing.assert_allclose(found, sound, atol=2 / 32_768)
            assert np.abs(sound).max() < 0.9


def test_archive_is_small():
    assert mini.ARCHIVE.stat().st_size < 15_000_000


def test_unpacking_is_said_once_and_repeatable(tmp_path, few, capsys):
    first, second = (mini.prepare(tmp_path / k, few) for k in "ab")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and lines[0].startswith("Unpacking mini speech into")
    assert mini.prepare(tmp_path / "a", few) == first
    assert capsys.readouterr().err == ""
    assert first.stat().st_mode & 0o777 == 0o755  # others may read it
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert len([path for path in files if path.suffix == ".flac"]) == 38
    assert {"tokenizer.model", "train.tsv"} < {path.name for path in files}
    for path in files:
        assert (first / path).read_bytes() == (second / path).read_bytes()


def test_another_archive_or_version_means_another_folder(tmp_path, few, monkeypatch):
    other, same = tmp_path / "other.zip", tmp_path / "same.zip"
    with zipfile.ZipFile(few) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist()[1:]:
            new.writestr(name, old.read(name))
    names = {mini.prepare(tmp_path, path).name for path in (few, other)}
    same.write_bytes(few.read_bytes())
    monkeypatch.setattr(mini, "VERSION", mini.VERSION + 1)
    names.add(mini.prepare(tmp_path, same).name)
    assert len(names) == 3


UNPACK = """
from pathlib import Path
from workloads._librispeech import mini
print(mini.prepare(Path(r"{folder}"), Path(r"{archive}")))
"""


def test_two_processes_at_once_both_find_it_whole(tmp_path, few):
    code = UNPACK.format(folder=tmp_path, archive=few)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(2)
    ]
    said = {process.communicate(timeout=120)[0].strip() for process in processes}
    (folder,) = tmp_path.iterdir()  # and nothing is left beside it
    assert said == {str(folder)}
    assert len(list(folder.rglob("*.flac"))) == 38


@pytest.mark.parametrize("damage", ["gone", "cut off", "changed"])
def test_damaged_archive_is_one_sentence(tmp_path, few, damage):
    path = tmp_path / "corpus.zip"
    data = few.read_bytes()
    if damage == "cut off":
        path.write_bytes(data[:-100])
    if damage == "changed":
        path.write_bytes(data[:5_000] + bytes(50) + data[5_050:])
    with pytest.raises(DataError, match=f"{path} (cannot be read|is damaged): "):
        mini.prepare(tmp_path / "data", path)
    assert not list(tmp_path.glob("data/*"))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("../escaped.opus", 4),
        ("/tmp/escaped.opus", 4),
        ("test-clean/1/../../../../escaped.opus", 4),
        ("test-clean\\..\\..\\escaped.opus", 4),
        ("test-clean/1/1/program.py", 4),
        ("test-clean/1/1/1-1-0000.opus\n", 4),
        ("test-clean/1/1/1-1.trans.txt", 20_000_000),
    ],
)
def test_archive_writes_nothing_else(tmp_path, name, size):
    path = tmp_path / "corpus.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(name, bytes(size))
    with pytest.raises(DataError, match=f"has .* of {size:,} bytes, expected names"):
        mini.prepare(tmp_path / "data", path)
    assert sorted(tmp_path.rglob("*")) == [path, tmp_path / "data"]


def test_sound_of_another_kind_is_one_sentence(tmp_path):
    path = tmp_path / "corpus.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("test-clean/1/1/1-1-0000.opus", b"no sound")
    with pytest.raises(DataError, match=f"{path} is damaged: .*Install it anew"):
        mini.prepare(tmp_path / "data", path)


def test_folder_that_cannot_be_written_is_one_sentence(tmp_path, few):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="mini speech cannot be written.*--data_dir"):
        mini.prepare(tmp_path / "file", few)


def test_archive_says_what_the_script_would_say_now(data_dir):
    """Only the sounds need espeak-ng."""
    (root,) = data_dir.iterdir()
    for split, rows in synthesise_speech.corpus(mini.COUNTS).items():
        (subset,) = mini.SUBSETS[split]
        for row in rows[::7]:
            path = (
                root / subset / row.folder / f"{row.folder.replace('/', '-')}.trans.txt"
            )
            assert f"{row.name} {row.text}\n" in path.read_text()
