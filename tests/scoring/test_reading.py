"""Reading trees: layouts that are accepted, and damage that is said aloud."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorithmic_efficiency.errors import UsageError
from scoring.reading.benchmark import load
from scoring.reading.logs import read_tree, read_trial
from scoring.reading.numerals import pandas_float
from scoring.rules.table import hit_index
from tests.scoring.trees import made_up, write_tree

OGBG = load("0.6").definitions["ogbg"]
HEADER = "accumulated_eval_time,global_step,score,validation/mean_average_precision"
ROWS = ["1.0,1,10.5,0.1", "2.0,50,20.5,0.2", "3.0,100,30.5,0.3"]


def trial_of(
    tmp_path: Path, *lines: str, end: str = "\n", workload: str = "ogbg", **flags
):
    folder = tmp_path / "sub" / "study_0" / f"{workload}_jax" / "trial_1"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "eval_measurements.csv").write_text("\n".join(lines) + end)
    return read_trial(folder, "sub", "study_0", **flags)


def test_whole_file(tmp_path):
    trial = trial_of(tmp_path, HEADER, *ROWS)
    assert trial.seconds.tolist() == [10.5, 20.5, 30.5]
    assert trial.steps.tolist() == [1, 50, 100]
    assert trial.totals == {"accumulated_eval_time": 3.0}
    assert not trial.notes
    assert hit_index(trial, OGBG) == 2


def test_only_the_metric_that_counts_is_read(tmp_path):
    header = HEADER + ",validation/loss"
    rows = [f"{row},oops" for row in ROWS]
    trial = trial_of(tmp_path, header, *rows)
    assert set(trial.columns) == {*HEADER.split(",")[1:]}
    assert not trial.notes
    unknown = trial_of(tmp_path, header, *rows, workload="mine")
    assert "validation/loss" in unknown.columns
    assert len(unknown.notes) == 3


def test_wer_as_the_public_benchmark_counts_it_goes_by_the_public_name(tmp_path):
    header = HEADER.rpartition(",")[0] + ",validation/wer,validation/wer_published"
    rows = [f"{row},{rate}" for row, rate in zip(ROWS, ("0.09", "0.08"), strict=False)]
    conformer = "librispeech_conformer"
    trial = trial_of(tmp_path, header, *rows, workload=conformer)
    assert trial.column("validation/wer").tolist() == [0.09, 0.08]
    assert not any("published" in name for name in trial.columns)
    header = header.rpartition(",")[0]
    public = trial_of(tmp_path / "public", header, *ROWS, workload=conformer)
    assert public.column("validation/wer").tolist() == [0.1, 0.2, 0.3]


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_last_line_cut_off_is_left_out(tmp_path, cut):
    trial = trial_of(tmp_path, HEADER, *ROWS[:2], ROWS[2][:-cut], end="")
    assert trial.seconds.tolist() == [10.5, 20.5]
    assert trial.notes == ["last line 4 is cut off and left out"]
    assert hit_index(trial, OGBG) == -1


def test_line_with_missing_fields_is_left_out(tmp_path):
    trial = trial_of(tmp_path, HEADER, ROWS[0], "2.0,50", ROWS[2])
    assert trial.steps.tolist() == [1, 100]
    assert trial.notes == ["line 3: wrong number of fields, left out"]


def test_text_and_nan_do_not_reach_the_target(tmp_path):
    trial = trial_of(tmp_path, HEADER, "1,1,10.5,oops", "2,50,20.5,", "3,100,30.5,nan")
    assert np.isnan(trial.column("validation/mean_average_precision")).all()
    assert trial.notes == [
        "line 2: validation/mean_average_precision is 'oops', not a number"
    ]
    assert hit_index(trial, OGBG) == -1


def test_evaluation_without_time_is_left_out(tmp_path):
    trial = trial_of(tmp_path, HEADER, ROWS[0], "2,50,nan,0.9", ROWS[2])
    assert trial.steps.tolist() == [1, 100]
    assert trial.notes == ["1 evaluation(s) without time or step, left out"]


def test_unordered_and_repeated_steps(tmp_path):
    rows = [ROWS[2], ROWS[0], "2.0,50,19.0,0.9", "2.0,50,20.5,0.2"]
    trial = trial_of(tmp_path, HEADER, *rows)
    assert trial.steps.tolist() == [1, 50, 100]
    assert trial.seconds.tolist() == [10.5, 20.5, 30.5]
    assert trial.notes == ["steps repeated or out of order; 1 row(s) left out"]


def test_work_lost_by_a_restart_does_not_count(tmp_path):
    # The run went back behind step 50 and evaluated at other steps.
    rows = [*ROWS, "2.0,60,18.0,0.2", "2.0,120,29.0,0.4"]
    trial = trial_of(tmp_path, HEADER, *rows)
    assert trial.steps.tolist() == [1, 60, 120]
    assert trial.seconds[hit_index(trial, OGBG)] == 29.0

    # Here only the count of restarts tells that step 90 was lost.
    rows = ["1,10.5,0.1,0", "90,25.0,0.9,0", "60,18.0,0.2,1", "120,29.0,0.4,1"]
    header = "global_step,score,validation/mean_average_precision,preemption_count"
    trial = trial_of(tmp_path, header, *rows)
    assert trial.steps.tolist() == [1, 60, 120]
    assert trial.notes == ["steps repeated or out of order; 1 row(s) left out"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([HEADER, "1,1,-3,0.9"], "has a negative submission time (-3 s)"),
        (
            [HEADER, "1,1,30,0.1", "1,2,20,0.9"],
            "has a clock that runs backwards after step 1",
        ),
        ([HEADER], "has an eval_measurements.csv without any evaluation"),
        ([""], "has an eval_measurements.csv without any evaluation"),
        (
            ["global_step,validation/ssim", "1,0.9"],
            "has no column for the submission time",
        ),
        (["score,validation/ssim", "1,0.9"], "has no column for the step"),
        ([HEADER, "1,nan,nan,0.9"], "has no evaluation with a time and a step"),
    ],
)
def test_unusable_trials_count_as_misses(tmp_path, lines, said):
    trial = trial_of(tmp_path, *lines)
    assert trial.unusable == said
    assert trial.seconds.size == trial.steps.size
    assert hit_index(trial, OGBG) == -1


def test_damaged_records_are_ignored_aloud(tmp_path):
    trial_of(tmp_path, HEADER, *ROWS)
    folder = tmp_path / "sub" / "study_0" / "ogbg_jax" / "trial_1"
    (folder / "run.json").write_text('{"status": "runn')
    (folder / "hparams.json").write_text("[1]")
    trial = read_trial(folder, "sub", "study_0")
    assert trial.run == {}
    assert trial.hyperparameters is None
    assert len(trial.notes) == 2
    assert trial.notes[0].startswith("run.json is not JSON")
    assert trial.notes[1] == "hparams.json is not a JSON object and is ignored"


def test_running_trial_is_named(tmp_path):
    tree = write_tree(
        [made_up("a", "ogbg", 0, 1, 9.0, {"status": "running"})], tmp_path
    )
    (trial,), _ = read_tree(tree)
    assert trial.notes == ["is still running; only what it has reached so far counts"]


def test_layouts_with_and_without_studies_and_from_inside(tmp_path):
    trials = [made_up("a", "ogbg", j, 1, 9.0) for j in range(2)]
    write_tree(trials, tmp_path / "tree")
    inner = tmp_path / "tree" / "plain" / "wmt_pytorch" / "trial_10"
    inner.mkdir(parents=True)
    found, notes = read_tree(tmp_path / "tree")
    places = [(t.submission, t.study, t.workload, t.framework, t.trial) for t in found]
    assert places == [
        ("a", "study_0", "ogbg", "jax", 1),
        ("a", "study_1", "ogbg", "jax", 1),
        ("plain", "study_0", "wmt", "pytorch", 10),
    ]
    assert not notes

    for folder in (tmp_path / "tree" / "a", tmp_path / "tree" / "plain"):
        found, notes = read_tree(folder)
        assert {t.submission for t in found} == {folder.name}
        assert notes == [f"{folder} is itself one submission and is scored as such."]


def test_restarts_with_a_timestamp_are_one_submission(tmp_path):
    for number, name in enumerate(("adam", "adam-2024-01-02-03-04-05"), 1):
        write_tree([made_up(name, "ogbg", 0, number, 9.0)], tmp_path)
    found, notes = read_tree(tmp_path)
    assert [(t.submission, t.trial) for t in found] == [("adam", 1), ("adam", 2)]
    assert "merged" in notes[0]


def test_strange_folders_are_named(tmp_path):
    write_tree([made_up("a", "ogbg", 0, 1, 9.0)], tmp_path)
    (tmp_path / "a" / "study_0" / "notes").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "a" / "study_0" / "ogbg_jax" / "trial_x").mkdir()
    found, notes = read_tree(tmp_path)
    assert len(found) == 1
    assert len(notes) == 3
    assert "notes: not a <workload>_<jax|pytorch> folder" in notes[0]
    assert "trial_x: not a trial_<number> folder; ignored." in notes[1]
    assert "empty: no trial found" in notes[2]


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    tree = write_tree([made_up(n, "ogbg", 0, 1, 9.0) for n in "ab"], tmp_path)
    plain = os.scandir

    def refuse(folder):
        if Path(folder).parent.name == "a":
            raise PermissionError(13, "Permission denied", str(folder))
        return plain(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    found, notes = read_tree(tree)
    assert [trial.submission for trial in found] == ["b"]
    assert notes[0].endswith("study_0: cannot be read (Permission denied); ignored.")


def test_numbers_of_trials_are_numbers(tmp_path):
    runs = tmp_path / "a" / "study_0" / "ogbg_jax"
    for name in ("trial_1", "trial_" + "9" * 40, "trial_\u0663", "trial_2\n"):
        (runs / name).mkdir(parents=True)
    found, notes = read_tree(tmp_path)
    assert [trial.trial for trial in found] == [1]
    assert len(notes) == 3


def test_folders_that_cannot_be_scored(tmp_path):
    with pytest.raises(UsageError, match="There is no folder"):
        read_tree(tmp_path / "none")
    with pytest.raises(UsageError, match="holds no trial"):
        read_tree(tmp_path)
    write_tree([made_up("a", "ogbg", 0, 1, 9.0)], tmp_path)
    with pytest.raises(UsageError, match="names 'b', but .* holds a"):
        read_tree(tmp_path, ("b",))


def test_mini_runs_have_a_name_of_their_own(tmp_path):
    run = {"scale": "mini", "targets": {"metric": "x", "validation": 1}}
    tree = write_tree([made_up("a", "ogbg", 0, 1, 9.0, run)], tmp_path)
    (trial,), _ = read_tree(tree)
    assert (trial.workload, trial.scale) == ("ogbg_mini", "mini")


def test_json_of_hyperparameters_is_read(tmp_path):
    tree = write_tree([made_up("a", "ogbg", 3, 2, 9.0)], tmp_path)
    (trial,), _ = read_tree(tree)
    assert trial.hyperparameters == {"learning_rate": 0.2, "draw": 3}
    record = json.loads((Path(trial.path) / "hparams.json").read_text())
    assert record == trial.hyperparameters


@given(st.floats(1.0, 1e6))
def test_published_parser_is_at_most_a_last_digit_off(value):
    text = repr(value)
    assert abs(pandas_float(text) - value) <= 2.0 * np.spacing(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2868.3276751041412", 2868.327675104141),
        # As pandas 2.3.3 parses them: it counts leading zeros among its 17 digits.
        ("0.45906189476824555", 0.4590618947682455),
        ("0.00019460471418828698", 0.0001946047141882),
        ("3.7432840959287283e-02", 0.03743284095928728),
        ("-10782.462275578593", -10782.462275578591),
        ("1e-05", 1e-05),
        ("0.00123", 0.00123),
        ("12345678901234567890", 12345678901234567000.0),
    ],
)
def test_published_parser_against_pandas(text, value):
    assert pandas_float(text) == value


def test_published_parser_refuses_what_is_no_number():
    assert np.isnan(pandas_float("nan"))
    with pytest.raises(ValueError, match="could not convert"):
        pandas_float("oops")


def test_published_rules_take_damaged_lines_as_the_public_tool_does(tmp_path):
    lines = [HEADER, ROWS[0], "2.0,50", ROWS[1] + ",7", ROWS[2][:-4]]
    trial = trial_of(tmp_path, *lines, end="", published=True)
    assert trial.steps.tolist() == [1, 50, 100]
    metric = trial.column("validation/mean_average_precision")
    np.testing.assert_array_equal(metric, [0.1, np.nan, np.nan])
    assert trial.notes == [
        "last line 5 is cut off and taken as it stands",
        "line 3, 4, 5: wrong number of fields, missing fields are empty, longer lines "
        "left out",
    ]


def test_file_that_cannot_be_read_is_a_miss(tmp_path):
    trial_of(tmp_path, HEADER, *ROWS)
    folder = tmp_path / "sub" / "study_0" / "ogbg_jax" / "trial_1"
    file = folder / "eval_measurements.csv"
    file.unlink()
    file.mkdir()
    trial = read_trial(file.parent, "sub", "study_0")
    assert trial.unusable == "has an eval_measurements.csv that is lost: Is a directory"
