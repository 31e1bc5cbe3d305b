import dataclasses

import numpy as np
import pytest
from core_fakes import dataset, definition

from algorithmic_efficiency import evaluation
from algorithmic_efficiency.data import BadExample, BadExamples
from algorithmic_efficiency.errors import DataError, EvaluationError

SIZES = {"eval_train": 23, "validation": 17, "test": 11}


def logits(batch, how=""):
    return batch["inputs"]


def evaluate(row, batch_size, sizes=SIZES, predict=logits):
    def open_split(split):
        return dataset(sizes[split], seed=sorted(SIZES).index(split))

    return evaluation.evaluate(row, open_split, predict, batch_size=batch_size)


def expected():
    """Returns the metrics in one pass over all examples, float64."""
    results = {}
    for prefix, split in [("train", "eval_train"), ("validation",) * 2, ("test",) * 2]:
        examples = dataset(SIZES[split], sorted(SIZES).index(split)).examples
        z = np.stack([example["inputs"] for example in examples]).astype(np.float64)
        y = np.array([example["targets"] for example in examples])
        nll = np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), y]
        results[f"{prefix}/num_examples"] = SIZES[split]
        results[f"{prefix}/accuracy"] = (z.argmax(1) == y).mean()
        results[f"{prefix}/loss"] = nll.mean()
    return results


@pytest.mark.parametrize("batch_size", [1, 4, 11, 23, 64])
def test_metrics_do_not_depend_on_the_batch_size(batch_size):
    seen = []

    def predict(batch, how):
        seen.append(len(batch["weights"]))
        return logits(batch)

    got = evaluate(definition(), batch_size, predict=predict)
    want = expected()
    assert got.keys() == want.keys()
    for name, value in want.items():
        assert got[name] == pytest.approx(value, rel=1e-12), name
    assert set(seen) == {batch_size}  # the last batch is padded, so shapes never vary
    assert len(seen) == sum(-(-size // batch_size) for size in SIZES.values())


def test_what_the_model_says_of_padding_does_not_matter():
    def predict(batch, how):
        outputs = batch["inputs"].copy()
        outputs[batch["weights"] == 0] = np.nan
        return outputs

    assert evaluate(definition(), 8, predict=predict) == evaluate(definition(), 8)


@pytest.mark.parametrize("split", SIZES)
@pytest.mark.parametrize("change", [-1, 1])
def test_every_example_must_be_counted_exactly_once(split, change):
    sizes = {**SIZES, split: SIZES[split] + change}
    words = f"The evaluation of {split} counted {sizes[split]} examples and toy has "
    with pytest.raises(EvaluationError, match=words + str(SIZES[split])):
        evaluate(definition(), 4, sizes)


def test_splits_without_a_test_set():
    row = definition(num_test_examples=None)
    assert evaluation.splits(row) == {
        "train": ("eval_train", 23),
        "validation": ("validation", 17),
    }
    got = evaluate(row, 4)
    assert {name.split("/")[0] for name in got} == {"train", "validation"}


def test_an_error_of_the_model_is_not_swallowed():
    def predict(batch, how):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        evaluate(definition(), 4, predict=predict)


def broken(size, seed, numbers):
    """Returns `dataset` with examples that cannot be decoded."""
    whole = dataset(size, seed)

    def element(number, random):
        if number in numbers:
            raise BadExample(f"image {number}", "is cut off")
        return whole.element(whole.examples[number], random)

    return dataclasses.replace(whole, examples=range(size), element=element)


def evaluate_broken(numbers, bad, size=23):
    def open_split(split):
        seed = sorted(SIZES).index(split)
        if split == "eval_train":
            return broken(size, seed, numbers)
        return dataset(SIZES[split], seed)

    return evaluation.evaluate(definition(), open_split, logits, batch_size=4, bad=bad)


def test_a_bad_training_example_is_left_out_and_named():
    bad = BadExamples(2000)
    got = evaluate_broken({3, 17}, bad)
    assert bad == {"image 3": "is cut off", "image 17": "is cut off"}
    assert got["train/num_examples"] == 21
    kept = [k for k in range(23) if k not in (3, 17)]
    examples = dataset(23, sorted(SIZES).index("eval_train")).examples
    right = [examples[k]["inputs"].argmax() == examples[k]["targets"] for k in kept]
    assert got["train/accuracy"] == pytest.approx(np.mean(right), rel=1e-12)
    for name, value in expected().items():
        if not name.startswith("train/"):
            assert got[name] == pytest.approx(value, rel=1e-12), name


def test_too_many_bad_training_examples_end_the_evaluation():
    bad = BadExamples(2000)
    bad.add([("image 1", "is not there")])  # known from the training
    with pytest.raises(DataError, match="3 of 2000 .* image 1 is not there; image 3"):
        evaluate_broken({3, 17}, bad)
    assert len(bad) == 3
    with pytest.raises(DataError, match="23 of 2000"):
        evaluate_broken(set(range(23)), BadExamples(2000))


def test_those_left_out_do_not_hide_one_that_is_missing():
    with pytest.raises(EvaluationError, match="counted 21 examples and toy has 23"):
        evaluate_broken({3}, BadExamples(2000), size=22)


def test_a_bad_example_of_another_split_is_an_error():
    def open_split(split):
        numbers = {5} if split == "validation" else set()
        return broken(SIZES[split], 0, numbers)

    with pytest.raises(DataError, match="image 5 is cut off"):
        evaluation.evaluate(
            definition(), open_split, logits, batch_size=4, bad=BadExamples(2000)
        )
