"""Examples that cannot be decoded: replaced or left out, named, and never too many."""

from collections import Counter

import numpy as np
import pytest
from pixels import halve, numbers, take

from algorithmic_efficiency.data import (
    BadExample,
    BadExamples,
    Dataset,
    eval_batches,
    train_batches,
)
from algorithmic_efficiency.errors import DataError


def test_bad_example_is_replaced_by_the_next_readable_one():
    stream = train_batches(numbers(3000, broken=(41, 42)), 1000, seed=0)
    batches = take(stream, 3)
    counts = Counter(np.concatenate([b["targets"] for b in batches]).tolist())
    assert counts.pop(43) == 3
    assert set(counts.values()) == {1} and len(counts) == 2997
    assert stream.bad == {"image 41": "is cut off", "image 42": "is cut off"}


@pytest.mark.parametrize("broken", [(1, 2, 500, 800), (7, 8, 9, 10)])
def test_too_many_bad_examples_end_the_training(broken):
    stream = train_batches(numbers(3000, broken=broken), 500, seed=0)
    with pytest.raises(DataError, match=r"4 of 3000 .* 0\.1% .* image \d+ is cut off"):
        take(stream, 6)


class Nameless:
    def __call__(self, number, rng):
        raise BadExample("the same name", "is cut off")


def test_examples_that_share_a_name_do_not_hide_that_none_is_readable():
    stream = train_batches(Dataset(range(3000), Nameless(), halve), 10, seed=0)
    with pytest.raises(DataError, match="None of 3000 training examples"):
        take(stream, 1)


def test_three_bad_of_3000_in_many_epochs_are_three():
    stream = train_batches(numbers(3000, broken=(1, 2, 3)), 3000, seed=0)
    take(stream, 3)
    assert len(stream.bad) == 3


@pytest.mark.parametrize("broken", [(1, 2, 500, 800), (7, 8, 9, 10)])
def test_those_that_ended_the_training_are_known(broken):
    stream = train_batches(numbers(3000, broken), 500, seed=0)
    with pytest.raises(DataError):
        take(stream, 6)
    assert stream.bad == {f"image {number}": "is cut off" for number in broken}


def test_those_of_an_interrupted_training_count():
    known = BadExamples(3000)
    known.update({f"image {number}": "is cut off" for number in (1, 2, 3)})
    stream = train_batches(numbers(3000, (2, 3)), 3000, seed=0, bad=known)
    take(stream, 1)
    assert len(known) == 3
    stream = train_batches(numbers(3000, (4,)), 3000, seed=0, bad=known)
    with pytest.raises(DataError, match="4 of 3000"):
        take(stream, 1)
    assert stream.bad is known and "image 4" in known


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("batch_size", [1, 4, 20])
def test_evaluation_can_leave_them_out(batch_size, workers):
    dataset = numbers(12, broken=(0, 5, 11))
    stream = eval_batches(dataset, batch_size, workers=workers, tolerant=True)
    batches = list(stream)
    assert {len(batch["weights"]) for batch in batches} == {batch_size}
    weights, targets, inputs = (
        np.concatenate([batch[name] for batch in batches])
        for name in ("weights", "targets", "inputs")
    )
    assert targets[weights == 1].tolist() == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert (inputs[weights == 0] == 0).all() and set(weights) <= {0, 1}
    assert stream.counted == 9
    assert stream.left_out == [
        (f"image {number}", "is cut off") for number in (0, 5, 11)
    ]
