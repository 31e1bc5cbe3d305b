"""Trials that fail or are stopped: the record says so, and the run goes on."""

import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from commands import Command, rows, run_json

from algorithmic_efficiency.runner import checkpoint

SUBMISSION = """
import ctypes, os, signal
import torch
from algorithmic_efficiency.adapters.pytorch import from_optimizer
get_batch_size, init_optimizer_state, _update, data_selection = from_optimizer(
    lambda model, *_: torch.optim.SGD(model.parameters(), lr=0.1), batch_size=8)

def update_params(workload, current_param_container, current_params_types, model_state,
                  hyperparameters, batch, loss_type, optimizer_state, eval_results,
                  global_step, rng):
    how = getattr(hyperparameters, "how", "") if global_step == 2 else ""
    if how == "raise":
        raise RuntimeError("out of luck")
    if how == "exit":
        os._exit(0)
    if how == "leave":
        raise SystemExit(0)
    if how == "fault":
        ctypes.string_at(0)
    if how == "swap":
        return current_param_container, optimizer_state, model_state
    workload.metrics_logger.append_scalar_metrics({"seen": global_step}, global_step)
    return _update(
        workload, current_param_container, current_params_types, model_state,
        hyperparameters, batch, loss_type, optimizer_state, eval_results, global_step,
        rng)
"""


@pytest.fixture
def submission(tmp_path: Path) -> str:
    (tmp_path / "mine_pytorch.py").write_text(SUBMISSION)
    return f"--submission_path={tmp_path}/mine_pytorch.py"


def test_failing_trials_are_recorded_and_the_next_ones_run(
    command: Command, submission: str
) -> None:
    hows = ["raise", "exit", "leave", "fault", "swap", "fine"]
    space = command.folder / "space.json"
    space.write_text(json.dumps([{"how": how} for how in hows]))
    flags = [submission, f"--tuning_search_space={space}", "--experiment_name=f"]
    flags += [f"--num_tuning_trials={len(hows)}", "--max_global_steps=3"]
    flags += ["--skip_evals"]
    done = command.run(*flags)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[-1].endswith(" score: inf")
    line = SUBMISSION.splitlines().index('        raise RuntimeError("out of luck")')
    path = command.folder / "mine_pytorch.py"
    assert f"out of luck ({path}, line {line + 1}, in update_params)" in done.stderr
    folders = [command.trial("f", "pytorch", n + 1) for n in range(len(hows))]
    runs = [run_json(folder) for folder in folders]
    assert [run["status"] for run in runs] == ["failed"] * 5 + ["missed"]
    reasons = [run["stop_reason"] for run in runs]
    assert reasons[:5] == ["failed", "exited", "failed", "killed", "failed"]
    assert all(run["score"] is None and run["hyperparameters"] for run in runs)
    assert "SystemExit: 0" in runs[2]["error"] and "SIGSEGV" in runs[3]["error"]
    assert "the parameters are at position 1" in runs[4]["error"]
    for folder in folders:  # what was logged before the end is there
        logged = rows(folder / "measurements.csv")
        assert {row["seen"] for row in logged} >= {"0.0", "1.0"}, folder
        told = f"traceback is in {folder / 'traceback.txt'}." in done.stderr
        assert told == (folder / "traceback.txt").is_file()
    assert [(f / "traceback.txt").is_file() for f in folders][3:] == [True, True, False]

    done = command.run(*flags, "--resume_last_run")
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("has failed before") == 5
    assert run_json(folders[0])["preemption_count"] == 0
    done = command.run(*flags, "--resume_last_run", "--retry_failed",
                       "--hparam_end_index=1")  # fmt: skip
    assert run_json(folders[0])["preemption_count"] == 1
    seen = [row["seen"] for row in rows(folders[0] / "measurements.csv")]
    assert [step for step in seen if step] == [
        "0.0",
        "1.0",
    ]  # no checkpoint, so all rows are made again


def test_a_fault_before_the_first_step_leaves_its_traceback(command: Command) -> None:
    text = SUBMISSION + "\ndef init_optimizer_state(*_): return {}['missing']\n"
    path = command.folder / "mine_pytorch.py"
    path.write_text(text)
    done = command.run(
        f"--submission_path={path}", "--tuning_ruleset=self", "--experiment_name=t"
    )
    assert done.returncode == 1
    kept = command.trial("t", "pytorch") / "traceback.txt"
    assert f"The whole traceback is in {kept}." in done.stderr
    assert "KeyError: 'missing'" in kept.read_text()
    assert f"({path}, line {len(text.splitlines())}, in init" in done.stderr
    assert run_json(kept.parent)["status"] == "failed"


@pytest.mark.parametrize("close", ["2>&1 | true", ">&- 2>&-"])
def test_a_run_goes_on_where_nobody_reads(
    command: Command, submission: str, close: str
) -> None:
    path = command.folder / "mine_pytorch.py"
    path.write_text(path.read_text() + "\nprint('loaded', flush=True)\n")
    flags = [submission, "--tuning_ruleset=self", "--experiment_name=r"]
    words = command.arguments(*flags, "--skip_evals", "--max_global_steps=2")
    subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shlex.join(words)} {close}"],
        env=command.environment(),
        cwd=command.folder,
        check=True,
    )
    run = run_json(command.trial("r", "pytorch"))
    assert (run["status"], run["stop_reason"]) == ("missed", "max_global_steps")


def start(command: Command, *flags: str) -> subprocess.Popen[str]:
    """Starts a run without end and waits for its first checkpoint."""
    folder = command.trial("s", "pytorch")
    process = subprocess.Popen(
        command.arguments(*flags, limits=(0.2, 600, 2)),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=command.environment(),
        cwd=command.folder,
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob("checkpoint_*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


def test_a_signal_saves_the_state_and_the_run_goes_on(
    command: Command, submission: str
) -> None:
    flags = [submission, "--tuning_ruleset=self", "--experiment_name=s"]
    process = start(command, *flags)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    folder = command.trial("s", "pytorch")
    run = run_json(folder)
    assert (run["status"], run["stop_reason"]) == ("interrupted", "interrupted")
    newest = checkpoint.existing(folder)[-1].name
    assert newest == f"checkpoint_{run['global_step']}"
    resume = err.strip().splitlines()[-1]
    assert resume.endswith("--experiment_name=s --resume_last_run")
    last = run["global_step"] + 2
    done = subprocess.run(
        ["bash", "-c", f"{resume} --max_global_steps={last}"],
        capture_output=True,
        text=True,
        env=command.environment(),
        cwd=command.folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = [row["seen"] for row in rows(folder / "measurements.csv") if row["seen"]]
    assert list(map(float, seen)) == list(range(last))  # each step once
    assert run_json(folder)["preemption_count"] == 1


def test_a_trial_ends_with_the_process_that_started_it(
    command: Command, submission: str
) -> None:
    flags = ["--tuning_ruleset=self", "--experiment_name=s", "--num_workers=1"]
    process = start(command, submission, *flags)
    below = psutil.Process(process.pid).children(recursive=True)
    trials = [
        child for child in below if "resource_tracker" not in str(child.cmdline())
    ]
    assert len(trials) >= 2  # the trial, and what reads its data
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    _, alive = psutil.wait_procs(trials, timeout=60)
    assert not alive
    assert run_json(command.trial("s", "pytorch"))["status"] == "running"
