"""`scoring.load`: the same numbers as the command's, as tables of pandas."""

import csv
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import scoring
from algorithmic_efficiency.errors import UsageError
from scoring import score_submissions
from tests.scoring.trees import made_up, write_tree

ROOT = Path(__file__).resolve().parents[2]


def test_public_logs(external_tree, tmp_path):
    trials, evaluations, scores = scoring.load(external_tree, resamples=20)
    flags = [f"--submission_directory={external_tree}", f"--output_dir={tmp_path}"]
    assert score_submissions.main([*flags, "--resamples=20", "--noreport"]) == 0
    with (tmp_path / "scores.csv").open() as file:
        written = list(csv.DictReader(file))
    assert scores.submission.tolist() == [row["submission"] for row in written]
    assert scores.score.tolist() == [float(row["score"]) for row in written]
    assert scores.score.round(4).tolist() == [0.6239, 0.458]
    with (tmp_path / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert trials.seconds.tolist() == [float(row["seconds"]) for row in rows]
    assert len(trials) == 240

    # A study's time, worked out again from the evaluations alone.
    ogbg = evaluations[evaluations.workload == "ogbg"]
    there = ogbg[ogbg["validation/mean_average_precision"] >= 0.28098]
    best = there.groupby(["submission", "study"]).seconds.min()
    cells = trials[trials.workload == "ogbg"].groupby(["submission", "study"])
    expected = cells.seconds.min()
    pd.testing.assert_series_equal(best, expected[np.isfinite(expected)])
    assert evaluations.global_step.dtype == np.int64


def test_every_column_and_every_note(tmp_path):
    trials = [made_up(name, "ogbg", j, 1, 9.0) for name in "ab" for j in range(2)]
    tree = write_tree(trials, tmp_path / "tree")
    path = Path(tree, "a", "study_0", "ogbg_jax", "trial_1", "eval_measurements.csv")
    head, *lines = path.read_text().splitlines()
    lines = [f"{line},{number},word" for number, line in enumerate(lines)]
    path.write_text("\n".join([f"{head},mine,trial", *lines, "1,2", ""]))
    trials, evaluations, scores = scoring.load(tree, resamples=5, workloads=("ogbg",))
    assert evaluations[evaluations.submission == "a"].mine.tolist()[:3] == [0, 1, 2]
    assert set(evaluations.trial) == {1}
    assert trials["hyperparameters.draw"].tolist() == [0, 1, 0, 1]
    assert any("wrong number of fields" in note for note in scores.attrs["notes"])


def test_old_names_of_word_error_rates(tmp_path):
    run = made_up("a", "librispeech_conformer", 0, 1, 9.0)
    values = run.columns.pop("validation/wer")
    run.columns |= {"validation/wer_published": values, "validation/wer": values / 2.0}
    run.columns |= {"test/wer_published": values, "test/wer": values / 4.0}
    _, evaluations, _ = scoring.load(write_tree([run], tmp_path), resamples=5)
    for name, factor in (("validation/wer", 1.0), ("validation/wer_true", 0.5)):
        np.testing.assert_allclose(evaluations[name], values * factor)
    np.testing.assert_allclose(evaluations["test/wer_true"], values / 4.0)
    assert not [name for name in evaluations if "published" in name]


def test_what_cannot_be_scored_is_a_sentence(tmp_path):
    with pytest.raises(UsageError, match="There is no folder"):
        scoring.load(tmp_path / "none")


def test_the_example_in_the_docs_runs(external_tree, monkeypatch, capsys):
    text = (ROOT / "docs" / "scoring.md").read_text()
    code = text.partition("## In a notebook")[2].split("```")[1]
    monkeypatch.chdir(external_tree.parent)
    code = textwrap.dedent(code.removeprefix("python\n"))
    exec(code.replace('"experiments"', f'"{external_tree}"'), {})  # noqa: S102 - ours
    assert "shampoo" in capsys.readouterr().out
