"""Files that are written, and the comparison of two runs."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from algorithmic_efficiency.errors import StorageError, UsageError
from scoring import compare, score_submissions
from scoring.reading.saved import load_trials, save_trials
from scoring.report import outputs
from scoring.report.outputs import jsonable
from tests.scoring.trees import made_up, write_tree


@pytest.fixture
def tree(tmp_path):
    """Two submissions that share one machine but not one learning rate."""
    run = {"hardware": {"gpu": "H200"}, "versions": {"jax": "0.10"}}
    trials = []
    for study in range(3):
        for number in (1, 2):
            trials.append(made_up("fast", "ogbg", study, number, 100.0 + study, run))
            slow = made_up("slow", "ogbg", study, number, 150.0 + study, run)
            trials.append(replace(slow, hyperparameters={"learning_rate": 0.5}))
        trials.append(made_up("fast", "wmt", study, 1, None, run))
        trials.append(made_up("slow", "wmt", study, 1, 300.0, run))
    return write_tree(trials, tmp_path / "tree")


@pytest.fixture
def out(tree, tmp_path):
    folder = tmp_path / "out"
    flags = [f"--submission_directory={tree}", f"--output_dir={folder}"]
    flags += ["--workloads=ogbg,wmt", "--resamples=300", "--reference=slow"]
    assert score_submissions.main(flags) == 0
    return folder


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_every_file_is_there(out):
    names = {path.name for path in out.iterdir()}
    tables = {"scores", "workloads", "comparisons", "performance_profiles", "trials"}
    tables |= {"stability", "tuning", "time_to_targets"}
    assert names == {f"{name}.csv" for name in tables} | {
        "results.json",
        "tables.md",
        "report.html",
        *(f"performance_profiles.{kind}" for kind in ("png", "svg")),
        *(f"time_to_targets.{kind}" for kind in ("png", "svg")),
    }


def test_tables_agree_with_each_other(out):
    results = json.loads((out / "results.json").read_text())
    scores = rows(out / "scores.csv")
    assert [row["submission"] for row in scores] == ["slow", "fast"]
    for row, same in zip(scores, results["scores"], strict=True):
        assert float(row["score"]) == same["score"]
    # ogbg: 1 and (4 - 151 / 101) / 3; wmt: nothing and 1.
    expected = ((4 - 151 / 101) / 3 + 1) / 2
    assert float(scores[0]["score"]) == pytest.approx(expected)
    assert float(scores[1]["score"]) == 0.5
    times = {row["submission"]: row for row in rows(out / "time_to_targets.csv")}
    assert times["fast"] == {"submission": "fast", "ogbg": "101.0", "wmt": "inf"}
    assert len(rows(out / "trials.csv")) == 18
    shares = rows(out / "performance_profiles.csv")
    ends = {row["submission"]: float(row["share"]) for row in shares}
    assert ends == {"fast": 0.5, "slow": 1.0}
    markdown = (out / "tables.md").read_text()
    assert "| fast | 101 | - (" in markdown
    assert f"| 1 | slow | {expected:.4f} [" in markdown


def test_pictures_are_pictures(out):
    png = (out / "performance_profiles.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    svg = (out / "time_to_targets.svg").read_text()
    assert "</svg>" in svg
    assert "nan" not in svg.lower().replace("nanosvg", "")


def marks(svg: Path) -> set[str]:
    """Return which marks of misses a picture has."""
    kinds = ("missed", "missed by some studies")
    return {kind for kind in kinds if f'<g id="{kind}">' in svg.read_text()}


def test_a_missed_target_has_a_mark_in_the_picture(out, tree, tmp_path):
    assert marks(out / "time_to_targets.svg") == {"missed"}
    assert ">missed<" in (out / "time_to_targets.svg").read_text()
    flags = [f"--submission_directory={tree}", f"--output_dir={tmp_path / 'ogbg'}"]
    assert score_submissions.main([*flags, "--workloads=ogbg", "--resamples=50"]) == 0
    assert "missed" not in (tmp_path / "ogbg" / "time_to_targets.svg").read_text()


def test_a_target_that_some_studies_missed_has_another_mark(tmp_path):
    trials = [made_up("a", "ogbg", k, 1, time) for k, time in enumerate((9, 8, None))]
    tree = write_tree(trials, tmp_path / "tree")
    flags = [f"--submission_directory={tree}", f"--output_dir={tmp_path / 'out'}"]
    assert score_submissions.main([*flags, "--workloads=ogbg", "--resamples=300"]) == 0
    assert marks(tmp_path / "out" / "time_to_targets.svg") == {"missed by some studies"}


def test_report_needs_no_network_and_escapes_names(tree, tmp_path):
    (tree / "fast").rename(tree / "<b>fast & co</b>".replace("/", "|"))
    flags = [f"--submission_directory={tree}", f"--output_dir={tmp_path}"]
    assert score_submissions.main([*flags, "--workloads=ogbg", "--resamples=50"]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "<b>fast" not in page
    assert "&lt;b&gt;fast &amp; co&lt;|b&gt;" in page
    before_scripts = page[: page.index('<script type="text/plain"')]
    assert "http" not in before_scripts
    assert 'src="' not in before_scripts
    assert len(page) < 5_000_000


def test_one_run_that_reached_nothing_is_reported_too(tmp_path):
    tree = write_tree([made_up("alone", "ogbg", 0, 1, None)], tmp_path / "tree")
    flags = [f"--submission_directory={tree}", f"--output_dir={tmp_path / 'out'}"]
    assert score_submissions.main([*flags, "--resamples=20"]) == 0
    (row,) = rows(tmp_path / "out" / "scores.csv")
    assert (row["score"], row["score_low"], row["rank"]) == ("0.0", "", "1.0")
    assert "stopped early" in (tmp_path / "out" / "report.html").read_text()


def test_without_profiles_only_times_are_written(tree, tmp_path):
    flags = [f"--submission_directory={tree}", f"--output_dir={tmp_path / 'few'}"]
    assert score_submissions.main([*flags, "--nocompute_performance_profiles"]) == 0
    names = {path.name for path in (tmp_path / "few").iterdir()}
    assert names == {"time_to_targets.csv", "trials.csv"}


def test_excluded_submission_is_gone_and_said(tree, tmp_path, capsys):
    flags = ["--submission_directory", str(tree), "--output_dir", str(tmp_path / "x")]
    flags += ["--noreport", "--exclude_submissions=fast", "--resamples=20"]
    assert score_submissions.main(flags) == 0
    assert "left out, as --exclude_submissions asks" in capsys.readouterr().out
    assert [r["submission"] for r in rows(tmp_path / "x" / "scores.csv")] == ["slow"]


def test_unknown_reference_and_output_that_is_a_file(tree, tmp_path):
    flags = [f"--submission_directory={tree}", "--resamples=20"]
    with pytest.raises(UsageError, match="--reference=none is not among"):
        score_submissions.main([*flags, "--reference=none"])
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Cannot make the folder"):
        score_submissions.main([*flags, f"--output_dir={tmp_path / 'file'}"])


def test_json_has_neither_inf_nor_nan():
    value = {"a": [np.inf, np.float64(1.5), (np.nan,)], "b": np.int64(3)}
    assert jsonable(value) == {"a": [None, 1.5, [None]], "b": 3}


def test_saved_trials_come_back_bit_for_bit(tmp_path):
    trial = made_up("a", "ogbg", 0, 1, 1.0 / 3.0, {"seed": 1})
    trial.columns["score"][0] = math.nan
    for name in ("t.jsonl", "t.jsonl.gz"):
        save_trials(tmp_path / name, [trial])
        (back,) = load_trials(tmp_path / name)
        assert back.columns.keys() == trial.columns.keys()
        for key, values in trial.columns.items():
            np.testing.assert_array_equal(back.columns[key], values)
        plain = {k: v for k, v in vars(trial).items() if k != "columns"}
        assert {k: v for k, v in vars(back).items() if k != "columns"} == plain
    (tmp_path / "t.jsonl.gz").write_bytes(b"\x1f\x8bbroken")
    with pytest.raises(UsageError, match="cannot be read as results"):
        load_trials(tmp_path / "t.jsonl.gz")


def test_comparison_of_two_submissions(tree, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    flags = [str(tree / "fast"), str(tree / "slow"), f"--output_dir={tmp_path}"]
    assert compare.main([*flags, "--resamples=300"]) == 0
    said = capsys.readouterr().out
    ogbg, wmt = (line for line in said.splitlines() if line[:4] in ("ogbg", "wmt "))
    assert ogbg.split()[1:5] == ["101", "151", "fast", "1.50x"]
    assert "slow" in wmt
    assert "hyperparameter learning_rate: 0.1, 0.2  |  0.1, 0.5" in said
    assert "hardware" not in said
    # (43,337 / 300 on wmt times 101 / 151 on ogbg) ** (1 / 2)
    assert "slow is 9.83x as fast as fast (geometric mean over 2 workloads" in said
    page = (tmp_path / "comparison.html").read_text()
    assert "<title>AlgoPerf: fast and slow</title>" in page
    assert "slow is 9.83x as fast as fast" in page
    assert "What differs (1)" in page


def test_comparison_of_two_runs_on_different_machines(tmp_path, capsys):
    paths = []
    for name, gpu, hit in (("a", "H200", 10.0), ("b", "V100", 25.0)):
        run = {"hardware": {"gpu": gpu}}
        trial = made_up(name, "ogbg", 0, 1, hit, run)
        paths.append(write_tree([trial], tmp_path) / trial.path)
    assert compare.main([*map(str, paths), "--noreport"]) == 0
    said = capsys.readouterr().out
    assert 'hardware gpu: "H200"  |  "V100"' in said
    assert "2.50x as fast" in said
    assert "one study each does not tell how certain" in said


def test_comparison_of_two_misses_names_no_winner(tmp_path, capsys):
    trials = [made_up(name, "ogbg", 0, 1, None) for name in "ab"]
    tree = write_tree(trials, tmp_path)
    assert compare.main([str(tree / "a"), str(tree / "b"), "--noreport"]) == 0
    said = capsys.readouterr().out
    assert "Neither reached a target." in said
    assert "as fast as" not in said


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ("x/a", "x/b", ("a", "b")),
        ("x/a/study_0", "x/b/study_1", ("a/study_0", "b/study_1")),
        ("x/a/study_0/ogbg_jax", "x/a/study_1/ogbg_jax", ("study_0", "study_1")),
        ("x/a", "x/a/study_0", ("a", "a/study_0")),
        ("x/study_0/a", "y/a", ("x/study_0", "y")),
    ],
)
def test_names_in_a_comparison_are_what_differs(first, second, names, tmp_path):
    assert compare._names(tmp_path / first, tmp_path / second) == names


def test_curves_stand_below_where_the_terminal_is_narrow(
    tree, tmp_path, capsys, monkeypatch
):
    flags = [str(tree / "fast"), str(tree / "slow"), "--noreport", "--resamples=30"]
    lines = {}
    for columns in (200, 90):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert compare.main(flags) == 0
        lines[columns] = capsys.readouterr().out.splitlines()
    wide, narrow = (
        [line for line in lines[columns] if line.startswith("ogbg")]
        for columns in (200, 90)
    )
    assert len(wide) == 1
    assert len(narrow) == 2
    # Both rise to the target; the slower one needs the whole line.
    fast, slow = narrow[1].split()[1:]
    assert wide[0].split()[-2:] == [fast, slow]
    assert (fast[-1], slow[-1]) == ("█", "█")
    assert len(fast) < len(slow)


def test_long_names_are_letters_in_the_table(tmp_path, capsys):
    names = ["a_name_that_is_much_too_long_for_a_table", "b"]
    tree = write_tree([made_up(name, "ogbg", 0, 1, 9.0) for name in names], tmp_path)
    assert compare.main([*(str(tree / name) for name in names), "--noreport"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == [f"A is {names[0]}", "B is b"]
    assert said[2].split()[:3] == ["workload", "A", "(s)"]


def test_numbers_for_people():
    assert [outputs.plain(x) for x in (0.01234, 9.876, 99.94, 100.4, 41094.6)] == [
        "0.0123",
        "9.88",
        "99.9",
        "100",
        "41,095",
    ]


def test_comparisons_that_make_no_sense(tree, tmp_path):
    fast = str(tree / "fast")
    with pytest.raises(UsageError, match="are the same folder"):
        compare.main([fast, fast])
    with pytest.raises(UsageError, match="There is no folder"):
        compare.main([fast, str(tmp_path / "none")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no trial"):
        compare.main([fast, str(tmp_path / "empty")])
    other = write_tree([made_up("c", "fastmri", 0, 1, 9.0)], tmp_path / "t2")
    with pytest.raises(UsageError, match="no workload in common: ogbg, wmt against"):
        compare.main([fast, str(other / "c")])


def test_markdown_marks_unknown_intervals():
    row = {"score": 0.5, "score_low": math.nan, "score_high": math.nan}
    assert outputs.spread(row, "score", "{:.2f}") == "0.50"
