"""Greedy decoding and word error rates; the published one by its checked examples."""

import itertools

import numpy as np

from algorithmic_efficiency import metrics
from algorithmic_efficiency.metrics import Seen
from workloads._librispeech import transcripts


def published(reference, hypothesis):
    """Returns (errors, words) of the public benchmark's WER for one utterance."""
    said, understood = map(transcripts.published, (reference, hypothesis))
    return transcripts.word_errors([said], [understood]), transcripts.words([said])


# From the facts sheet, where the public code was run.
def test_published_wer_counts_two_more_words():
    assert published("the cat sat", "the cat sat") == (0, 5)
    assert published("the cat sat", "the dog sat") == (1, 5)
    assert published("the cat sat", "") == (3, 5)


def test_published_wer_of_a_padded_example():
    assert published("", "") == (0, 3)


def test_an_apostrophe_on_one_side_only_costs_the_published_wer_three_errors():
    assert published("the cats sat", "the cat's sat") == (3, 5)
    assert published("the cat's sat", "the cats sat") == (3, 5)
    assert published("the cat's sat", "the cat's sat") == (0, 5)
    assert published("the cat's sat", "the dog's sat") == (1, 5)
    assert transcripts.word_errors(["the cats sat"], ["the cat's sat"]) == 1


def edits(one, other):
    """Returns the edit distance by its definition, recursively."""
    if not one or not other:
        return len(one) + len(other)
    if one[0] == other[0]:
        return edits(one[1:], other[1:])
    rest = [(one[1:], other), (one, other[1:]), (one[1:], other[1:])]
    return 1 + min(itertools.starmap(edits, rest))


def test_word_errors_are_edit_distances():
    random = np.random.default_rng(0)
    pairs = [
        [list(random.choice(["a", "bc", "d"], random.integers(0, 6))) for _ in range(2)]
        for _ in range(60)
    ]
    expected = sum(edits(one, other) for one, other in pairs)
    said, understood = (list(map(" ".join, side)) for side in zip(*pairs, strict=True))
    assert transcripts.word_errors(said, understood) == expected
    assert transcripts.words(said) == sum(len(one) for one, _ in pairs)


def test_decoding_merges_repeats_and_drops_blanks():
    best = np.array(
        [
            [1, 1, 0, 1, 2, 2],
            [0, 0, 0, 0, 0, 0],
            [3, 2, 2, 3, 0, 3],
            [0, 0, 4, 0, 0, 0],
            [1, 1, 1, 1, 1, 1],
        ]
    )
    assert transcripts.decode(best) == [[1, 1, 2], [], [3, 2, 3, 3], [4], [1]]
    assert transcripts.decode(best[:0]) == []


def test_decoding_is_the_definition():
    best = np.random.default_rng(0).integers(0, 3, (50, 40))
    expected = [
        [label for label, _ in itertools.groupby(row) if label] for row in best.tolist()
    ]
    assert transcripts.decode(best) == expected


WORDS = ["", "the", "cat", "sat", "cat's"]


class Words:
    """A tokenizer whose pieces are words."""

    def decode(self, sequences):
        return [" ".join(WORDS[number] for number in row) for row in sequences]


def speech_batch():
    """Returns three utterances, one of them padding."""
    labels = np.array([[1, 2, 3, 9], [9, 9, 9, 9], [1, 4, 3, 3]], np.float32)
    paddings = np.array([[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    best = np.array([[1, 1, 2, 0, 2], [9, 9, 9, 9, 9], [1, 4, 4, 0, 3]])
    outputs = {
        "best": best,
        "loss": np.array([2.0, 0.0, 0.0], np.float32),
        "tokens": np.array([3.0, 0.0, 0.0], np.float32),
        "fits": np.array([True, False, False]),
    }
    weights = np.array([1, 0, 1], np.float32)
    batch = {"targets": (labels, paddings), "weights": weights}
    return Seen(outputs, batch, "ctc", Words())


def test_speech_metrics_of_a_batch():
    # "the cat sat" heard as "the cat cat", "the cat's sat sat" as "the cat's sat".
    batch = speech_batch()
    values = {
        name: metrics.find(f"workloads._librispeech.metrics.{name}")
        .update(batch)
        .tolist()
        for name in ("wer_true", "wer", "ctc_loss", "misfits")
    }
    assert values == {
        "wer_true": [2.0, 7],
        "wer": [2.0, 11],
        "ctc_loss": [2.0, 3.0],
        "misfits": [1.0, 0.0],
    }
