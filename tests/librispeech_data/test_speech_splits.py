"""Opening LibriSpeech: order, counts, tokens, padding, and the same for any reader."""

import pickle

import numpy as np
import pytest
import sentencepiece
from corpora import (
    COUNTS,
    SAMPLES,
    TOKENS,
    VOCABULARY_SIZE,
    definition,
    make_corpus,
    names,
    spoken,
)

from algorithmic_efficiency.data import eval_batches, train_batches
from workloads._librispeech import layout
from workloads._librispeech.data import find_root, missing, open_split


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("data") / "LibriSpeech")


def spoken_in(split):
    """Returns (samples, transcript) of a split in the order of the names."""
    subsets = layout.SUBSETS[split]
    return [spoken(name) for subset in subsets for _, name in sorted_names(subset)]


def sorted_names(subset):
    return sorted(names(subset), key=lambda row: [int(n) for n in row[1].split("-")])


def test_training_utterances_are_read_bit_for_bit_in_numerical_order(folders):
    dataset = open_split(definition(), folders, "train")
    expected = spoken_in("train")
    assert len(dataset.examples) == len(expected) == COUNTS["train"]
    root = folders.data_dir / "LibriSpeech"
    model = sentencepiece.SentencePieceProcessor(str(root / "tokenizer.model"))
    assert model.vocab_size() == VOCABULARY_SIZE
    for k, (sound, text) in enumerate(expected):
        utterance = dataset.examples[k]
        assert (utterance.samples, utterance.transcript) == (len(sound), text)
        fields = dataset.element(utterance, None)
        batch = dataset.finish(
            {
                key: tuple(array[None] for array in value)
                for key, value in fields.items()
            }
        )
        (found, padded), (tokens, silent) = batch["inputs"], batch["targets"]
        assert {x.dtype for x in (found, padded, tokens, silent)} == {np.dtype("f4")}
        length = min(b for b in (6_000, 12_000, SAMPLES) if b >= len(sound))
        assert found.shape == padded.shape == (1, length)
        np.testing.assert_array_equal(found[0, : len(sound)], sound)
        assert not found[0, len(sound) :].any()
        np.testing.assert_array_equal(padded[0], np.arange(length) >= len(sound))
        numbers = [*model.encode(text), model.eos_id()]
        assert tokens.shape == silent.shape == (1, TOKENS)
        assert tokens[0].tolist() == numbers + [0] * (TOKENS - len(numbers))
        assert silent[0].tolist() == [0] * len(numbers) + [1] * (TOKENS - len(numbers))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_evaluation_is_sorted_by_length_and_complete(folders, split):
    dataset = open_split(definition(), folders, split)
    found = [dataset.examples[k] for k in range(len(dataset.examples))]
    assert [row.samples for row in found] == sorted(
        (len(sound) for sound, _ in spoken_in(split)), reverse=True
    )
    assert {row.transcript for row in found} == {text for _, text in spoken_in(split)}


def test_part_of_training_is_fixed_and_sorted(folders):
    first, again = (open_split(definition(), folders, "eval_train") for _ in range(2))
    rows = [first.examples[k] for k in range(6)]
    assert rows == [again.examples[k] for k in range(6)]
    assert len(first.examples) == len(set(rows)) == 6
    whole = open_split(definition(), folders, "train").examples
    assert set(rows) < {whole[k] for k in range(len(whole))}
    assert [r.samples for r in rows] == sorted((r.samples for r in rows), reverse=True)


def test_batches_are_as_long_as_their_longest_sound_needs(folders):
    dataset = open_split(definition(), folders, "test")
    sizes = sorted((len(sound) for sound, _ in spoken_in("test")), reverse=True)
    batches = list(eval_batches(dataset, 2))
    assert [b["weights"].tolist() for b in batches] == [[1, 1], [1, 1], [1, 0]]
    for batch, longest in zip(batches, sizes[::2], strict=True):
        length = min(b for b in (6_000, 12_000, SAMPLES) if b >= longest)
        assert batch["inputs"][0].shape == batch["inputs"][1].shape == (2, length)
    lengths = [(1 - b["inputs"][1]).sum(1) for b in batches]
    assert np.concatenate(lengths)[:5].tolist() == sizes
    assert not batches[-1]["inputs"][0][1].any()


def test_texts_come_back_from_tokens(folders):
    dataset = open_split(definition(), folders, "test")
    (batch,) = eval_batches(dataset, 5)
    tokens, padded = batch["targets"]
    rows = [
        [int(t) for t in row[hide == 0]]
        for row, hide in zip(tokens, padded, strict=True)
    ]
    assert all(row[-1] == 2 and 0 not in row for row in rows)
    texts = [dataset.examples[k].transcript for k in range(5)]
    assert dataset.tokenizer.decode(rows) == texts
    assert dataset.tokenizer.decode([[], rows[0][:-1], [2]]) == ["", texts[0], ""]


def test_what_is_sent_to_a_worker_holds_no_transcripts(folders):
    examples = open_split(definition(), folders, "train").examples
    text = examples[0].transcript
    assert text.encode() not in pickle.dumps(examples)
    assert pickle.loads(pickle.dumps(examples))[0].transcript == text


def test_workers_resuming_and_pickling_change_no_bit(folders):
    dataset = open_split(definition(), folders, "train")
    copy = pickle.loads(pickle.dumps(dataset))
    streams = (
        train_batches(dataset, 5, seed=3),
        train_batches(dataset, 5, seed=3, workers=2),
        train_batches(copy, 5, seed=3, start=4),
    )
    first, second, late = (
        [next(s) for _ in range(n)] for s, n in zip(streams, (6, 6, 2), strict=True)
    )
    for stream in streams:
        stream.close()
    assert streams[2].position == 6
    for batch, wanted in zip([*second, *late], [*first, *first[4:]], strict=True):
        for name in ("inputs", "targets"):
            for array, right in zip(batch[name], wanted[name], strict=True):
                np.testing.assert_array_equal(array, right)


def test_tokenizer_is_the_published_kind(folders, tmp_path):
    """Unigram, every character covered, the usual control pieces."""
    lines = [spoken(name)[1] for _, name in sorted_names("train-clean-100")]
    (tmp_path / "lines.txt").write_text("\n".join(lines))
    sentencepiece.SentencePieceTrainer.train(
        f"--input={tmp_path}/lines.txt --model_prefix={tmp_path}/m --minloglevel=2 "
        f"--model_type=unigram --character_coverage=1.0 --vocab_size={VOCABULARY_SIZE}"
    )
    paths = tmp_path / "m.model", folders.data_dir / "LibriSpeech" / "tokenizer.model"
    wanted, found = (sentencepiece.SentencePieceProcessor(str(p)) for p in paths)
    for k in range(VOCABULARY_SIZE):
        assert found.id_to_piece(k) == wanted.id_to_piece(k)
        assert found.get_score(k) == pytest.approx(wanted.get_score(k))
    assert [found.id_to_piece(k) for k in range(3)] == ["<unk>", "<s>", "</s>"]


def test_another_tokenizer_may_be_named(folders, tmp_path):
    root = folders.data_dir / "LibriSpeech"
    path = tmp_path / "mine.model"
    path.write_bytes((root / "tokenizer.model").read_bytes())
    (tmp_path / "data").mkdir()
    elsewhere = folders.replaced(librispeech_tokenizer_vocab_path=path)
    dataset = open_split(definition(), elsewhere, "test")
    assert dataset.element.tokenizer.path == path
    assert missing(definition(), elsewhere) is None


def test_data_may_lie_in_the_folder_itself(folders):
    root = folders.data_dir / "LibriSpeech"
    assert find_root(root) == find_root(folders.data_dir) == root
