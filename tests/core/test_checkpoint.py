import errno
import json
import math
import os
import random

import numpy as np
import pytest
from core_fakes import Time

from algorithmic_efficiency.errors import StorageError
from algorithmic_efficiency.runner import checkpoint
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.trial import Progress


class FakeBackend:
    """Saves the state as text; `error` is raised when half of it is written."""

    error: Exception | None = None

    def save(self, path, state, meta):
        path.write_text("half")
        if self.error:
            raise self.error
        path.write_text(json.dumps([state, meta]))

    def load(self, path, state):
        saved, meta = json.loads(path.read_text())
        return {**state, **saved}, meta


def save(folder, step, backend=None, *, keep_all=False, **state):
    meta = checkpoint.describe(Progress(step=step), Clock(Time()), position=step)
    backend = backend or FakeBackend()
    return checkpoint.save(folder, backend, state, meta, keep_all=keep_all)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_only_the_newest_is_kept(tmp_path):
    for step in (5, 10, 100):
        assert save(tmp_path, step) == tmp_path / f"checkpoint_{step}"
        assert names(tmp_path) == [f"checkpoint_{step}"]


def test_all_are_kept_where_asked_for_and_sorted_by_number(tmp_path):
    for step in (100, 5, 10):
        save(tmp_path, step, keep_all=True)
    found = checkpoint.existing(tmp_path)
    assert [path.name for path in found] == [f"checkpoint_{n}" for n in (5, 10, 100)]


def test_the_same_step_may_be_written_twice(tmp_path):
    save(tmp_path, 5, x=1)
    path = save(tmp_path, 5, x=2)
    assert checkpoint.load(path, FakeBackend(), {})[0] == {"x": 2}


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), StorageError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["full disk", "interrupt"],
)
@pytest.mark.parametrize("step", [5, 9], ids=["same step", "later step"])
def test_the_last_good_checkpoint_survives(tmp_path, error, raised, step):
    save(tmp_path, 5, x=1)
    backend = FakeBackend()
    backend.error = error
    with pytest.raises(raised):
        save(tmp_path, step, backend, x=2)
    found = checkpoint.existing(tmp_path)
    assert [path.name for path in found] == ["checkpoint_5"]
    state, meta = checkpoint.load(found[0], FakeBackend(), {"y": 3})
    assert state == {"x": 1, "y": 3}
    assert meta["position"] == 5


def test_other_files_are_no_checkpoints(tmp_path):
    for name in (
        "checkpoint_",
        "checkpoint_x",
        ".checkpoint_7.tmp",
        "checkpoint_7.tmp",
    ):
        (tmp_path / name).write_text("")
    assert checkpoint.existing(tmp_path) == []
    assert checkpoint.existing(tmp_path / "nowhere") == []


@pytest.mark.parametrize("content", ["", "half", "[1]"])
def test_a_damaged_checkpoint_is_a_sentence(tmp_path, content):
    path = save(tmp_path, 5)
    path.write_text(content)
    with pytest.raises(StorageError, match="cannot be read .*Delete it") as caught:
        checkpoint.load(path, FakeBackend(), {})
    assert str(path) in str(caught.value)


def test_progress_clock_and_generators_come_back(tmp_path):
    time = Time()
    clock = Clock(time, {"submission": 3.5})
    clock.switch("evaluation")
    time.sleep(2.0)
    clock.switch("other")
    progress = Progress(
        step=8,
        score=math.inf,
        test_goal_reached=True,
        last_eval_time=3.5,
        preemption_count=1,
        evals=[(4, {"loss": math.nan, "score": 1.5}), (8, {"score": 3.5})],
    )
    random.seed(1)
    np.random.seed(1)
    random.random(), np.random.standard_normal()  # one normal is kept for later
    text = json.dumps(checkpoint.describe(progress, clock, position=9, seed=4))
    expected = random.random(), np.random.standard_normal(3).tolist()
    random.seed(2)
    np.random.seed(2)

    meta = json.loads(text)
    restored, seconds = checkpoint.restore(meta)
    assert math.isnan(restored.evals[0][1].pop("loss"))
    progress.evals[0][1].pop("loss")
    assert restored == progress
    assert isinstance(restored.evals[0], tuple)
    assert seconds == {"submission": 3.5, "evaluation": 2.0, "logging": 0, "other": 0}
    assert (random.random(), np.random.standard_normal(3).tolist()) == expected
    assert (meta["position"], meta["seed"]) == (9, 4)
