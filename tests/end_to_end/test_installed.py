"""The project as pip installs it: a wheel in a new environment, used from anywhere."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib import metadata

import pytest

from algorithmic_efficiency import registry

VERSION = metadata.version("algorithmic-efficiency")
NOT_SOURCE = shutil.ignore_patterns(
    ".*", "build", "*.egg-info", "__pycache__", "experiments", "tests"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Returns a built wheel; setuptools comes from the package registry."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel"]
    source = folder / "source"  # what an earlier build left must not get in
    shutil.copytree(registry.ROOT, source, ignore=NOT_SOURCE)
    built = subprocess.run(
        [*pip, "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def algoperf(wheel, tmp_path_factory):
    """Returns a function that runs `algoperf` of a new environment with the wheel.

    Packages that the wheel requires are borrowed from the environment of the tests.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)],
        check=True,
    )
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment["OMP_NUM_THREADS"] = "1"

    def run(*words, cwd):
        return subprocess.run(
            [str(folder / "bin" / "algoperf"), *words],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            cwd=cwd,
        )

    return run


def test_wheel_takes_no_name_of_another_package(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.partition("/")[0] for name in names if "dist-info" not in name}
    assert folders == {
        "algorithmic_efficiency",
        "dataset_setup",
        "reference_algorithms",
        "scoring",
        "submissions",
        "workloads",
    }
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_every_command_runs_from_any_folder(algoperf, tmp_path, folders):
    listed = algoperf("list", cwd=tmp_path)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert set(registry.definitions()) <= set(listed.stdout.split())
    for word in ("run", "score", "compare", "check", "data"):
        shown = algoperf(word, "--help", cwd=tmp_path)
        assert (shown.returncode, shown.stderr) == (0, ""), word
        assert "data_dir" in shown.stdout or word in ("score", "compare", "data")


def test_mistakes_are_sentences(algoperf, tmp_path):
    for words in (["ruhn"], ["run"], ["score", "--x=1"], ["check"], ["compare", "a"]):
        done = algoperf(*words, cwd=tmp_path)
        assert done.returncode == 2, words
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") == 1 or words == ["ruhn"]
    assert "usage: algoperf COMMAND" in algoperf(cwd=tmp_path).stdout


def test_run_is_scored(algoperf, tmp_path, folders):
    flags = ["--workload=imagenet_resnet_mini", f"--data_dir={folders.data_dir}"]
    flags += ["--max_global_steps=1", "--experiment_name=a", "--skip_evals"]
    done = algoperf("run", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Final imagenet_resnet_mini score: inf"
    trial = tmp_path / "experiments/a/imagenet_resnet_mini_pytorch/trial_1"
    run = json.loads((trial / "run.json").read_text())
    assert run["versions"]["source"] == f"release {VERSION}"


def test_names_that_the_list_shows_hold_in_every_folder(algoperf, tmp_path, folders):
    flags = ["--workload=imagenet_resnet_mini", f"--data_dir={folders.data_dir}"]
    flags += ["--submission_path=reference_algorithms/adamw/pytorch.py"]
    flags += ["--tuning_search_space=reference_algorithms/adamw/lost.json"]
    done = algoperf("run", *flags, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "The search space reference_algorithms/adamw/lost.json" in done.stderr
