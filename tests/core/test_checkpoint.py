import errno
import json
import math
import os
import random

import numpy as np
import pytest
from core_fakes import Time

from algorithmic_efficiency import state as states
from algorithmic_efficiency.errors import StorageError
from algorithmic_efficiency.runner import checkpoint
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.trial import Progress
from algorithmic_efficiency.state import file


class FakeBackend:
    """No framework: states of NumPy arrays and plain data."""

    kinds = states.kinds((), ())

    def generators(self):
        return None

    def set_generators(self, value):
        assert value is None


def fresh():
    return {"params": {"w": np.zeros((3, 4))}, "optimizer_state": {}}


class Trial:
    """Writes and reads the checkpoints of one folder; `said` is what it told."""

    def __init__(self, folder, *, keep_all=False):
        self.folder = folder
        self.said = []
        self.state = fresh()
        self.origin = states.Origin(FakeBackend.kinds, self.state)
        self.writer = checkpoint.Writer(
            folder,
            FakeBackend(),
            self.origin,
            keep_all=keep_all,
            tell=self.said.append,
        )

    def save(self, step, **optimizer_state):
        state = {**self.state, "optimizer_state": optimizer_state}
        meta = checkpoint.describe(Progress(step=step), Clock(Time()), position=step)
        return self.writer.save(state, meta)

    def newest(self):
        return checkpoint.newest_whole(
            self.folder, FakeBackend(), self.state, self.origin
        )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def steps(folder):
    return [int(p.name.split("_")[1]) for p in checkpoint.existing(folder)]


def test_two_are_kept(tmp_path):
    trial = Trial(tmp_path)
    for step, kept in ((5, [5]), (10, [5, 10]), (100, [10, 100]), (100, [10, 100])):
        assert trial.save(step) == tmp_path / f"checkpoint_{step}"
        assert steps(tmp_path) == kept


def test_all_are_kept_where_asked_for_also_by_a_later_run_without_the_flag(tmp_path):
    trial = Trial(tmp_path, keep_all=True)
    for step in (100, 5, 10):
        trial.save(step)
    resumed = Trial(tmp_path)
    for step in (200, 300, 400, 500):
        resumed.save(step)
    assert steps(tmp_path) == [5, 10, 100, 400, 500]


def test_the_same_step_may_be_written_twice(tmp_path):
    trial = Trial(tmp_path)
    trial.save(5, x=1)
    trial.save(5, x=2)
    assert trial.newest().state["optimizer_state"] == {"x": 2}


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), StorageError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["full disk", "interrupt"],
)
@pytest.mark.parametrize("step", [5, 9], ids=["same step", "later step"])
def test_the_last_good_checkpoint_survives(tmp_path, monkeypatch, error, raised, step):
    trial = Trial(tmp_path)
    trial.save(5, x=1)
    before = (tmp_path / "checkpoint_5").read_bytes()

    def half(file, digest, data):
        file.write(b"half")
        raise error

    monkeypatch.setattr(file, "_put", half)
    with pytest.raises(raised):
        trial.save(step, x=2)
    assert names(tmp_path) == ["checkpoint_5"]
    assert (tmp_path / "checkpoint_5").read_bytes() == before


def test_other_files_are_no_checkpoints_and_half_written_ones_are_removed(tmp_path):
    for name in (
        "checkpoint_",
        "checkpoint_x",
        "checkpoint_7.tmp",
        ".checkpoint_7.tmp",
    ):
        (tmp_path / name).write_text("")
    assert checkpoint.existing(tmp_path) == []
    assert checkpoint.existing(tmp_path / "nowhere") == []
    assert Trial(tmp_path).newest() is None
    assert names(tmp_path) == ["checkpoint_", "checkpoint_7.tmp", "checkpoint_x"]


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "cut off":
        data = data[: len(data) // 2]
    elif how == "empty":
        data = b""
    elif how == "zeros":
        data = bytes(len(data))
    elif how == "longer":
        data += b"\0"
    else:
        data[how] ^= 1 << random.Random(how).randrange(8)
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["cut off", "empty", "zeros", "longer", 0, 9, 300, -1])
def test_a_damaged_one_falls_back_to_the_one_before(tmp_path, how):
    trial = Trial(tmp_path)
    trial.save(5, x=1)
    damage(trial.save(10, x=2), how)
    found = trial.newest()
    assert found.path == tmp_path / "checkpoint_5"
    assert found.state["optimizer_state"] == {"x": 1}
    assert found.meta["position"] == 5
    (note,) = found.notes
    assert "checkpoint_10 is damaged" in note
    assert names(tmp_path) == ["checkpoint_10.damaged", "checkpoint_5"]


def test_a_flipped_bit_is_found_anywhere(tmp_path):
    trial = Trial(tmp_path)
    path = trial.save(5, x=np.arange(100.0), y=["text"])
    whole = path.read_bytes()
    draw = random.Random(0)
    for place in {0, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(60))}:
        damage(path, place)
        with pytest.raises(file.Damaged):
            file.read(path)
        path.write_bytes(whole)
    file.read(path)


def test_without_a_whole_one_nothing_starts_from_zero(tmp_path):
    trial = Trial(tmp_path)
    damage(trial.save(5), "zeros")
    damage(trial.save(10), "cut off")
    with pytest.raises(StorageError, match=r"No checkpoint .*_5, .*_10 .*--overwrite"):
        trial.newest()
    assert names(tmp_path) == ["checkpoint_10", "checkpoint_5"]


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x82\xa4meta"])
def test_the_former_format_is_named(tmp_path, start):
    (tmp_path / "checkpoint_5").write_bytes(start + bytes(500))
    with pytest.raises(StorageError, match="another version"):
        Trial(tmp_path).newest()


def test_another_model_is_named(tmp_path):
    trial = Trial(tmp_path)
    trial.save(5)
    other = Trial(tmp_path)
    other.state["params"] = {"w": np.zeros((3, 5))}
    other.origin = states.Origin(FakeBackend.kinds, other.state)
    with pytest.raises(StorageError, match=r"params\['w'\] is .*\[3, 4\].*\[3, 5\]"):
        other.newest()


def test_what_cannot_be_saved_is_named_once_and_refused_at_the_resume(tmp_path):
    trial = Trial(tmp_path)
    trial.save(5, draws=(n for n in range(3)), fine=1)
    trial.save(6, draws=(n for n in range(3)), fine=1)
    (said,) = trial.said
    assert "cannot be resumed" in said
    assert "optimizer_state['draws'] (generator): the position of a generator" in said
    with pytest.raises(StorageError, match=r"it lacks optimizer_state\['draws'\]"):
        Trial(tmp_path).newest()


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


def test_what_is_alike_is_one_line(tmp_path):
    trial = Trial(tmp_path)
    graph = "its value is saved, but not the graph; keep tensor.detach()"
    found = [
        states.Problem(f"rows[{place}]", "Tensor", graph, fatal=False)
        for place in range(3)
    ]
    other = states.Problem("x", "Tensor", "its hooks are not saved", fatal=False)
    trial.writer._warn([*found, other])
    trial.writer._warn([*found, other])
    assert trial.said == [
        f"WARNING: rows[0] (Tensor): {graph}. The same holds for 2 more.",
        "WARNING: x (Tensor): its hooks are not saved.",
    ]
