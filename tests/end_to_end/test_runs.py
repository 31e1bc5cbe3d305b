"""Whole runs of the command in fresh processes, on real images, in both frameworks."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from algorithmic_efficiency import registry
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.runner import checkpoint
from algorithmic_efficiency.runner.trainer import Trainer
from algorithmic_efficiency.runner.tuning import namedtuple
from algorithmic_efficiency.submission import load
from algorithmic_efficiency.workload import Workload

FRAMEWORKS = ("jax", "pytorch")
NAME = "imagenet_resnet_mini"
RUNNER = Path(__file__).with_name("tiny_runner.py")
ROOT = registry.ROOT


class Command:
    """Runs the command in a temporary experiment folder."""

    def __init__(self, folder: Path, data: Folders) -> None:
        self.folder = folder
        self.data = data

    def arguments(
        self, *flags: str, limits: tuple[Any, ...] = (60, 60, 2)
    ) -> list[str]:
        numbers = [str(limit) for limit in limits]
        shared = [f"--experiment_dir={self.folder}", f"--data_dir={self.data.data_dir}"]
        shared += [f"--workload={NAME}", "--rng_seed=7"]
        return [sys.executable, str(RUNNER), *numbers, *shared, *flags]

    def environment(self) -> dict[str, str]:
        threads = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        return {**os.environ, **threads, "XLA_FLAGS": ""}

    def run(self, *flags: str, limits: tuple[Any, ...] = (60, 60, 2)) -> Any:
        return subprocess.run(
            self.arguments(*flags, limits=limits),
            capture_output=True,
            text=True,
            check=False,
            env=self.environment(),
            cwd=self.folder,
        )

    def trial(self, name: str, framework: str, trial: int = 1) -> Path:
        return self.folder / name / f"{NAME}_{framework}" / f"trial_{trial}"


@pytest.fixture
def command(tmp_path: Path, folders: Folders) -> Command:
    return Command(tmp_path, folders)


def run_json(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_run_reaches_its_target_and_leaves_its_records(
    command: Command, framework: str
) -> None:
    done = command.run(
        f"--framework={framework}", "--experiment_name=a", limits=(0.3, 60, 0.11)
    )
    assert done.returncode == 0, done.stderr
    folder = command.trial("a", framework)
    run = run_json(folder)
    assert run["status"] == "target_reached"
    assert run["stop_reason"] == "targets_reached"
    last = done.stdout.strip().splitlines()[-1]
    assert last == f"Final {NAME} score: {run['score']:.6g}"

    clock = run["clock"]
    parts = [clock[k] for k in ("submission", "evaluation", "logging", "other")]
    assert sum(parts) == pytest.approx(clock["wall"], rel=0.01)
    assert run["scale"] == "mini"
    assert run["seed"] == 7

    evals = rows(folder / "eval_measurements.csv")
    reached = [r for r in evals if float(r["validation/accuracy"]) > 0.11]
    assert float(reached[0]["score"]) == pytest.approx(run["score"])
    assert set(evals[0]) == {
        "accumulated_eval_time",
        "accumulated_logging_time",
        "accumulated_submission_time",
        "global_step",
        "preemption_count",
        "score",
        "total_duration",
        *(
            f"{split}/{metric}"
            for split in ("train", "validation", "test")
            for metric in ("accuracy", "loss", "num_examples")
        ),
    }
    assert {r["validation/num_examples"] for r in evals} == {"1000"}
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    logged = rows(folder / "measurements.csv")
    assert any(row.get("grad_norm") for row in logged)
    hparams = json.loads((folder / "hparams.json").read_text())
    assert hparams == run["hyperparameters"]
    flags = json.loads((folder / "flags_0.json").read_text())
    assert flags["workload"] == NAME
    facts = json.loads((folder / "meta_data_0.json").read_text())
    assert facts["workload.step_hint"] > 0


def contents(folder: Path, framework: str, data: Folders) -> dict[str, Any]:
    """Returns everything in the newest checkpoint as flat NumPy arrays."""
    import jax
    import torch

    backend = base.make(framework)
    path = ROOT / "reference_algorithms" / "nadamw" / f"{framework}.py"
    point = json.loads((folder / "hparams.json").read_text())
    workload = Workload(registry.get(NAME), backend, data)
    trainer = Trainer(workload, load(path), backend, namedtuple(point), seed=0)
    newest = checkpoint.existing(folder)[-1]
    state, meta = checkpoint.load(newest, backend, trainer.state)
    flat = dict(backend.canonical(state["params"], state["model_state"]))
    optimizer = state["optimizer_state"]
    if framework == "pytorch":
        optimizer = optimizer["optimizer"].state_dict()
    for place, leaf in enumerate(jax.tree.leaves(optimizer)):
        if isinstance(leaf, torch.Tensor | jax.Array):
            flat[f"optimizer {place}"] = np.asarray(leaf)
    flat["position"] = np.asarray(meta["position"])
    flat["step"] = np.asarray(meta["progress"]["step"])
    return flat


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_resuming_is_bit_exact(
    command: Command, framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tiny_runner

    monkeypatch.setattr(registry, "definitions", registry.definitions)
    tiny_runner.install(60, 60, 2)
    flags = [f"--framework={framework}", "--skip_evals"]
    for name, limits in (("whole", [8]), ("parts", [3, 8])):
        for part, limit in enumerate(limits):
            resume = ["--resume_last_run"] if part else []
            done = command.run(
                *flags,
                f"--experiment_name={name}",
                f"--max_global_steps={limit}",
                *resume,
            )
            assert done.returncode == 0, done.stderr
    whole = contents(command.trial("whole", framework), framework, command.data)
    parts = contents(command.trial("parts", framework), framework, command.data)
    assert whole.keys() == parts.keys()
    assert int(parts["step"]) == 8
    assert len(whole) > 40
    for name, value in whole.items():
        np.testing.assert_array_equal(value, parts[name], err_msg=name)
    assert run_json(command.trial("parts", framework))["preemption_count"] == 1


def test_a_killed_run_goes_on(command: Command) -> None:
    flags = ["--framework=pytorch", "--experiment_name=killed"]
    folder = command.trial("killed", "pytorch")
    process = subprocess.Popen(
        command.arguments(*flags, limits=(0.5, 600, 2)),
        stderr=subprocess.DEVNULL,
        env=command.environment(),
        cwd=command.folder,
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob("checkpoint_*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = run_json(folder)
    assert before["status"] == "running"
    step = int(checkpoint.existing(folder)[-1].name.split("_")[1])
    done = command.run(
        *flags[:1], "--resume_last_run", f"--max_global_steps={step + 2}",
        limits=(0.5, 600, 2),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    after = run_json(folder)
    assert after["global_step"] == step + 2
    assert after["preemption_count"] == 1
    steps = [int(row["global_step"]) for row in rows(folder / "eval_measurements.csv")]
    assert steps == sorted(set(steps))
    assert steps[-1] == step + 2


def test_several_trials_and_studies(command: Command) -> None:
    space = command.folder / "space.json"
    space.write_text(
        json.dumps(
            {
                "learning_rate": {"min": 1e-4, "max": 1e-2, "scaling": "log"},
                "one_minus_beta1": {"feasible_points": [0.1]},
                "beta2": {"feasible_points": [0.99]},
                "weight_decay": {"feasible_points": [0.0, 0.1]},
                "warmup_factor": {"feasible_points": [0.05]},
            }
        )
    )
    done = command.run(
        f"--tuning_search_space={space}",
        "--num_tuning_trials=2",
        "--hparam_end_index=1",
        "--num_studies=2",
        "--experiment_name=many",
        "--max_global_steps=2",
        limits=(60, 60, 0.01),
    )
    assert done.returncode == 0, done.stderr
    found = sorted(command.folder.glob("many/study_*/*/trial_*/run.json"))
    assert [path.parts[-4] for path in found] == ["study_0", "study_1"]
    first, second = (json.loads(path.read_text()) for path in found)
    assert first["hyperparameters"] == second["hyperparameters"]
    assert first["score"] != second["score"]
    start = [rows(path.with_name("measurements.csv"))[0]["loss"] for path in found]
    assert start[0] != start[1]  # another study draws other numbers
    median = (first["score"] + second["score"]) / 2
    assert f"score: {median:.6g}" in done.stdout


BROKEN_STEP = """
from reference_algorithms.nadamw import pytorch as good
from reference_algorithms.nadamw.pytorch import *
def update_params(workload, current_param_container, current_params_types, model_state,
                  hyperparameters, batch, loss_type, optimizer_state, eval_results,
                  global_step, rng):
    {body}
    return optimizer_state, current_param_container, model_state
"""


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("next(current_param_container.parameters()).data.fill_(float('nan'))",
         "diverged", 0),
        ("raise RuntimeError('the optimizer broke')", "failed", 1),
    ],
)  # fmt: skip
def test_runs_that_go_wrong_say_so(
    command: Command, body: str, status: str, code: int
) -> None:
    path = command.folder / "broken_pytorch.py"
    path.write_text(BROKEN_STEP.format(body=body))
    space = ROOT / "reference_algorithms" / "nadamw" / "default_hyperparameters.json"
    done = command.run(
        f"--submission_path={path}",
        f"--tuning_search_space={space}",
        "--experiment_name=wrong",
        limits=(0.01, 60, 0.5),
    )
    assert done.returncode == code, done.stderr
    run = run_json(command.trial("wrong", "pytorch"))
    assert run["status"] == status
    assert run["score"] is None
    assert "Traceback" not in done.stderr
    if status == "diverged":
        assert "conv1.weight" in run["diverged"]
        assert run["global_step"] == 1
        assert "score: inf" in done.stdout
    else:
        assert "the optimizer broke" in done.stderr
        text = (command.trial("wrong", "pytorch") / "traceback.txt").read_text()
        assert "broken_pytorch.py" in text


def test_two_processes_cannot_share_a_folder(command: Command) -> None:
    import fcntl

    folder = command.trial("shared", "pytorch")
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = command.run("--experiment_name=shared", "--resume_last_run")
    assert done.returncode == 2
    assert "Another process is running" in done.stderr


def test_a_full_disk_keeps_the_last_checkpoint(command: Command) -> None:
    """A limit on the size of files stands for the full disk: the same OSError."""
    flags = ["--framework=pytorch", "--experiment_name=full", "--skip_evals"]
    done = command.run(*flags, "--max_global_steps=1")
    assert done.returncode == 0, done.stderr
    folder = command.trial("full", "pytorch")
    kept = checkpoint.existing(folder)
    limited = " ".join(command.arguments(*flags, "--max_global_steps=3"))
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 4; exec {limited} --resume_last_run"],
        capture_output=True,
        text=True,
        check=False,
        env=command.environment(),
        cwd=command.folder,
    )
    assert done.returncode == 2, done.stderr
    assert "could not be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert checkpoint.existing(folder) == kept
    done = command.run(*flags, "--max_global_steps=3", "--resume_last_run")
    assert done.returncode == 0, done.stderr
    assert run_json(folder)["global_step"] == 3
