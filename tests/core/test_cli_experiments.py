import json
import os
import re
import time

import pytest

MINI = "--workload=imagenet_resnet_mini"


def test_seed_zero_is_kept_and_no_seed_is_a_random_one(config):
    got = config(MINI, "--rng_seed=0")
    assert (got.seed, got.flags["rng_seed"]) == (0, 0)
    seeds = {config(MINI).seed for _ in range(5)}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (["--experiment_name=mine"], r"experiments/mine"),
        ([], r"experiments/\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d"),
        (["--append_timestamp"], r"experiments/\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d"),
        (
            ["--experiment_name=mine", "--append_timestamp"],
            r"experiments/mine-\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d",
        ),
        (["--experiment_dir=/a/b", "--experiment_name=mine"], "/a/b/mine"),
        (["--experiment_dir=~/b", "--experiment_name=mine"], "/home/me/b/mine"),
    ],
)
def test_folder_of_an_experiment(config, monkeypatch, arguments, pattern):
    monkeypatch.setenv("HOME", "/home/me")
    assert re.fullmatch(pattern, str(config(MINI, *arguments).folder))


def record(root, name, seed, runs="imagenet_resnet_mini_pytorch", age=0.0, study=""):
    """Makes the folder of an earlier run."""
    folder = root / "experiments" / name / study / runs / "trial_1"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"seed": seed}))
    stamp = time.time() - age
    os.utime(folder, (stamp, stamp))


def test_resume_takes_the_newest_experiment_of_this_workload_and_its_seed(
    config, tmp_path
):
    record(tmp_path, "newest", 44, age=10.0)
    record(tmp_path, "a_old", 11, age=900.0)
    record(tmp_path, "z_older", 22, age=9000.0)
    record(tmp_path, "other_framework", 33, "imagenet_resnet_mini_jax")
    got = config(MINI, "--resume_last_run")
    assert (got.folder.name, got.seed, got.resume) == ("newest", 44, True)
    got = config(MINI, "--resume_last_run", "--experiment_name=z_older")
    assert (got.folder.name, got.seed) == ("z_older", 22)
    got = config(MINI, "--resume_last_run", "--framework=jax")
    assert (got.folder.name, got.seed) == ("other_framework", 33)
    got = config(MINI, "--resume_last_run", "--rng_seed=0")
    assert (got.folder.name, got.seed) == ("newest", 0)


def test_resume_finds_experiments_with_studies(config, tmp_path):
    record(tmp_path, "plain", 1, age=900.0)
    record(tmp_path, "studies", 2, age=90.0, study="study_1")
    got = config(MINI, "--resume_last_run", "--num_studies=2")
    assert (got.folder.name, got.seed) == ("studies", 2)


def test_resume_with_a_timestamp_continues_the_newest_of_that_name(config, tmp_path):
    record(tmp_path, "mine-2020-01-01-00-00-00", 1, age=900.0)
    record(tmp_path, "mine-2021-01-01-00-00-00", 2, age=90.0)
    record(tmp_path, "other", 3)
    got = config(
        MINI, "--resume_last_run", "--experiment_name=mine", "--append_timestamp"
    )
    assert (got.folder.name, got.seed) == ("mine-2021-01-01-00-00-00", 2)


def test_an_existing_folder_is_a_sentence(main, tmp_path):
    record(tmp_path, "mine", 1)
    code, _, err = main(MINI, "--experiment_name=mine")
    assert code == 2
    assert "trial_1 exists already" in err
    assert "--resume_last_run" in err and "--overwrite" in err
    assert (tmp_path / "experiments/mine/imagenet_resnet_mini_pytorch/trial_1").is_dir()


def test_a_folder_that_cannot_be_written_is_a_sentence(main, make_file):
    make_file("a_file")
    code, _, err = main(MINI, "--experiment_dir=a_file", "--max_global_steps=1")
    assert code == 2
    assert "--experiment_dir=a_file is a file, expected a folder" in err
    assert err.count("\n") == 1
