"""The public v0.6 logs: the published numbers to the last digit, and the exact ones."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from scoring import score_submissions

INF = float("inf")
WORKLOADS = (
    "criteo1tb",
    "fastmri",
    "imagenet_resnet",
    "imagenet_vit",
    "librispeech_conformer",
    "librispeech_deepspeech",
    "ogbg",
    "wmt",
)
# Measured with the public scorer on the same logs.
BASELINE = (7491.487124443054, 873.2600636482239, INF, INF, INF, INF)
BASELINE += (4575.802174806595, 35319.428525447845)
SHAMPOO = (7692.307582139969, 640.7693979740143, INF, 41094.59843540192, INF, INF)
SHAMPOO += (2868.327675104141, 33604.82180261612)
SCHEDULE_FREE = (7328.192516088486, 1370.381531715393, INF, 63328.61258482933)
SCHEDULE_FREE += (84856.24470329285, 57630.12813162804, INF, 17656.7119846344)


def score(tree: Path, out: Path, *flags: str) -> dict[str, dict[str, str]]:
    arguments = [f"--submission_directory={tree}", f"--output_dir={out}", "--noreport"]
    assert score_submissions.main([*arguments, *flags, "--resamples=4000"]) == 0
    with (out / "scores.csv").open() as file:
        return {row["submission"]: row for row in csv.DictReader(file)}


def times(out: Path) -> dict[str, tuple[float, ...]]:
    with (out / "time_to_targets.csv").open() as file:
        return {
            row["submission"]: tuple(float(row[name]) for name in WORKLOADS)
            for row in csv.DictReader(file)
        }


@pytest.mark.usefixtures("listed_as_published")
def test_published_rules_give_the_published_numbers(external_tree, tmp_path):
    scores = score(
        external_tree, tmp_path, "--rules=published", "--benchmark_version=0.6"
    )

    assert times(tmp_path) == {"baseline": BASELINE, "shampoo": SHAMPOO}
    assert float(scores["shampoo"]["score"]) == 0.6243686868686883
    assert float(scores["baseline"]["score"]) == 0.45896464646464646


@pytest.mark.usefixtures("listed_as_published")
def test_published_rules_of_the_self_tuning_entry(self_tree, tmp_path):
    flags = ("--rules=published", "--self_tuning_ruleset")
    scores = score(self_tree, tmp_path, *flags)

    assert times(tmp_path) == {"schedule_free_adamw_v2": SCHEDULE_FREE}
    assert scores["schedule_free_adamw_v2"]["score"] == "0.75"


def test_exact_scores_follow_from_the_published_times(external_tree, tmp_path):
    scores = score(external_tree, tmp_path)

    table = np.array([BASELINE, SHAMPOO])
    best = table.min(axis=0)
    with np.errstate(invalid="ignore"):
        credit = np.nan_to_num(np.maximum(0.0, (4.0 - table / best) / 3.0))
    for row, name in enumerate(("baseline", "shampoo")):
        assert float(scores[name]["score"]) == pytest.approx(credit[row].mean())
    assert scores["shampoo"]["rank"] == "1.0"


def test_intervals_hold_the_scores_and_do_not_resolve_the_two(external_tree, tmp_path):
    scores = score(external_tree, tmp_path)

    for row in scores.values():
        low, value, high = (float(row[k]) for k in ("score_low", "score", "score_high"))
        assert low < value < high
    assert scores["shampoo"]["group"] == scores["baseline"]["group"] == "a"
    with (tmp_path / "comparisons.csv").open() as file:
        (pair,) = csv.DictReader(file)
    assert (pair["first"], pair["resolved"]) == ("shampoo", "False")
    assert int(pair["more_studies"]) >= 1


def test_steps_clock_counts_steps(external_tree, tmp_path):
    score(external_tree, tmp_path, "--time=steps")

    in_steps = times(tmp_path)["shampoo"]
    with (tmp_path / "workloads.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["submission"] == "shampoo"]
    assert in_steps == tuple(float(row["steps"]) for row in rows)
    seconds = tuple(float(row["seconds"]) for row in rows)
    assert seconds == pytest.approx(SHAMPOO, rel=1e-12)


def test_results_file_scores_like_the_folder(external_tree, tmp_path):
    kept = tmp_path / "trials.jsonl.gz"
    from_folder = score(
        external_tree, tmp_path / "a", f"--save_results_to_filename={kept}"
    )
    arguments = [f"--load_results_from_filename={kept}", "--noreport"]
    arguments += [f"--output_dir={tmp_path / 'b'}", "--resamples=4000"]
    assert score_submissions.main(arguments) == 0

    with (tmp_path / "b" / "scores.csv").open() as file:
        assert {row["submission"]: row for row in csv.DictReader(file)} == from_folder


def test_json_says_what_was_missing_and_why(external_tree, tmp_path):
    score(external_tree, tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())

    missing = [w for w in results["warnings"] if "has no eval_measurements.csv" in w]
    assert len(missing) == 4
    assert all("imagenet_vit" in warning for warning in missing)
    cells = {(r["submission"], r["workload"]): r for r in results["workloads"]}
    assert cells["baseline", "imagenet_vit"]["reason"] == "stopped early"
    deepspeech = cells["shampoo", "librispeech_deepspeech"]
    assert (deepspeech["hits"], deepspeech["studies"]) == (1, 3)
    assert deepspeech["reason"] == "too slow in 2 of 3 studies"
    assert deepspeech["hit_low"] == pytest.approx(0.0615, abs=1e-4)
    assert deepspeech["hit_high"] == pytest.approx(0.7923, abs=1e-4)
