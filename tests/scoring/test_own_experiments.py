"""What the runner writes is what scoring reads: real runs, tiny ones."""

import csv
import json
import statistics
from pathlib import Path

import pytest
from commands import NAME, Command

import scoring
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.errors import UsageError
from scoring import compare, score_submissions

TRIVIAL = (0.01, 60, 0.01)  # evaluate after every step; any accuracy will do


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory, folders: Folders) -> Path:
    """Two experiments of the runner: one with two studies, one with a single run."""
    command = Command(tmp_path_factory.mktemp("experiments"), folders)
    for name, *flags in (
        ("twice", "--num_studies=2"),
        ("once", "--tuning_search_space=" + str(search_space(command.folder.parent))),
    ):
        flags += [f"--experiment_name={name}", "--framework=pytorch"]
        done = command.run(*flags, "--max_global_steps=3", limits=TRIVIAL)
        assert done.returncode == 0, done.stderr
    return command.folder


def search_space(folder: Path) -> Path:
    path = folder / "space.json"
    point = {"learning_rate": 1e-3, "one_minus_beta1": 0.1, "beta2": 0.99}
    point |= {"weight_decay": 0.1, "warmup_factor": 0.1}
    path.write_text(json.dumps([point]))
    return path


def recorded(experiment: Path) -> list[float]:
    runs = [json.loads(path.read_text()) for path in experiment.rglob("run.json")]
    assert {run["status"] for run in runs} == {"target_reached"}
    return [run["score"] for run in runs]


def test_scores_are_the_runner_s(experiments, tmp_path, capsys):
    flags = [f"--submission_directory={experiments}", f"--output_dir={tmp_path}"]
    assert score_submissions.main([*flags, "--resamples=20", "--reference=twice"]) == 0
    said = capsys.readouterr().out
    assert "mini scale, external tuning), 1 workload;" in said
    with (tmp_path / "time_to_targets.csv").open() as file:
        times = {row["submission"]: float(row[NAME]) for row in csv.DictReader(file)}
    twice, once = (recorded(experiments / name) for name in ("twice", "once"))
    assert len(twice) == 2
    assert times == {"twice": statistics.median(twice), "once": once[0]}
    page = (tmp_path / "report.html").read_text()
    assert "opencv-python-headless" in page  # versions of the runs


def test_one_experiment_and_one_study_are_enough(experiments, tmp_path, capsys):
    flags = [f"--submission_directory={experiments / 'twice'}", "--noreport"]
    assert score_submissions.main([*flags, f"--output_dir={tmp_path}"]) == 0
    assert "is itself one submission" in capsys.readouterr().out
    sides = [str(experiments / "twice" / "study_0"), str(experiments / "once")]
    assert compare.main([*sides, "--noreport"]) == 0
    said = capsys.readouterr().out
    assert "hyperparameter learning_rate: 0.008  |  0.001" in said
    assert "version" not in said


def test_tables_of_pandas_are_the_runner_s(experiments):
    trials, evaluations, scores = scoring.load(experiments, resamples=20)
    assert sorted(scores.submission) == ["once", "twice"]
    times = trials.set_index(["submission", "study"]).seconds
    assert sorted(times["twice"]) == sorted(recorded(experiments / "twice"))
    assert (trials["hyperparameters.learning_rate"] > 0).all()
    assert len(evaluations) == len(trials)  # the first evaluation reaches the target
    assert {"train/loss", "validation/accuracy"} <= set(evaluations)


def test_full_and_mini_runs_do_not_mix(experiments, tmp_path):
    record = next((experiments / "once").rglob("run.json"))
    text = record.read_text()
    record.write_text(text.replace('"scale": "mini"', '"scale": "full"'))
    try:
        flags = [f"--submission_directory={experiments}", f"--output_dir={tmp_path}"]
        with pytest.raises(UsageError, match='scale: .*"full" and .*"mini"'):
            score_submissions.main(flags)
    finally:
        record.write_text(text)
