"""Whole runs of the command on real speech, in both frameworks."""

import os
import shutil
import time
from pathlib import Path

import pytest
from commands import FRAMEWORKS, Command, rows, run_json

from algorithmic_efficiency.data import Folders
from workloads._librispeech import mini

NAME = "librispeech_deepspeech_mini"
ANY_RATE = (60, 60, 1000)  # errors a word: whatever the model says reaches this target


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_run_reaches_its_target_and_leaves_its_records(
    tmp_path: Path, folders: Folders, framework: str
) -> None:
    command = Command(tmp_path, folders, NAME)
    flags = [f"--framework={framework}", "--experiment_name=a"]
    done = command.run(*flags, "--max_global_steps=2", limits=ANY_RATE)
    assert done.returncode == 0, done.stderr
    folder = command.trial("a", framework)
    run = run_json(folder)
    assert (run["status"], run["stop_reason"]) == ("target_reached", "targets_reached")
    assert done.stdout.split()[-1] == f"{run['score']:.6g}"
    assert run["workload"] == NAME and run["scale"] == "mini"
    assert run["targets"]["metric"] == "wer"
    assert not run["targets"]["maximize"]
    assert run["global_step"] == 2
    assert (run["bad_examples"], run["error"]) == ({}, "")
    logged = [row for row in rows(folder / "measurements.csv") if row["loss"]]
    assert logged and all(0 < float(row["loss"]) < 100 for row in logged)

    (result,) = rows(folder / "eval_measurements.csv")
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    sizes = {"train": 200, "validation": 200, "test": 200}
    for split, size in sizes.items():
        found = {m: float(result[f"{split}/{m}"]) for m in ("wer_true", "wer")}
        assert int(result[f"{split}/num_examples"]) == size
        assert float(result[f"{split}/misfits"]) == 0
        assert found["wer_true"] > found["wer"] > 0
        assert 0 < float(result[f"{split}/ctc_loss"]) < 100
    assert "misfits" not in done.stderr


def test_a_test_split_that_has_changed_is_an_error_at_once(
    tmp_path: Path, folders: Folders
) -> None:
    root = mini.prepare(folders.data_dir)
    copy = tmp_path / "data" / root.name
    shutil.copytree(root, copy, copy_function=os.link)
    later = time.time() + 10
    for folder in [copy / "test-clean", *(copy / "test-clean").rglob("*/")]:
        os.utime(folder, (later, later))
    command = Command(tmp_path, Folders(copy.parent), NAME)
    flags = ["--experiment_name=a", "--max_global_steps=1"]
    done = command.run(*flags)
    assert done.returncode == 2, done.stderr
    assert "older than the data" in done.stderr and "test.tsv" in done.stderr
    folder = command.trial("a", "pytorch")
    assert not (folder / "run.json").exists()
    done = command.run(*flags, "--skip_evals")  # which needs no other split
    assert done.returncode == 0, done.stderr
    assert run_json(folder)["global_step"] == 1

    command = Command(tmp_path, folders, NAME)  # the data as they were
    flags = [*flags[:1], "--max_global_steps=2", "--resume_last_run"]
    done = command.run(*flags, limits=ANY_RATE)
    assert done.returncode == 0, done.stderr
    run = run_json(folder)
    assert (run["status"], run["global_step"]) == ("target_reached", 2)
    assert run["preemption_count"] == 1
