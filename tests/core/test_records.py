import csv
import errno
import json
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from algorithmic_efficiency import registry
from algorithmic_efficiency.errors import StorageError
from algorithmic_efficiency.runner import records, sinks

OLD = "what was there before\n"


def full_disk(*unused, **also_unused):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# Atomic writing.


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(OLD)
    with records.atomic(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == OLD  # until the block ends
        assert temporary.parent == tmp_path  # so that renaming is one operation
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.replace"])
def test_a_full_disk_keeps_the_old_file_and_is_a_sentence(tmp_path, monkeypatch, where):
    path = tmp_path / "run.json"
    path.write_text(OLD)
    monkeypatch.setattr(where, full_disk)
    words = "could not be written .No space left on device.*--resume_last_run"
    with pytest.raises(StorageError, match=words) as caught:
        records.write_text(path, "new")
    monkeypatch.undo()
    assert str(caught.value).startswith(str(path))
    assert path.read_text() == OLD
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_in_the_midst_of_writing_keeps_the_old_file(tmp_path):
    path = tmp_path / "checkpoint_7"
    path.write_text(OLD)
    with pytest.raises(StorageError), records.atomic(path) as temporary:
        temporary.write_text("half")
        full_disk()
    assert path.read_text() == OLD
    assert list(tmp_path.iterdir()) == [path]


LIMITED = """
import resource, sys
from pathlib import Path
from algorithmic_efficiency.errors import StorageError
from algorithmic_efficiency.runner import records, sinks

resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
folder = Path(sys.argv[1])
try:
    with records.atomic(folder / "checkpoint") as temporary:
{write}
except StorageError as error:
    print(error)
"""
WRITERS = {
    "text": "temporary.write_text('x' * 100_000)",
    "pytorch": """
import torch
from algorithmic_efficiency import state
from algorithmic_efficiency.state import file
from algorithmic_efficiency.backends.pytorch import make
params = {"params": torch.nn.Linear(300, 300)}
content, blocks, _ = state.encode(params, state.Origin(make().kinds, params))
file.write(temporary, content, blocks, keep=False)
""",
    "jax": """
import jax.numpy as jnp
from algorithmic_efficiency import state
from algorithmic_efficiency.state import file
from algorithmic_efficiency.backends.jax import make
params = {"params": jnp.zeros(100_000)}
content, blocks, _ = state.encode(params, state.Origin(make().kinds, params))
file.write(temporary, content, blocks, keep=False)
""",
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_that_the_system_refuses_keeps_the_old_one(tmp_path, writer):
    (tmp_path / "checkpoint").write_text(OLD)
    program = LIMITED.format(write=textwrap.indent(WRITERS[writer], " " * 8))
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path],
        capture_output=True,
        text=True,
        cwd=registry.ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "checkpoint").read_text() == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    assert f"{tmp_path / 'checkpoint'} could not be written" in done.stdout


def test_an_error_of_the_writer_is_its_own_and_leaves_no_half_file(tmp_path):
    path = tmp_path / "curves.png"
    path.write_text(OLD)
    with pytest.raises(ValueError), records.atomic(path) as temporary:
        temporary.write_text("half")
        raise ValueError
    assert path.read_text() == OLD
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_was_removed_is_made_again(tmp_path):
    records.write_text(tmp_path / "gone" / "trial_1" / "run.json", "x")
    assert (tmp_path / "gone" / "trial_1" / "run.json").read_text() == "x"


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not be written .Not a directory"):
        records.write_text(tmp_path / "file" / "run.json", "x")


# JSON.


def test_json_has_no_nan_and_no_inf(tmp_path):
    path = tmp_path / "run.json"
    content = {
        "score": math.inf,
        "list": [1.5, math.nan, (-math.inf, "x")],
        "numpy": np.float64("nan"),
        "nested": {"deep": {"a": math.nan, 3: True}},
        "path": Path("a/b"),
        "none": None,
        "unicode": "≥",
    }
    records.write_json(path, content)

    def refuse(name):
        raise AssertionError(name)

    assert json.loads(path.read_text(), parse_constant=refuse) == {
        "score": None,
        "list": [1.5, None, [None, "x"]],
        "numpy": None,
        "nested": {"deep": {"a": None, "3": True}},
        "path": "a/b",
        "none": None,
        "unicode": "≥",
    }
    assert path.read_text().endswith("}\n")


# Tables.


def test_columns_are_the_sorted_union_of_all_rows(tmp_path):
    table = records.Table(tmp_path / "m.csv")
    table.append({"global_step": 1, "loss": 0.1 + 0.2})
    assert not table.path.exists()
    table.flush()
    table.append({"global_step": 2, "accuracy": 0.5, "zeta": math.inf})
    table.flush()
    assert table.path.read_text() == (
        "accuracy,global_step,loss,zeta\n,1,0.30000000000000004,\n0.5,2,,inf\n"
    )


def test_appending_copies_the_row(tmp_path):
    table, row = records.Table(tmp_path / "m.csv"), {"global_step": 1}
    table.append(row)
    row["global_step"] = 9
    assert table.rows == [{"global_step": 1}]


@pytest.mark.parametrize(("last", "steps"), [(0, []), (3, [2, 3]), (9, [2, 3, 4, 9])])
def test_a_resumed_table_drops_rows_after_the_checkpoint(tmp_path, last, steps):
    path = tmp_path / "m.csv"
    path.write_text("global_step,loss\n2,0.5\n3,\n4,0.25\n9,nan\n")
    table = records.Table.read(path, last)
    assert [int(row["global_step"]) for row in table.rows] == steps
    table.append({"global_step": 10, "loss": 0.125})
    table.flush()
    lost = [row["global_step"] for row in rows_of(path)]
    assert lost == [*map(str, steps), "10"]
    if last == 3:
        assert path.read_text() == "global_step,loss\n2,0.5\n3,\n10,0.125\n"


def test_a_table_that_is_not_there_yet_is_empty(tmp_path):
    assert records.Table.read(tmp_path / "m.csv", 5).rows == []


def test_a_table_without_rows_writes_no_file_that_nobody_can_read(tmp_path):
    table = records.Table(tmp_path / "m.csv")
    table.flush()
    assert not table.path.exists()


# The logger.


class Sink:
    def __init__(self):
        self.added, self.closed = [], 0

    def add(self, step, scalars):
        self.added.append((step, dict(scalars)))

    def close(self, *, failed=False):
        self.closed += 1
        self.failed = failed


def test_logger_writes_only_when_it_is_flushed(tmp_path):
    sink = Sink()
    path = tmp_path / "measurements.csv"
    logger = records.MetricsLogger(records.Table(path), [sink])
    logger.append_scalar_metrics({"loss": np.float32(0.5)}, 1)
    logger.append_scalar_metrics({"loss": np.array([0.25]).sum()}, np.int64(2), 7)
    logger.append_scalar_metrics(global_step=3, metrics={"grad_norm": 4})
    assert not path.exists() and sink.added == []
    assert logger.latest == {"loss": 0.25, "grad_norm": 4.0}
    logger.flush()
    expected = [(1, {"loss": 0.5}), (2, {"loss": 0.25}), (3, {"grad_norm": 4.0})]
    assert sink.added == expected
    assert path.read_text() == "global_step,grad_norm,loss\n1,,0.5\n2,,0.25\n3,4.0,\n"
    logger.flush()
    assert sink.added == expected and sink.closed == 0


def test_finish_writes_the_rest_and_closes_the_sinks(tmp_path):
    sink = Sink()
    path = tmp_path / "measurements.csv"
    logger = records.MetricsLogger(records.Table(path), [sink])
    logger.append_scalar_metrics({"loss": 1.0}, 1)
    logger.finish()
    assert sink.added == [(1, {"loss": 1.0})] and sink.closed == 1
    assert rows_of(path) == [{"global_step": "1", "loss": "1.0"}]


def test_logger_keeps_values_not_references(tmp_path):
    value = np.array(1.0)
    logger = records.MetricsLogger(records.Table(tmp_path / "m.csv"))
    logger.append_scalar_metrics({"loss": value}, 1)
    value[...] = 9.0
    logger.flush()
    assert logger.table.rows == [{"global_step": 1, "loss": 1.0}]


def test_tensorboard_events_can_be_read_back(tmp_path):
    from tensorboard.backend.event_processing import event_accumulator  # noqa: PLC0415

    board = sinks.TensorBoard(tmp_path)
    board.add(3, {"validation/accuracy": 0.5, "loss": 2.0})
    board.add(6, {"validation/accuracy": 0.75})
    board.close()
    assert len(list(tmp_path.glob("events.out.tfevents*"))) == 1
    events = event_accumulator.EventAccumulator(
        str(tmp_path), {event_accumulator.TENSORS: 0}
    )
    events.Reload()

    def read(tag):
        return [(e.step, e.tensor_proto.float_val[0]) for e in events.Tensors(tag)]

    assert read("validation/accuracy") == [(3, 0.5), (6, 0.75)]
    assert read("loss") == [(3, 2.0)]
