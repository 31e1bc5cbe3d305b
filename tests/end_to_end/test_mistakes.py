"""A user's mistake: one sentence, exit code 2, no traceback, nothing lost."""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from algorithmic_efficiency import cli, registry

RUNNER = registry.ROOT / "submission_runner.py"
NADAMW = registry.ROOT / "reference_algorithms" / "nadamw" / "pytorch.py"
GOOD = """
def get_batch_size(workload_name): return {size}
def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng): ...
def data_selection(workload, input_queue, optimizer_state, current_param_container,
                   model_state, hyperparameters, global_step, rng): ...
def update_params({arguments}): ...
"""
UPDATE = (
    "workload, current_param_container, current_params_types, model_state, "
    "hyperparameters, batch, loss_type, optimizer_state, eval_results, global_step, rng"
)


def flags_in(folder: Path, flags: tuple[str, ...]) -> list[str]:
    """Returns the command line whose files all lie in this folder."""
    shared = [f"--experiment_dir={folder}/runs", f"--data_dir={folder}/data"]
    return [str(RUNNER), *shared, *flags]


def the_error(code: int, out: str, err: str) -> str:
    """Returns the sentence of a command that must have refused."""
    assert code == 2, out + err
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, err
    return lines[0]


def fails(folder: Path, *flags: str) -> str:
    """Runs the command, which must refuse; returns its sentence."""
    done = subprocess.run(
        [sys.executable, *flags_in(folder, flags)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    return the_error(done.returncode, done.stdout, done.stderr)


def refuses(folder: Path, *flags: str) -> str:
    """Does as `fails` in this process, where no trial is started: at less cost."""
    out, err = io.StringIO(), io.StringIO()
    inside = contextlib.chdir(folder)
    with inside, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(flags_in(folder, flags))
    return the_error(code, out.getvalue(), err.getvalue())


MINI = "--workload=imagenet_resnet_mini"
SELF = "--tuning_ruleset=self"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "--workload is missing"),
        (["--workload=imagnet_resnt"], "nearest first: imagenet_resnet,"),
        ([MINI, "--framwork=jax"], "Did you mean: framework"),
        ([MINI, "--framework=tensorflow"], "pytorch"),
        ([MINI, "--num_tuning_trials=two"], "num_tuning_trials"),
        ([MINI, "--num_tuning_trials=0"], "at least 1"),
        ([MINI, "stray"], "'stray'"),
        ([MINI, "--submission_path=nowhere.py"], "There is no submission nowhere.py"),
        ([MINI, "--scale=full"], "imagenet_resnet"),
        (["--workload=imagenet_resnet", "--scale=full"], "python -m dataset_setup"),
        ([MINI, "--tuning_search_space=no.json", SELF], "tunes itself"),
        ([MINI, "--tuning_search_space=no.json"], "no.json cannot be read"),
        ([MINI, "--resume_last_run"], "found no experiment"),
        ([MINI, "--resume_last_run", "--overwrite"], "exclude each other"),
        ([MINI, "--hparam_start_index=3"], "No trial lies between"),
        ([MINI, "--capture_jax_trace"], "--framework=jax"),
    ],
)
def test_flags(tmp_path: Path, flags: list[str], words: str) -> None:
    sentence = refuses(tmp_path, *flags)
    assert any(word in sentence for word in words.split("|")), sentence
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not python at all", "line 1"),
        ("import torch\nraise OSError('no luck')", "OSError while it was imported"),
        ("import torch", "no function get_batch_size"),
        (GOOD.format(size=8, arguments="workload"), "cannot be called"),
        (GOOD.format(size=0, arguments=UPDATE), "returned 0"),
        (GOOD.format(size="8.0", arguments=UPDATE), "returned 8.0"),
    ],
)
def test_broken_submissions(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine_pytorch.py"
    path.write_text(text)
    sentence = fails(tmp_path, MINI, SELF, f"--submission_path={path}")
    assert words in sentence
    assert str(path) in sentence


def test_external_ruleset_needs_a_search_space(tmp_path: Path) -> None:
    path = tmp_path / "mine_pytorch.py"
    path.write_text(GOOD.format(size=8, arguments=UPDATE))
    assert "needs --tuning_search_space" in refuses(
        tmp_path, MINI, f"--submission_path={path}", "--num_tuning_trials=2"
    )


def test_search_space_with_a_fault(tmp_path: Path) -> None:
    space = tmp_path / "space.json"
    for form, words in (
        ({"min": 0, "max": 1, "scaling": "log"}, "greater than 0"),
        ({"min": 2, "max": 1, "scaling": "linear"}, "greater than max"),
        ({"min": 1, "max": 2, "scaling": "cubic"}, "'cubic'"),
    ):
        space.write_text(json.dumps({"learning_rate": form}))
        assert words in refuses(tmp_path, MINI, f"--tuning_search_space={space}")
    space.write_text("{")
    assert "is not JSON" in refuses(tmp_path, MINI, f"--tuning_search_space={space}")


def test_existing_folder_is_not_touched(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "mine" / "imagenet_resnet_mini_pytorch" / "trial_1"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    sentence = fails(tmp_path, MINI, "--experiment_name=mine")
    assert "--overwrite" in sentence
    assert [path.name for path in folder.iterdir()] == ["run.json"]


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file in the place of the folder")
    assert "runs is a file, expected a folder" in fails(tmp_path, MINI)


def test_framework_that_is_not_installed(tmp_path: Path) -> None:
    blocker = tmp_path / "sitecustomize.py"
    blocker.write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'jax' else find(name, *a)\n"
    )
    done = subprocess.run(
        [sys.executable, str(RUNNER), MINI, "--framework=jax"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 2, done.stderr
    assert "pip install '.[jax]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_data_folder_without_classes(tmp_path: Path) -> None:
    for split in ("train", "val", "imagenet_v2"):
        (tmp_path / "data" / "imagenet" / split).mkdir(parents=True)
    sentence = fails(tmp_path, "--workload=imagenet_resnet", "--scale=full")
    assert "ImageNet" in sentence
