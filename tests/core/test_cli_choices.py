import pytest

from algorithmic_efficiency import cli, registry
from algorithmic_efficiency.errors import UsageError
from algorithmic_efficiency.runner import study
from scoring.checker import dry_run

MINI = "--workload=imagenet_resnet_mini"
ADAMW = registry.ROOT / "reference_algorithms" / "adamw"


# The scale.


@pytest.fixture
def data(monkeypatch):
    """Returns a function that makes the data of full scale present or missing."""

    def data(present):
        lost = None if present else "no images in /some/folder. Prepare with: CMD."
        monkeypatch.setattr(
            registry,
            "missing_data",
            lambda row, folders: None if registry.is_mini(row.name) else lost,
        )

    return data


@pytest.mark.parametrize(
    ("name", "scale", "present", "chosen", "loud"),
    [
        ("imagenet_resnet", "auto", True, "imagenet_resnet", False),
        ("imagenet_resnet", "auto", False, "imagenet_resnet_mini", True),
        ("imagenet_resnet", "full", True, "imagenet_resnet", False),
        ("imagenet_resnet", "mini", True, "imagenet_resnet_mini", False),
        ("imagenet_resnet", "mini", False, "imagenet_resnet_mini", False),
        ("imagenet_resnet_silu", "auto", False, "imagenet_resnet_silu_mini", True),
        ("imagenet_resnet_mini", "auto", True, "imagenet_resnet_mini", False),
        ("imagenet_resnet_mini", "auto", False, "imagenet_resnet_mini", False),
        ("imagenet_resnet_mini", "mini", False, "imagenet_resnet_mini", False),
    ],
)
def test_scale(config, data, capsys, name, scale, present, chosen, loud):
    data(present)
    got = config(f"--workload={name}", f"--scale={scale}")
    assert got.workload == chosen
    err = capsys.readouterr().err
    assert (err.count("\n") == 1 and "/some/folder" in err and "CMD" in err) == loud
    assert ("MINI SCALE" in err) == loud
    assert (got.num_workers > 0) == (not registry.is_mini(chosen))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--workload=imagenet_resnet", "--scale=full"], "--scale=full, but no images"),
        ([MINI, "--scale=full"], "needs its full name imagenet_resnet."),
        ([], "--workload is missing"),
        (["--workload=imagenet_resne"], "nearest first: imagenet_resnet,"),
    ],
)
def test_an_impossible_workload_is_a_sentence(main, data, arguments, words):
    data(False)
    code, _, err = main(*arguments)
    assert code == 2
    assert words in err


# The submission and its framework.


@pytest.mark.parametrize(
    ("arguments", "framework", "path"),
    [
        ([], "pytorch", "reference_algorithms/nadamw/pytorch.py"),
        (["--framework=jax"], "jax", "reference_algorithms/nadamw/jax.py"),
        ([f"--submission_path={ADAMW}/jax.py"], "jax", None),
        ([f"--submission_path={ADAMW}/pytorch.py"], "pytorch", None),
        ([f"--submission_path={ADAMW}/jax.py", "--framework=jax"], "jax", None),
    ],
)
def test_framework_decision(config, arguments, framework, path):
    got = config(MINI, *arguments)
    assert got.framework == framework
    if path is not None:
        assert got.submission_path == registry.ROOT / path
    assert got.submission_path.is_file()


@pytest.mark.parametrize(
    ("source", "flag", "framework"),
    [
        ("import jax", None, "jax"),
        ("import torch", None, "pytorch"),
        ("import numpy", None, "pytorch"),
        ("import numpy", "jax", "jax"),
        ("import torch\nimport jax", "jax", "jax"),
        ("import torch", "jax", "jax"),
    ],
)
def test_framework_by_the_imports(config, make_file, source, flag, framework):
    path = make_file("mine.py", source)
    arguments = [MINI, f"--submission_path={path.name}", "--tuning_ruleset=self"]
    got = config(*arguments, *([f"--framework={flag}"] if flag else []))
    assert got.framework == framework


def test_an_explicit_framework_wins_with_a_note(config, capsys):
    got = config(MINI, "--framework=jax", f"--submission_path={ADAMW}/pytorch.py")
    assert got.framework == "jax"
    err = capsys.readouterr().err
    assert err.startswith("Note: --framework=jax, though") and "pytorch.\n" in err
    config(MINI, "--framework=pytorch", f"--submission_path={ADAMW}/pytorch.py")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("path", ["nowhere.py", "."])
def test_a_submission_that_is_not_there_is_a_sentence(main, path):
    code, _, err = main(MINI, f"--submission_path={path}")
    assert code == 2
    assert err.startswith(f"Error: There is no submission {path}")


def test_nothing_stays_behind_a_bad_submission(main, make_file, tmp_path):
    make_file("mine.py", "def get_batch_size(workload_name):\n    return 8\n")
    arguments = [MINI, "--submission_path=mine.py", "--tuning_ruleset=self"]
    for _ in range(2):  # the second time too it is the submission that is wrong
        code, _, err = main(*arguments, "--experiment_name=first")
        assert code == 2
        assert "has no function init_optimizer_state" in err
    assert not list(tmp_path.glob("experiments/first/**/trial_*"))


# Tuning.

SPACE = {"learning_rate": {"min": 1e-3, "max": 1e-1, "scaling": "log"}}


def test_search_space_beside_the_submission_is_the_default(config, make_file):
    path = make_file("sub/mine.py", "import torch")
    make_file("sub/default_hyperparameters.json", [{"learning_rate": 0.25}])
    got = config(MINI, f"--submission_path={path}")
    assert got.points == ({"learning_rate": 0.25},)
    other = make_file("other.json", [{"learning_rate": 0.5}])
    got = config(MINI, f"--submission_path={path}", f"--tuning_search_space={other}")
    assert got.points == ({"learning_rate": 0.5},)


def test_the_public_name_of_a_search_space_is_the_second_choice(config, make_file):
    path = make_file("sub/mine.py", "import torch")
    with pytest.raises(UsageError, match="tuning_search_space.json in .*sub"):
        config(MINI, f"--submission_path={path}", "--num_tuning_trials=2")
    assert config(MINI, f"--submission_path={path}").points == ({},)
    make_file("sub/tuning_search_space.json", {"beta": {"feasible_points": [0.75]}})
    assert config(MINI, f"--submission_path={path}").points == ({"beta": 0.75},)
    assert dry_run.hyperparameters(path, "") == {"beta": 0.75}
    make_file("sub/default_hyperparameters.json", [{"beta": 0.25}])
    assert config(MINI, f"--submission_path={path}").points == ({"beta": 0.25},)
    assert dry_run.hyperparameters(path, "") == {"beta": 0.25}


def test_points_follow_the_seed(config, make_file):
    path = make_file("space.json", SPACE)

    def points(seed, trials):
        arguments = [f"--rng_seed={seed}", f"--num_tuning_trials={trials}"]
        return config(MINI, f"--tuning_search_space={path}", *arguments).points

    assert points(0, 4) == points(0, 4)
    assert points(0, 2) == points(0, 4)[:2]
    assert points(0, 4) != points(1, 4)


def test_self_tuning_has_one_trial_without_hyperparameters(config):
    got = config(MINI, "--tuning_ruleset=self", "--num_studies=3")
    assert [got.point(study, 0) for study in range(3)] == [None] * 3
    assert got.plan() == [(0, 0), (1, 0), (2, 0)]
    folder = got.trial_folder(2, 0)
    assert folder == got.folder / "study_2" / "imagenet_resnet_mini_pytorch" / "trial_1"


def test_every_study_has_points_of_its_own(config, make_file):
    path = make_file("space.json", SPACE)

    def points(studies, trials, *more):
        flags = [f"--num_studies={studies}", f"--num_tuning_trials={trials}", *more]
        got = config(MINI, f"--tuning_search_space={path}", "--rng_seed=5", *flags)
        first = got.plan()[0][1]
        end = first + len(got.plan()) // studies
        return [
            [got.point(number, trial) for trial in range(first, end)]
            for number in range(studies)
        ]

    whole = points(3, 4)
    rates = [point["learning_rate"] for study in whole for point in study]
    assert len(set(rates)) == 12
    # They are one Halton sequence, which has half of its points below the middle.
    assert sum(rate < 1e-2 for rate in rates) == 6
    assert points(1, 4) == whole[:1] and points(2, 4) == whole[:2]
    indices = ["--hparam_start_index=1", "--hparam_end_index=3"]
    assert points(3, 4, *indices) == [study[1:3] for study in whole]


def test_a_list_is_the_same_in_every_study(config, make_file):
    listed = [{"learning_rate": rate} for rate in (0.25, 0.5, 0.125)]
    path = make_file("list.json", listed)
    flags = ["--num_studies=3", "--num_tuning_trials=2"]
    got = config(MINI, f"--tuning_search_space={path}", *flags)
    for number in range(3):
        assert [got.point(number, trial) for trial in range(2)] == listed[:2]


@pytest.mark.parametrize(
    ("indices", "plan"),
    [
        ([], [0, 1, 2, 3]),
        (["--hparam_start_index=1"], [1, 2, 3]),
        (["--hparam_end_index=2"], [0, 1]),
        (["--hparam_start_index=1", "--hparam_end_index=3"], [1, 2]),
        (["--hparam_start_index=3", "--hparam_end_index=99"], [3]),
        (["--hparam_start_index=0", "--hparam_end_index=1"], [0]),
    ],
)
def test_indices_choose_trials_and_leave_their_points_alone(
    config, make_file, indices, plan
):
    path = make_file("space.json", SPACE)
    common = [MINI, f"--tuning_search_space={path}", "--num_tuning_trials=4"]
    common += ["--rng_seed=5", "--experiment_name=e"]
    got, whole = config(*common, *indices), config(*common)
    assert got.plan() == [(0, trial) for trial in plan]
    assert got.points == whole.points
    last = got.trial_folder(*got.plan()[-1])
    assert last.name == f"trial_{plan[-1] + 1}"
    assert last.parent == got.folder / "imagenet_resnet_mini_pytorch"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tuning_ruleset=self", "--tuning_search_space=s.json"], "tunes itself"),
        (["--tuning_ruleset=self", "--num_tuning_trials=2"], "tunes itself"),
        (
            ["--submission_path=mine.py", "--num_tuning_trials=2"],
            "needs --tuning_search",
        ),
        (["--tuning_search_space=nowhere.json"], "nowhere.json cannot be read"),
        (["--tuning_search_space=mine.py"], "mine.py is not JSON"),
        (["--tuning_search_space=s.json", "--num_tuning_trials=3"], "list of 2 points"),
        (["--num_tuning_trials=0"], "--num_tuning_trials=0 should be at least 1"),
        (["--num_studies=0"], "--num_studies=0 should be at least 1"),
        (["--hparam_start_index=1"], "No trial lies between --hparam_start_index=1"),
        (["--hparam_start_index=-1"], "No trial lies between --hparam_start_index=-1"),
        (["--hparam_end_index=0"], "--hparam_end_index=0; there are 1 trials"),
        (["--num_tuning_trials=1000000000"], "should be at most 10000"),
        (["--num_studies=1000000000"], "should be at most 100."),
        (["--num_workers=1000000000"], "should be at most 1024"),
        (["--submission_path=" + "n" * 300 + ".py"], "is too long for a file"),
        (["--tuning_search_space=" + "n" * 300], "is too long for a file"),
        (["--num_workers=-1"], "num_workers"),
        (["--pytorch_eval_num_workers=-1"], "pytorch_eval_num_workers"),
        (["--max_global_steps=-1"], "max_global_steps"),
        (["--capture_jax_trace"], "--capture_jax_trace needs --framework=jax"),
        (["--framework=jax", "--set_pytorch_max_split_size"], "needs --framework=py"),
        (["--librispeech_tokenizer_vocab_path=x"], "for the data of other workloads"),
        (["--resume_last_run", "--overwrite"], "exclude each other"),
        (["--resume_last_run"], "found no experiment with imagenet_resnet_mini_py"),
        (["--use_wandb"], "--use_wandb needs the package 'wandb'"),
    ],
)
def test_flags_that_do_not_fit_are_a_sentence(
    main, make_file, monkeypatch, arguments, words
):
    monkeypatch.setattr(cli, "_installed", lambda package: package != "wandb")
    monkeypatch.setattr(study, "run_study", lambda config: 0)
    make_file("mine.py", "import torch")
    make_file("s.json", [{"lr": 1}, {"lr": 2}])
    code, out, err = main(MINI, *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert err.startswith("Error: ") and err.count("\n") == 1


@pytest.mark.parametrize("processes", ["2", "0", "abc", "1.0"])
def test_more_than_one_process_is_refused(main, monkeypatch, processes):
    monkeypatch.setenv("WORLD_SIZE", processes)
    code, _, err = main(MINI)
    assert code == 2
    assert f"Found WORLD_SIZE={processes!r}" in err
