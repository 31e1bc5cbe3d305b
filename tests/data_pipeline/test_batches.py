"""The batches: complete, in a fixed order, the same for any number of workers."""

import dataclasses
import multiprocessing
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
from pixels import numbers, take

from algorithmic_efficiency.data import Dataset, Subset, eval_batches, train_batches
from algorithmic_efficiency.errors import DataError


def assert_same(batches, expected):
    assert len(batches) == len(expected)
    for batch, wanted in zip(batches, expected, strict=True):
        assert batch.keys() == wanted.keys() == {"inputs", "targets", "weights"}
        for name in wanted:
            assert batch[name].dtype == wanted[name].dtype
            np.testing.assert_array_equal(batch[name], wanted[name])


def test_workers_and_resuming_change_no_bit():
    dataset = numbers(3000, broken=(5, 6, 700))
    stream = train_batches(dataset, 700, seed=3)
    expected = take(stream, 9)
    assert stream.position == 9
    assert set(stream.bad) == {"image 5", "image 6", "image 700"}
    for workers in (1, 2):
        stream = train_batches(dataset, 700, seed=3, workers=workers)
        assert_same(take(stream, 9), expected)
        assert set(stream.bad) == {"image 5", "image 6", "image 700"}
    stream = train_batches(dataset, 700, seed=3, workers=2, start=6)
    assert_same(take(stream, 3), expected[6:])
    assert stream.position == 9
    for start in (1, 8):
        stream = train_batches(dataset, 700, seed=3, start=start)
        assert_same(take(stream, 9 - start), expected[start:])


@dataclasses.dataclass(frozen=True)
class Counted:
    """An element that counts, in a file, how many were made in whatever process."""

    path: Path

    def __call__(self, number, rng):
        with self.path.open("a") as file:
            file.write("x")
        return {"inputs": np.float32(number), "targets": np.int32(number)}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("start", [0, 5])
def test_the_first_batch_waits_ready_and_nothing_moves(tmp_path, workers, start):
    dataset = Dataset(range(4000), Counted(tmp_path / "made"), dict)
    straight = train_batches(dataset, 500, seed=3, start=start)
    expected = take(straight, 4)
    straight.close()
    stream = train_batches(dataset, 500, seed=3, workers=workers, start=start)
    (tmp_path / "made").write_text("")
    for _ in range(2):  # the second time there is nothing to do
        stream.get_ready()
    assert (tmp_path / "made").stat().st_size >= 500
    assert stream.position == start
    assert_same(take(stream, 4), expected)
    assert stream.position == start + 4
    stream.get_ready()
    stream.close()
    stream.get_ready()
    assert list(stream) == []


def test_bad_examples_of_the_batch_that_waits_count_when_it_is_handed_out():
    stream = train_batches(numbers(3000, broken=(5, 6, 700)), 3000, seed=3)
    stream.get_ready()
    assert not stream.bad
    next(stream)
    assert set(stream.bad) == {"image 5", "image 6", "image 700"}


def test_epochs_are_joined_complete_and_in_new_order():
    batches = take(train_batches(numbers(50), 20, seed=0), 10)
    seen = np.concatenate([batch["targets"] for batch in batches]).reshape(4, 50)
    for epoch in seen:
        assert sorted(epoch) == list(range(50))
    assert not (seen[0] == seen[1]).all()
    assert not (seen[0] == np.arange(50)).all()
    assert all((batch["weights"] == np.ones(20, np.float32)).all() for batch in batches)
    first, second = (
        {b["targets"][k]: b["inputs"][k] for b in part for k in range(20)}
        for part in (batches[:2], batches[5:7])
    )
    shared = first.keys() & second.keys()
    assert shared and any((first[k] != second[k]).any() for k in shared)


def test_seeds_differ_and_fit_any_size():
    first, same, other, huge = (
        take(train_batches(numbers(50), 20, seed=seed), 2) for seed in (1, 1, 2, 2**70)
    )
    assert_same(first, same)
    for different in (other, huge):
        assert (first[0]["targets"] != different[0]["targets"]).any()


def test_batch_may_be_larger_than_the_split():
    (batch,) = take(train_batches(numbers(3), 10, seed=0), 1)
    assert sorted(Counter(batch["targets"].tolist()).values()) == [3, 3, 4]


@pytest.mark.parametrize("batch_size", [1, 4, 10, 12, 40])
def test_evaluation_counts_every_example_once(batch_size):
    batches = list(eval_batches(numbers(12), batch_size))
    assert {batch["inputs"].shape for batch in batches} == {(batch_size, 2, 3)}
    joined = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
    padding = len(joined["targets"]) - 12
    assert padding == -12 % batch_size
    assert joined["targets"].tolist() == [*range(12)] + [0] * padding
    assert joined["weights"].tolist() == [1.0] * 12 + [0.0] * padding
    expected = np.r_[np.arange(12) / 2, np.zeros(padding)]
    np.testing.assert_array_equal(joined["inputs"][:, 1, 2], expected.astype("float32"))


def test_evaluation_with_workers_is_the_same_and_fails_the_same():
    assert_same(
        list(eval_batches(numbers(90), 20, workers=2)),
        list(eval_batches(numbers(90), 20)),
    )
    for workers in (0, 1):
        with pytest.raises(DataError, match="image 7 is cut off"):
            list(eval_batches(numbers(90, broken=(7,)), 20, workers=workers))


@dataclasses.dataclass(frozen=True)
class Sound:
    """An element whose entries are tuples of arrays, as speech has."""

    def __call__(self, number, rng):
        sound = np.full(4, number, np.float32)
        if rng is not None:
            sound += rng.integers(0, 1000, 4)
        padded = np.arange(4) >= number % 5
        tokens = np.asarray([number], np.int32)
        return {"inputs": (sound, padded.astype(np.float32)), "targets": (tokens,)}


def shorten(batch):
    return {**batch, "inputs": tuple(array[:, :3] for array in batch["inputs"])}


def test_entries_may_be_tuples_of_arrays():
    dataset = Dataset(range(9), Sound(), shorten)
    batches = list(eval_batches(dataset, 4))
    sound, padded = (
        np.concatenate([b["inputs"][k] for b in batches]) for k in range(2)
    )
    assert sound.shape == (12, 3) and sound[:, 2].tolist() == [*range(9), 0, 0, 0]
    assert padded[:6].sum(1).tolist() == [3, 2, 1, 0, 0, 3]
    assert padded[9:].tolist() == np.zeros((3, 3)).tolist()
    tokens = np.concatenate([b["targets"][0] for b in batches])
    assert tokens.ravel().tolist() == [*range(9), 0, 0, 0]
    assert [b["weights"].sum() for b in batches] == [4, 4, 1]
    expected = take(train_batches(dataset, 4, seed=1), 3)
    found = take(train_batches(dataset, 4, seed=1, workers=1), 3)
    for batch, wanted in zip(found, expected, strict=True):
        for name in ("inputs", "targets"):
            for array, right in zip(batch[name], wanted[name], strict=True):
                assert type(array) is np.ndarray and array.dtype == right.dtype
                np.testing.assert_array_equal(array, right)


def test_subset_is_fixed_by_its_seed():
    values = [str(k) for k in range(100)]
    first, same, other = (Subset(values, 30, seed) for seed in (1, 1, 2))
    drawn = [first[k] for k in range(len(first))]
    assert drawn == [same[k] for k in range(30)] != [other[k] for k in range(30)]
    assert len(set(drawn)) == 30 and drawn == sorted(drawn, key=int)


def test_closing_stops_threads_and_processes():
    before = {thread.name for thread in threading.enumerate()}
    for workers in (0, 1):
        stream = train_batches(numbers(100), 10, seed=0, workers=workers)
        next(stream)
        stream.close()
        stream.close()
        with pytest.raises(StopIteration):
            next(stream)
    assert multiprocessing.active_children() == []
    left = {thread.name for thread in threading.enumerate()} - before
    assert not [name for name in left if "thread-prefetch" in name]


def run_script(tmp_path, text):
    """Runs a script that may import what this file defines."""
    script = tmp_path / "script.py"
    script.write_text(text.replace("tests_batches", __name__))
    folder = Path(__file__).parent
    return subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": f"{folder}:{folder.parents[1]}", "PATH": "/usr/bin:/bin"},
    )


UNCLOSED = """
from tests_batches import numbers, train_batches, eval_batches
if __name__ == "__main__":
    trained = train_batches(numbers(5000), 10, seed=0, workers={workers})
    last = next(trained)
    evaluated = eval_batches(numbers(5000), 10, workers={workers})
    also = next(evaluated)
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_process_ends_quietly_without_closing(tmp_path, workers):
    done = run_script(tmp_path, UNCLOSED.format(workers=workers))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


KILLED = """
import multiprocessing, os, signal
from tests_batches import numbers, train_batches
if __name__ == "__main__":
    stream = train_batches(numbers(5000), 10, seed=0, workers=1)
    next(stream)
    print(*[process.pid for process in multiprocessing.active_children()], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    (pid,) = run_script(tmp_path, KILLED).stdout.split()
    deadline = time.monotonic() + 300
    while is_running(int(pid)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_import_loads_nothing_heavy():
    kinds = ("_imagenet", "_librispeech")
    modules = "algorithmic_efficiency.data", *(f"workloads.{k}.data" for k in kinds)
    heavy = {"torch", "jax", "grain", "cv2", "absl", "tensorflow_datasets"}
    heavy |= {"soundfile", "sentencepiece", "scipy"}
    code = f"import sys, {', '.join(modules)}; print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
