"""Runs on images of which some are broken: who goes on, and what the record says."""

import os
import shutil
from pathlib import Path

import pytest
from commands import NAME, Command, rows, run_json

from algorithmic_efficiency import registry
from algorithmic_efficiency.data import Folders
from workloads._imagenet import mini
from workloads._imagenet.data import open_split


@pytest.fixture
def command(tmp_path: Path, folders: Folders) -> Command:
    """The command on a copy of the data, whose files may be replaced."""
    root = mini.prepare(folders.data_dir)
    copy = tmp_path / "data" / root.name
    shutil.copytree(root, copy, copy_function=os.link)
    return Command(tmp_path, Folders(copy.parent))


def break_first(command: Command, split: str, count: int) -> list[Path]:
    """Cuts the first files of a split off; returns them."""
    examples = open_split(registry.get(NAME), command.data, split).examples
    broken = [Path(examples[k][0]) for k in range(count)]
    for path in broken:
        whole = path.read_bytes()
        path.unlink()  # the other name of the file keeps it
        path.write_bytes(whole[: len(whole) // 2])
    return broken


def test_a_bad_training_file_ends_no_run_and_stays_in_the_record(
    command: Command,
) -> None:
    (broken,) = break_first(command, "eval_train", 1)
    flags = ["--experiment_name=a", "--framework=pytorch"]
    done = command.run(*flags, "--max_global_steps=1")
    assert done.returncode == 0, done.stderr
    folder = command.trial("a", "pytorch")
    first = run_json(folder)["bad_examples"]
    assert list(first) == [str(broken)]
    (result,) = rows(folder / "eval_measurements.csv")
    counted = {k: v for k, v in result.items() if k.endswith("num_examples")}
    assert list(map(int, counted.values())) == [1000, 999, 1000], counted
    flags += ["--resume_last_run", "--skip_evals"]
    done = command.run(*flags, "--max_global_steps=2")
    assert done.returncode == 0, done.stderr
    assert run_json(folder)["bad_examples"] == first


@pytest.mark.parametrize(
    ("split", "count", "words"),
    [
        ("eval_train", 5, "5 of 4000 training examples cannot be decoded"),
        ("validation", 1, "A score needs every example"),
    ],
)
def test_a_run_that_bad_files_ended_says_so(
    command: Command, split: str, count: int, words: str
) -> None:
    broken = break_first(command, split, count)
    done = command.run("--experiment_name=a", "--max_global_steps=1")
    assert done.returncode == 2, done.stderr
    assert words in done.stderr and "Traceback" not in done.stderr
    run = run_json(command.trial("a", "pytorch"))
    assert (run["status"], run["stop_reason"]) == ("failed", "bad_data")
    assert words in run["error"] and str(broken[0]) in run["error"]
    named = map(str, broken) if split == "eval_train" else ()
    assert sorted(run["bad_examples"]) == sorted(named)
