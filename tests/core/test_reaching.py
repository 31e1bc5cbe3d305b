"""When a target is reached, and what ends a trial: the runner and scoring agree."""

import csv
import dataclasses
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from core_fakes import dataset, definition, run

from algorithmic_efficiency import evaluation
from algorithmic_efficiency.definition import Evaluate
from algorithmic_efficiency.metrics import METRICS, Metric, find, mean, sums, total
from algorithmic_efficiency.runner.session import status_of
from algorithmic_efficiency.runner.trainer import Trainer
from algorithmic_efficiency.runner.trial import Progress
from algorithmic_efficiency.workload import Workload
from scoring.reading.logs import read_trial
from scoring.rules.table import hit_index

TARGET = 0.1  # no binary fraction: what is compared must be the very same number
NEAR = (TARGET, math.nextafter(TARGET, 1), math.nextafter(TARGET, 0), math.nan)


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
@pytest.mark.parametrize("value", NEAR)
def test_the_runner_and_scoring_have_one_rule_at_equality(tmp_path, metric, value):
    maximize = METRICS[metric].maximize
    expected = value >= TARGET if maximize else value <= TARGET
    row = definition(
        target_metric_name=metric,
        validation_target_value=TARGET,
        test_target_value=TARGET,
    )
    workload = Workload.__new__(Workload)
    workload.definition = row
    result = {f"validation/{metric}": value, f"test/{metric}": value}
    assert workload.has_reached_validation_target(result) is expected
    assert workload.has_reached_test_target(result) is expected

    folder = tmp_path / "toy_jax" / "trial_1"
    folder.mkdir(parents=True)
    with (folder / "eval_measurements.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["global_step", "score", *result])
        table.writeheader()
        table.writerow({"global_step": 1, "score": 2.0, **result})
    goal = SimpleNamespace(
        metric=metric, validation=TARGET, maximize=maximize, origin=None
    )
    trial = read_trial(folder, "mine", "study_0")
    assert (hit_index(trial, goal) == 0) is expected


def test_a_trial_that_reached_its_target_keeps_its_score_when_it_diverges(tmp_path):
    results = [{"validation/accuracy": value} for value in (0.4, 0.6, 0.1)]
    goals = [(False, False), (True, False), (False, False)]
    _, _, progress, reason = run(results=results, goals=goals, bad_parameter=2)
    assert (reason, progress.diverged) == ("diverged", "fc.weight")
    assert progress.score == 6.0
    assert status_of(progress) == "target_reached"

    folder = tmp_path / "toy_jax" / "trial_1"
    folder.mkdir(parents=True)
    run_json = {"status": status_of(progress), "stop_reason": reason, "score": 6.0}
    (folder / "run.json").write_text(json.dumps(run_json))
    names = ["global_step", *progress.evals[0][1]]
    with (folder / "eval_measurements.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        table.writerows({"global_step": s, **r} for s, r in progress.evals)
    goal = SimpleNamespace(
        metric="accuracy", validation=0.5, maximize=True, origin=None
    )
    trial = read_trial(folder, "mine", "study_0")
    assert trial.seconds[hit_index(trial, goal)] == progress.score


@pytest.mark.parametrize(
    ("progress", "status"),
    [
        (Progress(), "missed"),
        (Progress(diverged="x"), "diverged"),
        (Progress(score=3.0), "target_reached"),
        (Progress(score=3.0, diverged="x"), "target_reached"),
        (Progress(test_goal_reached=True), "missed"),
    ],
)
def test_status(progress, status):
    assert status_of(progress) == status


@pytest.mark.parametrize(
    ("bad", "test_target", "named"),
    [
        (["train/loss", "train/accuracy", "validation/loss", "test/loss"], 0.5, None),
        (["validation/accuracy", "train/loss"], 0.5, "validation/accuracy"),
        (["test/accuracy"], 0.5, "test/accuracy"),
        (["test/accuracy"], None, None),
    ],
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_only_the_target_s_metric_ends_a_trial(bad, test_target, named, value):
    trainer = Trainer.__new__(Trainer)
    trainer.workload = SimpleNamespace(
        definition=definition(test_target_value=test_target)
    )
    splits, metrics = ("train", "validation", "test"), ("accuracy", "loss")
    result = {f"{split}/{metric}": 0.5 for split in splits for metric in metrics}
    assert trainer.diverged(result) is None
    assert trainer.diverged({**result, **dict.fromkeys(bad, value)}) == named


def test_a_metric_of_no_weight_is_nan(monkeypatch):
    empty = Metric(lambda seen: sums(0.0, 0.0), mean, maximize=False)
    monkeypatch.setitem(METRICS, "nothing", empty)
    monkeypatch.setitem(METRICS, "total", dataclasses.replace(empty, final=total))
    find.cache_clear()
    sizes = {"eval_train": 23, "validation": 17, "test": 11}
    row = definition(evaluations=(Evaluate(("accuracy", "nothing", "total")),))
    got = evaluation.evaluate(
        row,
        lambda split: dataset(sizes[split]),
        lambda batch, how: batch["inputs"],
        batch_size=4,
    )
    for split in ("train", "validation", "test"):
        assert math.isnan(got[f"{split}/nothing"])
        assert got[f"{split}/total"] == 0.0
        assert np.isfinite(got[f"{split}/accuracy"])
