"""Plans of batches: every example once, the same whoever asks and in any order."""

import dataclasses
import itertools
import pickle

import numpy as np
import pytest

from algorithmic_efficiency.data import (
    BadExample,
    Blocks,
    Budgets,
    Dataset,
    eval_batches,
    train_batches,
)
from algorithmic_efficiency.errors import DataError

RANDOM = np.random.default_rng(0)
SIZES = RANDOM.integers(1, 9, (53, 2))
LENGTHS = (7, 12, 1, 30, 9)
BUDGETS = (5, 6)


class Bags:
    """Data of examples with many items, laid end to end in a budget."""

    def __len__(self):
        return len(SIZES)

    def __getitem__(self, number):
        return int(number)

    def plan(self, batch_size, seed):
        return Budgets(SIZES, BUDGETS, batch_size, seed)

    def element(self, number, rng):
        noise = 0 if rng is None else rng.integers(1000)
        return {"items": np.full(SIZES[number, 0], number), "noise": noise}

    def collate(self, elements, batch_size):
        items = np.concatenate([row["items"] for row in elements])
        inputs = np.zeros(batch_size * BUDGETS[0], np.int32)
        inputs[: len(items)] = items + 1
        weights = np.zeros(batch_size, np.float32)
        weights[: len(elements)] = 1
        noise = np.array([row["noise"] for row in elements])
        return {"inputs": inputs, "noise": noise, "weights": weights}


def bags(**changes):
    made = Bags()
    dataset = Dataset(made, made.element, dict, made.collate, made.plan)
    return dataclasses.replace(dataset, **changes)


@pytest.mark.parametrize("batch_size", [2, 4, 16])
def test_an_evaluation_has_every_example_once_and_stays_in_its_budgets(batch_size):
    plan = Budgets(SIZES, BUDGETS, batch_size)
    batches = [plan[n] for n in range(len(plan))]
    assert list(itertools.chain(*batches)) == list(range(len(SIZES)))
    for number, batch in enumerate(batches):
        assert plan.size(number) == len(batch) <= batch_size
        assert (SIZES[batch].sum(0) <= np.array(BUDGETS) * batch_size).all()
        following = batches[number + 1][:1] if number + 1 < len(batches) else []
        more = [*batch, *following]
        full = len(batch) == batch_size
        too_much = (SIZES[more].sum(0) > np.array(BUDGETS) * batch_size).any()
        assert full or too_much or not following


def test_an_endless_plan_is_the_same_in_any_order_and_process():
    plan = Budgets(SIZES, BUDGETS, 4, seed=7)
    batches = [plan[n] for n in range(60)]
    again = pickle.loads(pickle.dumps(plan))
    for number in (59, 3, 31, 30, 0):
        assert again[number] == batches[number]
    seen = np.bincount(list(itertools.chain(*batches)))
    assert seen.max() - seen.min() <= 1  # an epoch ends before the next one begins
    assert Budgets(SIZES, BUDGETS, 4, seed=8)[0] != batches[0]


def test_an_example_beyond_the_budgets_is_named():
    with pytest.raises(
        DataError, match=r"Example 2 has the sizes \[3, 41\], more than"
    ):
        Budgets([[1, 1], [2, 2], [3, 41]], (10, 10), 4)


def test_planned_batches_go_through_the_pipeline():
    batches = eval_batches(bags(), 4)
    found = [batch["inputs"][batch["inputs"] > 0] - 1 for batch in batches]
    counts = np.bincount(np.concatenate(found))
    np.testing.assert_array_equal(counts, SIZES[:, 0])
    assert batches.counted == len(SIZES)


@pytest.mark.parametrize("start", [0, 1, 17])
def test_a_planned_stream_goes_on_where_it_was_left(start):
    whole, rest = train_batches(bags(), 4, 3), train_batches(bags(), 4, 3, start=start)
    expected = list(itertools.islice(whole, start + 3))[start:]
    for one, other in zip(expected, rest, strict=False):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    whole.close()
    rest.close()


def test_bad_examples_of_a_planned_batch_are_left_out_and_counted():
    def element(number, rng):
        if number == 5:
            raise BadExample("bag 5", "is torn")
        return Bags().element(number, rng)

    batches = eval_batches(bags(element=element), 4, tolerant=True)
    found = np.concatenate([batch["inputs"] for batch in batches])
    assert 6 not in found
    assert (batches.counted, batches.left_out) == (52, [("bag 5", "is torn")])
    with pytest.raises(DataError, match="bag 5 is torn"):
        list(eval_batches(bags(element=element), 4))


def test_what_is_mixed_depends_on_the_seed_and_the_place_alone():
    def mix(batch, rng):
        return {**batch, "inputs": batch["inputs"] + rng.random(1)}

    streams = [train_batches(bags(mix=mix), 4, 3, start=k) for k in (0, 2)]
    mixed = [[next(stream) for _ in range(3)] for stream in streams]
    np.testing.assert_array_equal(mixed[0][2]["inputs"], mixed[1][0]["inputs"])
    assert mixed[0][0]["inputs"][0] % 1 != mixed[0][1]["inputs"][0] % 1
    plain = next(train_batches(bags(), 4, 3))
    share = mixed[0][0]["inputs"] - plain["inputs"]
    assert 0 < share[0] < 1
    assert np.allclose(share, share[0])
    assert next(iter(eval_batches(bags(mix=mix), 4)))["inputs"].dtype == np.int32
    for stream in streams:
        stream.close()


def rows_of(keys):
    return [(block, int(row)) for block, rows in keys for row in rows]


ALL = [(block, row) for block, size in enumerate(LENGTHS) for row in range(size)]


@pytest.mark.parametrize("batch_size", [1, 8, 25, 100])
def test_blocks_are_evaluated_row_by_row_in_order(batch_size):
    plan = Blocks(LENGTHS, batch_size)
    batches = [rows_of(plan[n]) for n in range(len(plan))]
    assert list(itertools.chain(*batches)) == ALL
    assert [plan.size(n) for n in range(len(plan))] == list(map(len, batches))


@pytest.mark.parametrize("window", [1, 2, 5])
def test_blocks_are_trained_in_epochs_of_mixed_rows(window):
    plan = Blocks(LENGTHS, 8, seed=3, window=window)
    total = sum(LENGTHS)
    stream = list(itertools.chain(*(rows_of(plan[n]) for n in range(3 * total // 8))))
    # Within a batch rows are by block; what matters is which are in which batch.
    for epoch in range(2):
        begin, end = -(-epoch * total // 8) * 8, (epoch + 1) * total // 8 * 8
        inside = stream[begin:end]
        assert len(set(inside)) == len(inside)
    whole = stream[: total // 8 * 8]
    assert len({block for block, _ in whole[:8]}) >= min(window, 2)
    again = pickle.loads(pickle.dumps(plan))
    for number in (19, 2, 11):
        assert rows_of(again[number]) == stream[8 * number : 8 * number + 8]


def test_blocks_larger_than_what_a_batch_needs_and_smaller():
    plan = Blocks(LENGTHS, 200, seed=1, window=2)
    counts = {}
    for key in rows_of(plan[0]):
        counts[key] = counts.get(key, 0) + 1
    assert sum(counts.values()) == 200
    assert set(counts) == set(ALL)
    assert set(counts.values()) <= {3, 4}  # 200 rows are 3.4 epochs of 59
