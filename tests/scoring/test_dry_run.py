"""The dry run: real steps of submissions that break rules while they run."""

import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from algorithmic_efficiency import registry
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.errors import UsageError
from scoring import check_submission
from scoring.checker import dry_run
from scoring.checker.syntax import Finding

ROOT = registry.ROOT
MINI = "imagenet_resnet_mini"
API = """
def get_batch_size(workload_name):
    {batch_size}

def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    {init}
    return {{}}, None

def data_selection(workload, input_queue, *others):
    {select}
    return next(input_queue)

def update_params(workload, current_param_container, current_params_types, model_state,
                  hyperparameters, batch, loss_type, optimizer_state, eval_results,
                  global_step, rng):
    {update}
    return optimizer_state, current_param_container, model_state
"""
BAD_PYTORCH = {
    "batch_size": """
        if workload_name == "wmt":
            return "many"
        if workload_name == "criteo1tb":
            raise KeyError(workload_name)
        CALLS.append(workload_name)
        return 8 + (len(CALLS) if workload_name == "ogbg" else 0)
    """,
    "init": """
        variables = os.environ
        variables["SIDE"] = "1"
    """,
    "select": """
        if len(THREADS) == 0:
            THREADS.append(threading.Thread(target=time.sleep, args=(60,)))
            THREADS[0].start()
            POOL.submit(int).result()
            quick = threading.Thread(target=int)
            quick.start()
    """,
    "update": """
        if global_step == 0:
            vars(metrics)["METRICS"]["accuracy"] = None
            process = multiprocessing.Process(target=time.sleep, args=(60,))
            process.start()
        if global_step == 1:
            back = torch.backends.cudnn
            vars(torch)["set_num_threads"](torch.get_num_threads() + 1)
            current_param_container.forward = current_param_container.forward
        with torch.no_grad():
            for parameter in current_param_container.parameters():
                parameter.mul_(1.0 + 0.01 * (hash("a string") % 1000))
    """,
}
HEAD_PYTORCH = """
import multiprocessing, os, threading, time
from concurrent.futures import ThreadPoolExecutor
import torch
from algorithmic_efficiency import metrics
CALLS, THREADS, POOL = [], [], ThreadPoolExecutor(1)
"""
BAD_JAX = {
    "batch_size": "return 8",
    "init": 'CHANGE("jax_numpy_rank_promotion", "warn")',
    "select": "pass",
    "update": """
        current_param_container = grow(current_param_container)
        hidden = [cell.cell_contents for cell in workload._ask.__closure__]
        real = next(x for x in hidden if hasattr(x, "eval_model"))
        vars(real)["has_reached_validation_target"] = bool
        CHANGE("jax_compilation_cache_dir", "of_mine")
    """,
}
HEAD_JAX = """
import jax
CHANGE = jax.config.update
grow = jax.jit(lambda tree: jax.tree.map(lambda p: 1.01 * p, tree))
"""


def write(path: Path, head: str, bodies: dict[str, str]) -> dict[str, int]:
    """Write a submission; return the line in which each text that is asked for is."""
    filled = {
        name: textwrap.indent(textwrap.dedent(body).strip(), "    ").strip()
        for name, body in bodies.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + API.format(**filled))
    return dict(enumerate(path.read_text().splitlines(), 1))


def line_of(lines: dict[int, str], text: str) -> int:
    return next(number for number, line in lines.items() if text in line)


def check(path: Path, folders: Folders, *flags: str) -> int:
    return check_submission.main(
        [str(path), f"--workload={MINI}", f"--data_dir={folders.data_dir}", *flags]
    )


@pytest.mark.parametrize("framework", ["pytorch", "jax"])
def test_template_passes(framework, folders, capsys):
    path = ROOT / "submissions" / "template" / f"{framework}.py"
    assert check(path, folders) == 0
    assert "0 broken rule(s), 0 suspicion(s)" in capsys.readouterr().out


def test_bad_submission_in_pytorch(tmp_path, folders, capsys):
    path = tmp_path / "bad" / "pytorch.py"
    lines = write(path, HEAD_PYTORCH, BAD_PYTORCH)
    assert check(path, folders) == 1
    said = capsys.readouterr().out
    for certain, rule, place, message in (
        (True, "batch size", "def get_batch_size", "returned 'many'"),
        (False, "batch size", "def get_batch_size", "raises KeyError"),
        (True, "determinism", "def get_batch_size", "get_batch_size('ogbg') gives"),
        (True, "environment", "variables[", "changes the environment"),
        (True, "background work", "THREADS[0].start", "is still at work when data_"),
        (False, "background work", "POOL.submit", "waits for work"),
        (True, "background work", "process.start", "a process lives on"),
        (True, "evaluation", "def update_params", "METRICS['accuracy']"),
        (True, "evaluation", "def update_params", "the forward pass of the model"),
        (False, "environment", "def update_params", "torch's number of threads"),
        (True, "determinism", "def update_params", "with one seed end differently"),
    ):
        kind = "breaks the rule" if certain else "suspicion"
        start = f"line {line_of(lines, place)}: {kind} [{rule}]"
        found = [line for line in said.splitlines() if start in line]
        assert any(message in line for line in found), (start, message, said)
    assert "quick" not in said
    quick = f"line {line_of(lines, 'quick.start')}:"
    assert quick not in said  # a thread that ends within the call is no finding


def test_bad_submission_in_jax(tmp_path, folders, capsys):
    path = tmp_path / "bad" / "jax.py"
    lines = write(path, HEAD_JAX, BAD_JAX)
    assert check(path, folders) == 1
    said = capsys.readouterr().out
    update = f"line {line_of(lines, 'def update_params')}"
    init = f"line {line_of(lines, 'def init_optimizer')}"
    for sentence in (
        f"{init}: suspicion [environment] init_optimizer_state changes jax.config.jax_"
        "numpy_rank_promotion",
        f"{update}: breaks the rule [evaluation] update_params changes a method of "
        "workload",
        f"{update}: suspicion [environment] update_params changes jax.config.jax_"
        "compilation_cache_dir",
    ):
        assert sentence in said
    assert "differently" not in said


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise RuntimeError('the loss is not there')", "RuntimeError: the loss is"),
        ("raise SystemExit(0)", "SystemExit: 0"),
    ],
)
def test_submission_that_raises_is_told_where(tmp_path, folders, capsys, code, said):
    path = tmp_path / "torch_sub.py"
    bodies = {**BAD_PYTORCH, "batch_size": "return 8", "init": "pass", "select": "pass"}
    bodies["update"] = code
    lines = write(path, "", bodies)
    assert check(path, folders) == 1
    line = line_of(lines, code)
    assert (
        f"line {line}: breaks the rule [dry run] it does not run on {MINI}: {said}"
        in capsys.readouterr().out
    )


def test_what_cannot_be_run_is_said(tmp_path, monkeypatch, capsys):
    path = ROOT / "submissions" / "template" / "pytorch.py"
    full = replace(registry.get("imagenet_resnet"), name="full")
    monkeypatch.setattr(registry, "get", lambda name: full)
    with pytest.raises(UsageError, match="possible on no workload; .* --nodry_run"):
        check_submission.main([str(path), "--workload=full", f"--data_dir={tmp_path}"])
    assert "no dry run on full: " in capsys.readouterr().out

    monkeypatch.setattr(check_submission.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"package 'torch', .* --nodry_run"):
        check_submission.main([str(path)])


def test_rehearsal_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(dry_run, "LIMIT_SECONDS", 0.01)
    plan = dry_run.DryRun(tmp_path / "x.py", "pytorch", None, tmp_path, ())
    found, left_out = dry_run.rehearse(plan, [MINI])
    assert found == []
    assert left_out == {MINI: "three steps took longer than 0 s"}


def test_one_mini_workload_of_every_package():
    names = dry_run.mini_workloads()
    packages = [registry.get(name).package for name in names]
    everywhere = {d.package for n, d in registry.definitions().items()}
    assert set(packages) == everywhere
    assert len(packages) == len(set(packages))
    assert MINI in names
    assert all(registry.is_mini(name) for name in names)


def test_hyperparameters_are_found(tmp_path):
    path = tmp_path / "submission.py"
    assert dry_run.hyperparameters(path, "") is None
    (tmp_path / "tuning_search_space.json").write_text('[{"rate": 1}]')
    assert dry_run.hyperparameters(path, "") == {"rate": 1}
    (tmp_path / "default_hyperparameters.json").write_text('[{"rate": 2}]')
    assert dry_run.hyperparameters(path, "") == {"rate": 2}
    other = tmp_path / "other.json"
    with pytest.raises(UsageError, match=r"other\.json cannot be read"):
        dry_run.hyperparameters(path, str(other))


def test_rounding_is_told_from_randomness():
    one = {"a": np.ones(3), "b": np.zeros(2), "moved": np.array(1.0)}
    none = Ends({**one, "moved": np.array(2.0)})
    assert dry_run._difference(Ends(one), none) == ""
    close = Ends({**one, "a": one["a"] + 1e-6})
    assert dry_run._difference(Ends(one), close) == "1 of 2 arrays, by rounding only"
    far = Ends({**one, "b": one["b"] + 0.5})
    said = dry_run._difference(Ends(one), far)
    assert said == "b and 0 more, by 71% of the way they went"
    other = Ends({**one, "b": np.zeros(3)})
    assert "the same shapes" in dry_run._difference(Ends(one), other)
    lost = Ends({**one, "a": one["a"] * np.nan})
    assert dry_run._difference(lost, lost) == ""


class Ends(dict):
    """What np.load gives of a file with these arrays."""

    @property
    def files(self):
        return list(self)


def test_the_more_certain_of_two_findings_stays():
    seen = [Finding(4, "environment", True, "run"), Finding(9, "evaluation", True, "x")]
    read = [
        Finding(4, "environment", False, "read"),
        Finding(2, "interface", True, "y"),
    ]
    merged = check_submission.merged(read, seen)
    assert merged == [read[1], seen[0], seen[1]]
    certain = [Finding(4, "environment", True, "read")]
    assert check_submission.merged(certain, seen[:1]) == certain
