"""What a resumed run does with what it finds, whole or damaged."""

import errno
import json
import random
from pathlib import Path

import numpy as np
import pytest

from algorithmic_efficiency import seeds
from algorithmic_efficiency.errors import StorageError, UsageError
from algorithmic_efficiency.files import exclusive
from algorithmic_efficiency.runner import (
    checkpoint,
    experiments,
    records,
    resuming,
    run_record,
    sinks,
)
from algorithmic_efficiency.runner.folder import empty
from algorithmic_efficiency.runner.trial import Progress

MINI = "--workload=imagenet_resnet_mini"
RUNS = "imagenet_resnet_mini_pytorch"


def record(root, *parts, **run):
    folder = root.joinpath("experiments", *parts)
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"seed": 1, **run}))
    return folder


@pytest.mark.parametrize(
    ("status", "reason", "left", "retried"),
    [
        ("running", "", "run", "run"),
        ("interrupted", "interrupted", "run", "run"),
        ("interrupted", "storage", "run", "run"),
        ("failed", "bad_data", "run", "run"),
        ("failed", "failed", "failed", "run"),
        ("failed", "killed", "failed", "run"),
        ("missed", "budget_exhausted", "finished", "finished"),
        ("target_reached", "targets_reached", "finished", "finished"),
        ("missed", "max_global_steps", "run", "run"),
        (None, None, "run", "run"),
    ],
)
def test_what_is_left_to_do(config, tmp_path, status, reason, left, retried):
    record(tmp_path, "a", RUNS, "trial_1")
    resume = [MINI, "--experiment_name=a", "--resume_last_run", "--max_global_steps=9"]
    run = {"status": status, "stop_reason": reason, "global_step": 5}
    assert resuming.left_to_do(run, config(*resume)) == left
    assert resuming.left_to_do(run, config(*resume, "--retry_failed")) == retried
    done = {**run, "global_step": 9}
    if reason == "max_global_steps":
        assert resuming.left_to_do(done, config(*resume)) == "finished"


def test_retry_failed_belongs_to_a_resume(main):
    code, _, err = main(MINI, "--retry_failed")
    assert code == 2 and "belongs to --resume_last_run" in err


def test_preemptions_count_what_was_begun_before_the_first_checkpoint(tmp_path):
    assert resuming.preemptions(tmp_path, {}) == 0
    assert resuming.preemptions(tmp_path, {"preemption_count": 0}) == 1
    (tmp_path / "flags_0.json").write_text("{}")
    (tmp_path / "flags_3.json").write_text("{}")
    assert resuming.preemptions(tmp_path, {}) == 4


@pytest.mark.parametrize("name", ["a/b", "a[1]", "x*", "deep/er/still"])
def test_names_of_any_kind_are_found_again(config, tmp_path, name):
    record(tmp_path, name, RUNS, "trial_1", seed=44)
    record(tmp_path, "a1", RUNS, "trial_1", seed=2)
    got = config(MINI, "--resume_last_run", f"--experiment_name={name}")
    assert (got.folder, got.seed) == (tmp_path / "experiments" / name, 44) or (
        str(got.folder) == f"experiments/{name}" and got.seed == 44
    )


def test_a_name_that_matches_nothing_lists_what_is_there(main, tmp_path):
    record(tmp_path, "mine", RUNS, "trial_1")
    record(tmp_path, "mine-2020-01-01-00-00-00", RUNS, "trial_1")
    record(tmp_path, "other", "imagenet_resnet_mini_jax", "trial_1")
    for flags in (["--experiment_name=min"], ["--experiment_name=m*"]):
        code, _, err = main(MINI, "--resume_last_run", *flags)
        assert code == 2
        assert "There are mine" in err and "other" not in err, err


def test_a_resume_with_other_studies_does_not_begin_anew(main, tmp_path):
    record(tmp_path, "mine", "study_0", RUNS, "trial_1", status="running")
    code, _, err = main(MINI, "--resume_last_run", "--experiment_name=mine")
    assert code == 2
    assert f"there are study_0/{RUNS}/trial_1" in err


@pytest.mark.parametrize(
    "name", ["..", "../x", "a/../../x", "/tmp/x", "", ".", "link/x", "a/study_0"]
)
def test_a_name_cannot_leave_its_folder(main, tmp_path, name):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "link").symlink_to("/tmp")  # noqa: S108 - not written
    code, _, err = main(MINI, f"--experiment_name={name}")
    assert code == 2, err
    assert err.startswith(f"Error: --experiment_name={name} ")


def test_overwriting_removes_the_other_trials_and_nothing_else(config, tmp_path):
    places = [("e", RUNS, "trial_1"), ("e", RUNS, "trial_2")]
    places += [("e", "study_1", RUNS, "trial_1")]
    for place in places:
        record(tmp_path, *place)
    kept = [record(tmp_path, "e", "imagenet_resnet_mini_jax", "trial_1")]
    kept += [record(tmp_path, "other", RUNS, "trial_1")]
    notes = tmp_path / "experiments" / "e" / RUNS / "trial_2" / "notes.txt"
    notes.write_text("mine")
    part = config(MINI, "--experiment_name=e", "--overwrite", "--tuning_ruleset=self")
    experiments.remove_others(part)
    left = sorted(p.parent for p in (tmp_path / "experiments").rglob("run.json"))
    first = tmp_path / "experiments" / "e" / RUNS / "trial_1"
    assert left == sorted([first, *kept])  # its own process empties the first
    assert notes.read_text() == "mine"
    assert not (tmp_path / "experiments" / "e" / "study_1").exists()


def test_emptying_a_folder_leaves_what_is_not_ours(tmp_path):
    ours = ["run.json", "checkpoint_12", "checkpoint_3.damaged", "traceback.txt"]
    ours += ["flags_0.json", "measurements.csv", "events.out.tfevents.1", "curves.png"]
    for name in [*ours, "thesis.tex", "checkpoint_best"]:
        (tmp_path / name).write_text("")
    empty(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"thesis.tex", "checkpoint_best"}


def refuse(*_, **__):
    raise PermissionError(errno.EACCES, "Permission denied", "there/run.json")


def test_a_folder_that_cannot_be_emptied_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "run.json").write_text("{}")
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StorageError, match="emptied .Permission denied"):
        empty(tmp_path)


def test_a_folder_that_cannot_be_looked_into_is_a_sentence(main, monkeypatch):
    monkeypatch.setattr(experiments, "check_folders", refuse)
    code, _, err = main(MINI, "--experiment_name=a")
    assert (code, err) == (2, "Error: no access to there/run.json.\n")


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", "null", '{"a": NaN}', "[" * 10**5, '{"a":1,"a":2}']
)
def test_a_damaged_record_is_a_sentence(tmp_path, content):
    for name in ("run.json", "hparams.json"):
        (tmp_path / name).write_text(content)
    path = tmp_path / "run.json"
    with pytest.raises(StorageError, match="damaged") as caught:
        records.read_json(path)
    assert str(caught.value).startswith(str(path))
    with pytest.raises(StorageError, match="hparams.json is damaged"):
        resuming.recorded_point(tmp_path)


@pytest.mark.parametrize("told", [True, False])
def test_a_trial_that_failed_after_its_target_has_no_score(tmp_path, told):
    """As in scoring; `told` by the trial itself, or by the process that watched it."""
    run = run_record.RunRecord(tmp_path, {"workload": "w"})
    if told:
        run.progress = Progress(step=3, score=1.5, validation_goal_reached=True)
    else:
        run.before = {"score": 1.5}
    run.write("interrupted")
    assert run_record.read_run(tmp_path)["score"] == 1.5
    run.write("failed", "failed", "out of luck")
    assert run_record.read_run(tmp_path)["score"] is None


def test_hyperparameters_that_are_no_names_are_a_sentence(tmp_path):
    (tmp_path / "hparams.json").write_text('{"not a name": 1}')
    with pytest.raises(StorageError, match="hparams.json is damaged"):
        resuming.recorded_point(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        b"global_step,loss\n1,2\nx,3\n",
        b"loss\n1\n",
        b"global_step,loss\n1,2,3\n",
        b"global_step,loss\n1\n",
        b"global_step,\xff\n1,2\n",
        b'global_step,loss\n1,"2\n',
        b"global_step,loss\n1,\x00\n\x00,2\n",
        b"",
        b"global_st",
    ],
)
def test_a_damaged_table_is_a_sentence(tmp_path, text):
    path = tmp_path / "measurements.csv"
    path.write_bytes(text)
    with pytest.raises(StorageError, match="damaged") as caught:
        records.Table.read(path, 10)
    assert str(caught.value).startswith(str(path))


def test_a_table_without_steps_is_damaged_where_rows_are_counted_too(tmp_path):
    path = tmp_path / "measurements.csv"
    path.write_text("loss\n1\n")
    with pytest.raises(StorageError, match="is damaged .*names no global_step"):
        records.Table.read(path, 2, 1)


def test_a_record_that_is_no_file_is_a_sentence(tmp_path):
    (tmp_path / "run.json").symlink_to("/dev/zero")  # it never ends
    with pytest.raises(StorageError, match="run.json cannot be read"):
        records.read_json(tmp_path / "run.json")


def test_a_checkpoint_that_is_no_file_is_a_sentence(tmp_path):
    (tmp_path / "checkpoint_1").symlink_to("/dev/zero")
    with pytest.raises(StorageError, match="checkpoint_1 cannot be read"):
        checkpoint.load(tmp_path / "checkpoint_1", None, {}, None)


def test_rows_after_a_checkpoint_are_made_again(tmp_path):
    path = tmp_path / "measurements.csv"
    path.write_text("global_step,loss\n0,1\n1,2\n2,3\n2,4\n3,5\n")
    steps = [row["loss"] for row in records.Table.read(path, 2).rows]
    assert steps == ["1", "2", "3", "4"]  # an old checkpoint tells no more
    kept = [row["loss"] for row in records.Table.read(path, 2, 3).rows]
    assert kept == ["1", "2", "3"]


def test_a_lock_that_is_a_link_is_refused_and_its_target_untouched(tmp_path):
    target = tmp_path / "precious"
    target.write_text("mine")
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / ".lock").symlink_to(target)
    words = "lock is a symbolic link"
    with pytest.raises(UsageError, match=words), exclusive(tmp_path / "trial", "--x"):
        pytest.fail("entered")
    assert target.read_text() == "mine"


def test_python_and_numpy_are_seeded():
    def drawn(seed):
        seeds.seed_python(seed)
        return random.random(), float(np.random.rand())  # noqa: NPY002, S311 - the test

    assert drawn(0) == drawn(0)
    assert drawn(0)[0] != drawn(1)[0] and drawn(0)[1] != drawn(1)[1]


WANDB = """
calls = []
class Run:
    def log(self, scalars, step): calls.append(("log", step, scalars))
    def finish(self, exit_code): calls.append(("finish", exit_code))
def init(**given):
    calls.append(("init", given["id"], given["resume"]))
    return Run()
"""


def test_a_resumed_run_is_one_run_of_weights_and_biases(tmp_path, monkeypatch):
    (tmp_path / "wandb.py").write_text(WANDB)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "wandb", raising=False)
    table = records.Table(tmp_path / "measurements.csv")
    for failed in (True, False):
        sink = sinks.WandB(tmp_path, "a", {})
        logger = records.MetricsLogger(table, [sink])
        logger.append_scalar_metrics({"loss": 1.0}, 3)
        logger.finish(failed=failed)
        logger.finish(failed=failed)  # a submission may have finished it itself
    import wandb

    kinds = [call[0] for call in wandb.calls]
    assert kinds == ["init", "log", "finish"] * 2
    assert wandb.calls[0] == wandb.calls[3] and wandb.calls[0][2] == "allow"
    assert [call for call in wandb.calls if call[0] == "finish"] == [
        ("finish", 1),
        ("finish", 0),
    ]
    monkeypatch.delitem(__import__("sys").modules, "wandb")


def test_a_sink_that_raises_is_left_out_and_loses_no_row(tmp_path, capsys):
    class Broken:
        def add(self, step, scalars):
            raise OSError("no network")

    logger = records.MetricsLogger(records.Table(tmp_path / "m.csv"), [Broken()])
    logger.append_scalar_metrics({"loss": 1.0}, 1)
    logger.flush()
    assert (tmp_path / "m.csv").read_text() == "global_step,loss\n1,1.0\n"
    assert "no network" in capsys.readouterr().err
    assert logger.sinks == []
