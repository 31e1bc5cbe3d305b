"""Runs that are resumed, killed, kept out of a folder or run out of disk space."""

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import FRAMEWORKS, NAME, ROOT, Command, rows, run_json

from algorithmic_efficiency import registry
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.runner import checkpoint
from algorithmic_efficiency.runner.trainer import Trainer
from algorithmic_efficiency.runner.tuning import namedtuple
from algorithmic_efficiency.submission import load
from algorithmic_efficiency.workload import Workload


def contents(folder: Path, framework: str, data: Folders) -> dict[str, Any]:
    """Returns everything in the newest checkpoint as flat NumPy arrays."""
    import jax
    import torch

    backend = base.make(framework)
    path = ROOT / "reference_algorithms" / "nadamw" / f"{framework}.py"
    point = json.loads((folder / "hparams.json").read_text())
    workload = Workload(registry.get(NAME), backend, data)
    trainer = Trainer(workload, load(path), backend, namedtuple(point), seed=0)
    found = checkpoint.newest_whole(folder, backend, trainer.state, trainer.origin)
    assert found is not None
    state, meta = found.state, found.meta
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
    limits = (600, 600, 2)  # a busy machine may take a minute to compile
    tiny_runner.install(*limits)
    flags = [f"--framework={framework}", "--skip_evals"]
    for name, ends in (("whole", [8]), ("parts", [3, 8])):
        for part, end in enumerate(ends):
            resume = ["--resume_last_run"] if part else []
            done = command.run(
                *flags,
                f"--experiment_name={name}",
                f"--max_global_steps={end}",
                *resume,
                limits=limits,
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
