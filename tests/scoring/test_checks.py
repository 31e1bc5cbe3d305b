"""What is refused with exit code 2, and what is scored with a note."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from algorithmic_efficiency.errors import UsageError
from scoring import score_submissions
from scoring.rules.results import build
from scoring.rules.scored import Options, prepare
from tests.scoring.trees import made_up, write_tree

FAST = Options(resamples=50)


def pair(left: dict, right: dict):
    return [
        made_up("a", "ogbg", 0, 1, 10.0, left),
        made_up("b", "ogbg", 0, 1, 20.0, right),
    ]


def problems_of(trials, options=FAST):
    return prepare(trials, options)[1]


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        ({"scale": "full"}, {"scale": "mini"}, "differ in scale"),
        (
            {"tuning_ruleset": "self"},
            {"tuning_ruleset": "external"},
            "differ in tuning ruleset",
        ),
        (
            {"versions": {"jax": "0.10.2", "numpy": "2.4"}},
            {"versions": {"torch": "2.13", "numpy": "2.3"}},
            r"differ in versions \(numpy\)",
        ),
        (
            {"hardware": {"gpu": "H200"}},
            {"hardware": {"gpu": "V100"}},
            r"differ in hardware \(gpu\)",
        ),
    ],
)
def test_mixtures_are_refused_naming_the_runs(left, right, said):
    with pytest.raises(UsageError, match=said) as error:
        prepare(pair(left, right), FAST)
    for name in ("a/study_0/ogbg_jax/trial_1", "b/study_0/ogbg_jax/trial_1"):
        assert name in str(error.value)


def test_what_may_differ():
    left = {"versions": {"jax": "0.10"}, "hardware": {"hostname": "x", "gpu": "A"}}
    right = {"versions": {"torch": "2"}, "hardware": {"hostname": "y", "gpu": "A"}}
    assert not any("differ in" in problem for problem in problems_of(pair(left, right)))
    plain = pair({}, {"scale": "full", "hardware": {"gpu": "A"}})
    assert not any("differ in" in problem for problem in problems_of(plain))
    commits = pair({"versions": {"source": "1a"}}, {"versions": {"source": "2b"}})
    assert any(
        problem.startswith("The runs differ in versions (source)")
        for problem in problems_of(commits)
    )


def test_two_runs_for_one_place_are_refused():
    twice = [made_up("a", "ogbg", 0, 1, 10.0), made_up("a", "ogbg", 0, 1, 20.0)]
    with pytest.raises(UsageError, match="two runs of study_0, ogbg, trial 1"):
        prepare(twice, FAST)
    torch = replace(made_up("a", "ogbg", 1, 1, 20.0), framework="pytorch")
    with pytest.raises(UsageError, match="two frameworks"):
        prepare([twice[0], torch], FAST)


def test_frameworks_may_differ_between_workloads():
    trials = [made_up("a", "ogbg", 0, 1, 10.0)]
    trials.append(replace(made_up("a", "wmt", 0, 1, 20.0), framework="pytorch"))
    scored, problems = prepare(trials, FAST)
    results = build(scored, problems, FAST)
    assert results["scores"][0]["framework"] == "jax+pytorch"
    assert results["scores"][0]["reached"] == 2


def test_unknown_workload_is_left_out_with_the_nearest_name():
    trials = [made_up("a", "ogbg", 0, 1, 10.0)]
    trials.append(replace(trials[0], workload="ogbgg", path="a/ogbgg_jax/trial_1"))
    assert (
        "a/ogbgg_jax/trial_1: unknown workload ogbgg, and no target in a run.json; "
        "left out. The nearest known one is ogbg."
    ) in problems_of(trials)
    damaged = replace(trials[1], notes=["run.json is not JSON and is ignored"])
    found = problems_of([trials[0], damaged])
    assert any("run.json (run.json is not JSON and is ignored)" in p for p in found)
    with pytest.raises(UsageError, match="nothing to score: .*unknown workload ogbgg"):
        prepare(trials[1:], FAST)


def test_missing_parts_are_stated_and_strict_refuses_them():
    trials = [made_up("a", "ogbg", j, i, 10.0) for j in range(3) for i in range(5)]
    trials += [made_up("b", "ogbg", j, i, 9.0) for j in range(2) for i in range(4)]
    problems = problems_of(trials)
    assert "b: ogbg has 2 studies instead of 3; the median is over those." in problems
    said = "b: ogbg has 4 trials in a study instead of 5; the best one counts."
    assert said in problems
    assert any(p.startswith("a: no run of criteo1tb, fastmri, ") for p in problems)
    assert not any("a: ogbg" in p for p in problems)
    with pytest.raises(UsageError, match=r"^--strict: "):
        prepare(trials, replace(FAST, strict=True))


def test_self_tuning_needs_one_trial_per_study():
    trials = [made_up("a", "ogbg", j, 1, 10.0) for j in range(3)]
    options = replace(FAST, self_tuning_ruleset=True)
    assert not any("trial" in p for p in problems_of(trials, options))
    twice = [*trials, made_up("a", "ogbg", 0, 2, 5.0)]
    said = "a: ogbg has 2 trials in a study instead of 1; the best one counts."
    assert said in problems_of(twice, options)
    recorded = [replace(t, run={"tuning_ruleset": "self"}) for t in trials]
    assert prepare(recorded, FAST)[0].ruleset == "self"


def test_held_out_workloads_of_version_0_5():
    trials = []
    for study in range(5):
        for name, base, variant in (("a", 10.0, 20.0), ("b", 8.0, None)):
            trials.append(made_up(name, "ogbg", study, 1, base + study))
            trials.append(made_up(name, "ogbg_model_size", study, 1, variant))
    options = replace(FAST, benchmark_version="0.5", self_tuning_ruleset=True)
    scored, problems = prepare(trials, options)
    results = build(scored, problems, options)
    cells = {(r["submission"], r["workload"]): r for r in results["workloads"]}
    assert cells["b", "ogbg"]["time"] == 10.0
    assert cells["b", "ogbg"]["reason"] == "missed held-out ogbg_model_size"
    assert cells["a", "ogbg"]["ratio"] == 1.0
    assert not cells["a", "ogbg_model_size"]["counted"]
    score = {row["submission"]: row["score"] for row in results["scores"]}
    assert score == {"a": 0.125, "b": 0.0}
    absent = "criteo1tb_embed_init, fastmri_tanh, imagenet_resnet_large_bn_init, "
    absent += "librispeech_conformer_layernorm, wmt_glu_tanh."
    said = "Nobody has run these held-out workloads, whose rule is not used: "
    assert said + absent in problems
    assert not any(p.startswith("a: ogbg has") for p in problems)

    newer = build(*prepare(trials, FAST), FAST)
    score = {row["submission"]: row["score"] for row in newer["scores"]}
    assert score["b"] == 0.125
    said = "Left out, as not counted in this score: ogbg_model_size."
    assert said in newer["warnings"]


def test_mini_runs_are_scored_among_themselves():
    targets = {"metric": "accuracy", "validation": 0.6, "maximize": True, "test": None}
    run = {"scale": "mini", "targets": targets, "budget_seconds": 30.0}
    trials = []
    for name, hit in (("a", 10.0), ("b", 20.0)):
        trial = made_up(name, "imagenet_resnet", 0, 1, hit, run)
        trials.append(replace(trial, workload="imagenet_resnet_mini"))
    scored, problems = prepare(trials, FAST)
    results = build(scored, problems, FAST)
    assert [row["submission"] for row in results["scores"]] == ["a", "b"]
    assert [row["score"] for row in results["scores"]] == pytest.approx(
        [1.0, 2.0 / 3.0]
    )
    assert results["settings"]["scale"] == "mini"
    assert any("None of the runs is on an official workload" in p for p in problems)
    assert any("No intervals" in warning for warning in results["warnings"])


def test_target_of_the_record_that_differs_is_said():
    targets = {"metric": "mean_average_precision", "validation": 0.2, "maximize": True}
    problems = problems_of([made_up("a", "ogbg", 0, 1, 10.0, {"targets": targets})])
    assert any(
        "gives the validation target 0.2, but 0.28098 is used" in p for p in problems
    )


def test_metric_that_was_not_measured_is_said():
    trial = made_up("a", "ogbg", 0, 1, 10.0)
    trial.columns.pop("validation/mean_average_precision")
    problems = problems_of([trial, made_up("a", "ogbg", 0, 2, 20.0)])
    assert any(
        "trial_1: has no column validation/mean_average_precision; counts as a miss."
        in p
        for p in problems
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--submission_directory=/none"], "There is no folder /none"),
        ([], "Give one of --submission_directory and"),
        (["--submision_directory=x"], "the nearest is --submission_directory"),
        (["--rules=best", "--submission_directory=/none"], "invalid choice: 'best'"),
        (["--strict=maybe"], "'maybe' is not true or false"),
        (["--resamples=many"], "invalid int value: 'many'"),
        (["--load_results_from_filename=/none"], "/none cannot be read as results"),
    ],
)
def test_bad_commands_end_with_one_sentence_and_two(arguments, said):
    command = [sys.executable, "-m", "scoring.score_submissions", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not done.stdout


def test_refusal_through_the_command(tmp_path):
    write_tree(pair({"scale": "full"}, {"scale": "mini"}), tmp_path)
    with pytest.raises(UsageError, match="differ in scale"):
        score_submissions.main([f"--submission_directory={tmp_path}"])


def test_scoring_loads_no_framework(tmp_path):
    write_tree([made_up("a", "ogbg", 0, 1, 10.0)], tmp_path / "in")
    code = (
        "import json, sys\n"
        "from scoring import compare, score_submissions\n"
        f"score_submissions.main(['--submission_directory={tmp_path / 'in'}', "
        f"'--output_dir={tmp_path / 'out'}', '--resamples=10'] + sys.argv[1:])\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(json.dumps(sorted(names)))\n"
    )
    for flags, absent in (
        (["--report"], {"torch", "jax", "flax", "tensorflow"}),
        (["--noreport"], {"torch", "jax", "flax", "matplotlib", "plotly", "pandas"}),
    ):
        command = [sys.executable, "-c", code, *flags]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        loaded = set(json.loads(done.stdout.splitlines()[-1]))
        assert "numpy" in loaded
        assert not absent & loaded


def damaged(folder):
    """Return trees with one damage each, by the name of the damage."""
    clean = "1,10,100,0.5\n2,20,200,0.9\n"
    header = "accumulated_eval_time,score,global_step,validation/mean_average_precision"
    texts = {
        "metric": header.rpartition(",")[0] + "\n1,10,100\n",
        "clock": header.replace("score", "other") + "\n" + clean,
        "step": header.replace("global_step", "other") + "\n" + clean,
        "binary": "\udc80\x00\udcff\n\n,",
        "nothing": "",
        "never": header + "\n1,nan,100,0.5\n",
        "record": header + "\n" + clean,
    }
    for name, text in texts.items():
        write_tree([made_up("b", "ogbg", 0, 1, 10.0)], folder / name)
        path = folder / name / "a" / "study_0" / "ogbg_jax" / "trial_1"
        path.mkdir(parents=True)
        file = path / "eval_measurements.csv"
        file.write_text(text, encoding="utf-8", errors="surrogateescape")
        record = {"status": [1], "targets": "x", "versions": [1], "hardware": None}
        (path / "run.json").write_text(json.dumps(record))
        yield name, folder / name


@pytest.mark.parametrize("clock", ["submission_time", "steps"])
def test_no_damage_ends_in_a_traceback(tmp_path, clock, capsys):
    said = {}
    for name, tree in damaged(tmp_path):
        flags = [f"--submission_directory={tree}", f"--output_dir={tmp_path / 'out'}"]
        assert score_submissions.main([*flags, f"--time={clock}", "--resamples=5"]) == 0
        said[name] = capsys.readouterr().out
        assert "nan" not in (tmp_path / "out" / "report.html").read_text()[:20_000]
    for name, sentence in (
        ("metric", "has no column validation/mean_average_precision; counts as a miss"),
        ("clock", "has no column for the submission time; counts as a miss"),
        ("step", "has no column for the step; counts as a miss"),
        ("binary", "has an eval_measurements.csv without any evaluation"),
        ("nothing", "has an eval_measurements.csv without any evaluation"),
        ("never", "has no evaluation with a time and a step; counts as a miss"),
    ):
        assert f"trial_1: {sentence}" in said[name]
    for sentence in (
        "status is [1], not text, and is ignored",
        "versions is [1], not an object, and is ignored",
        'targets is "x", not an object, and is ignored',
    ):
        assert f"trial_1: run.json: {sentence}" in said["record"]


def test_seed_of_the_bootstrap_is_a_number(tmp_path):
    write_tree(
        [made_up("a", "ogbg", j, 1, 10.0 + j) for j in range(3)], tmp_path / "in"
    )
    results = []
    for seed in (0, 7, 7):
        flags = [f"--submission_directory={tmp_path / 'in'}", f"--seed={seed}"]
        flags += [f"--output_dir={tmp_path / 'out'}", "--noreport", "--resamples=9"]
        assert score_submissions.main(flags) == 0
        results.append(json.loads((tmp_path / "out" / "results.json").read_text()))
    assert results[0]["settings"]["seed"] == 0
    assert results[1]["settings"]["seed"] == 7
    assert results[1] == results[2]


def test_nothing_that_counts_is_refused(tmp_path):
    trials = [made_up("a", "ogbg", 0, 1, 10.0)]
    with pytest.raises(UsageError, match="no trial to score on fastmri"):
        prepare(trials, replace(FAST, workloads=("fastmri",)))
    lost = [replace(trials[0], columns={}, unusable="has no eval_measurements.csv")]
    with pytest.raises(UsageError, match="no trial to score .*: a/study_0.* has no"):
        prepare(lost, replace(FAST, rules="published"))


@pytest.mark.parametrize("clock", ["submission_time", "steps"])
def test_speed_up_is_a_number_where_nobody_ran_a_workload(clock):
    trials = [
        made_up(name, "ogbg", 0, 1, hit) for name, hit in (("a", 10.0), ("b", 5.0))
    ]
    trials[1].columns["global_step"] = trials[1].columns["global_step"] / 2.0
    options = replace(FAST, time=clock, reference="a")
    results = build(*prepare(trials, options), options)
    speedups = {row["submission"]: row["speedup"] for row in results["scores"]}
    assert speedups == {"a": 1.0, "b": pytest.approx(2.0 ** (1.0 / 8.0))}


def test_mini_speech_goes_by_the_public_name_of_its_metric():
    targets = {"metric": "wer_published", "validation": 0.5, "maximize": False}
    run = {"scale": "mini", "targets": targets, "budget_seconds": 30.0}
    trial = made_up("a", "librispeech_deepspeech", 0, 1, 10.0, run)
    trials = [replace(trial, workload="librispeech_deepspeech_mini")]
    scored, _ = prepare(trials, FAST)
    (workload,) = scored.workloads
    assert (workload.metric, workload.origin) == ("wer", 1.0)
    assert scored.table.medians.tolist() == [[10.0]]
