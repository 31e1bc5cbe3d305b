"""Trials elsewhere than somebody said, and one experiment in two frameworks."""

import json
from dataclasses import replace

import pytest

from algorithmic_efficiency.errors import UsageError
from scoring import compare, score_submissions
from scoring.reading.logs import read_tree
from tests.scoring.trees import made_up, write_tree

FAST = ["--noreport", "--resamples=5", "--workloads=ogbg"]


def test_a_folder_above_names_the_one_that_holds_trials(tmp_path):
    trials = [made_up(name, "ogbg", 0, 1, 9.0) for name in ("a", "b")]
    found = write_tree(trials, tmp_path / "x" / "runs")
    for above in (tmp_path, tmp_path / "x"):
        with pytest.raises(UsageError, match="holds no trial") as error:
            read_tree(above)
        assert f"{found} does: try --submission_directory={found};" in str(error.value)
    read_tree(found)
    write_tree([made_up("c", "ogbg", 0, 1, 9.0)], tmp_path / "y" / "runs")
    with pytest.raises(UsageError, match=r"x/runs, .*/y/runs do: try .*x/runs;"):
        read_tree(tmp_path)


def test_a_folder_inside_names_the_submission_s(tmp_path):
    write_tree([made_up("a", "ogbg", 0, 1, 9.0)], tmp_path)
    for inside in ("study_0/ogbg_jax", "study_0/ogbg_jax/trial_1"):
        with pytest.raises(UsageError, match="holds no trial") as error:
            read_tree(tmp_path / "a" / inside)
        assert f"try --submission_directory={tmp_path / 'a'};" in str(error.value)
    with pytest.raises(
        UsageError, match=r"holds no trial; .*a does: try .*a; expected"
    ):
        compare.main([str(tmp_path), str(folder_without_trials(tmp_path))])


def folder_without_trials(tmp_path):
    folder = tmp_path / "a" / "study_0" / "ogbg_jax" / "trial_1" / "checkpoints"
    folder.mkdir()
    return folder


@pytest.fixture
def both(tmp_path):
    """One submission in two frameworks, PyTorch twice as fast."""
    trials = [made_up("a", "ogbg", j, 1, 10.0 + j) for j in range(3)]
    trials += [
        replace(made_up("a", "ogbg", j, 1, 5.0 + j), framework="pytorch")
        for j in range(3)
    ]
    return write_tree(trials, tmp_path / "in")


def scores_of(tree, tmp_path, *flags):
    flags = [f"--submission_directory={tree}", f"--output_dir={tmp_path}", *flags]
    assert score_submissions.main([*flags, *FAST]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    return {row["submission"]: row["time"] for row in results["workloads"]}


def test_two_frameworks_are_scored_by_choice(both, tmp_path):
    with pytest.raises(UsageError, match="--framework=jax or --framework=pytorch, or"):
        scores_of(both, tmp_path)
    assert scores_of(both, tmp_path, "--framework=jax") == {"a": 11.0}
    assert scores_of(both, tmp_path, "--framework=pytorch") == {"a": 6.0}
    each = scores_of(both, tmp_path, "--framework=each")
    assert each == {"a (jax)": 11.0, "a (pytorch)": 6.0}


def test_a_choice_is_kept_by_what_was_saved(both, tmp_path):
    saved = tmp_path / "saved.jsonl"
    scores_of(both, tmp_path, "--framework=jax", f"--save_results_to_filename={saved}")
    flags = [f"--load_results_from_filename={saved}", f"--output_dir={tmp_path}"]
    assert score_submissions.main([*flags, "--framework=jax", *FAST]) == 0
    with pytest.raises(
        UsageError, match="--framework=pytorch, but all runs are in jax"
    ):
        score_submissions.main([*flags, "--framework=pytorch", *FAST])


def test_two_frameworks_side_by_side(both, tmp_path, capsys):
    write_tree([made_up("b", "ogbg", j, 1, 8.0 + j) for j in range(3)], both)
    flags = [f"--output_dir={tmp_path}", "--noreport", "--resamples=5"]
    sides = [str(both / "a"), str(both / "b")]
    with pytest.raises(UsageError, match="--framework"):
        compare.main([*sides, *flags])
    assert compare.main([*sides, *flags, "--framework=jax"]) == 0
    assert "b is 1.22x as fast as a" in capsys.readouterr().out
    runs = [str(both / "a" / "study_0" / f"ogbg_{f}") for f in ("jax", "pytorch")]
    assert compare.main([*runs, *flags]) == 0
    assert "ogbg_pytorch is 2.00x as fast as ogbg_jax" in capsys.readouterr().out


def test_workloads_in_different_frameworks_are_said(tmp_path):
    trials = [
        made_up("a", "ogbg", 0, 1, 9.0),
        replace(made_up("a", "wmt", 0, 1, 9.0), framework="pytorch"),
    ]
    _, notes = read_tree(write_tree(trials, tmp_path))
    assert notes == [
        "a: runs in jax and in pytorch, scored together; --framework chooses one."
    ]
