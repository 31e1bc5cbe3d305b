"""Submissions that break rules, one each, and submissions that do not."""

import textwrap
from pathlib import Path

import pytest

from algorithmic_efficiency.errors import SubmissionError
from scoring import check_submission
from scoring.submission_rules import check_source

ROOT = Path(__file__).resolve().parents[2]
GOOD = '''
"""Momentum; tuned on ogbg among others."""
import os
import torch

BATCH_SIZES = {"ogbg": 512, "wmt": 128}

def get_batch_size(workload_name):
    return BATCH_SIZES[workload_name] if workload_name != "mnist" else 16

def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    steps = int(0.75 * workload.step_hint)
    print(os.environ.get("HOME"))
    return {"optimizer": torch.optim.SGD(model_params.parameters(), lr=0.1)}

def data_selection(workload, input_queue, *others):
    return next(input_queue)

def update_params(workload, train_state, **kwargs):
    if train_state["is_time_remaining"]:
        kwargs["optimizer_state"]["optimizer"].step()
    return kwargs["optimizer_state"], kwargs["current_param_container"], None
'''


def findings(extra: str = "", source: str = GOOD):
    return check_source(source + textwrap.dedent(extra), {"ogbg", "wmt", "mnist"})


def test_good_submission_has_no_findings():
    assert findings() == []


@pytest.mark.parametrize(
    ("code", "rule", "certain"),
    [
        ("def f(name):\n    return name == 'ogbg'", "workload names", True),
        ("RATES = {'ogbg': 0.1, 'wmt': 0.2}", "workload names", True),
        ("def f(n):\n    return n in ('ogbg', 'wmt')", "workload names", True),
        ("def f(n):\n    match n:\n        case 'wmt':\n            pass",
         "workload names", True),
        ("print('ogbg')", "workload names", False),
        ("def get_eval_batch_size(n):\n    global seen\n    seen = n\n    return 1",
         "workload names", False),
        ("def f(workload):\n    return type(workload)", "fingerprint", False),
        ("def f(workload):\n    return workload.num_train_examples > 10**6",
         "fingerprint", False),
        ("def f(workload):\n    return {1: 2}[workload.step_hint]",
         "fingerprint", False),
        ("def f(workload):\n    workload.eval_model(1)", "evaluation", True),
        ("def f(workload):\n    workload.step_hint = 10", "evaluation", True),
        ("def f(workload):\n    setattr(workload, 'x', 1)", "evaluation", True),
        ("os.environ['XLA_FLAGS'] = ''", "environment", True),
        ("os.environ.update(A='1')", "environment", True),
        ("import subprocess as s\ns.run(['ls'])", "environment", True),
        ("from urllib.request import urlopen\nurlopen('x')", "environment", True),
        ("torch.backends.cudnn.benchmark = True", "environment", False),
        ("open('x')", "environment", False),
        ("from threading import Thread\nThread().start()", "background work", False),
        ("import atexit\natexit.register(print)", "background work", True),
        ("import numpy as np\nnp.random.normal()", "determinism", False),
        ("import time\nseed = time.time()", "determinism", False),
        ("import os as o\no.urandom(4)", "determinism", True),
    ],
)  # fmt: skip
def test_broken_rule_is_found_in_its_line(code, rule, certain):
    found = findings(code)
    last = GOOD.count("\n") + 1 + code.count("\n")
    assert {(f.rule, f.certain) for f in found} == {(rule, certain)}
    assert all(GOOD.count("\n") < f.line <= last for f in found)


def test_table_of_batch_sizes_may_not_serve_another_purpose():
    found = findings("def rate(name):\n    return 100 / BATCH_SIZES[name]")
    assert [(f.line, f.rule, f.certain) for f in found] == [
        (6, "workload names", True),
        (6, "workload names", True),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def data_selection", "def select", "there is no function data_selection"),
        ("workload, input_queue, *others", "queue", "data_selection must take"),
        (
            "(workload, train_state, **kwargs)",
            "(workload, batch)",
            "update_params must",
        ),
        ("train_state, **kwargs", "surprise, **kwargs", "update_params must take"),
    ],
)
def test_interface(old, new, message):
    (finding,) = findings(source=GOOD.replace(old, new))
    assert (finding.rule, finding.certain) == ("interface", True)
    assert message in finding.message


def test_functions_may_be_made_elsewhere():
    made = "a = 1\nget_batch_size, init_optimizer_state = make()\n"
    made += "from x import update_params\nfrom y import choose as data_selection\n"
    assert findings(source=made) == []


def test_our_submissions_are_clean(capsys):
    paths = sorted(ROOT.glob("submissions/template/*.py"))
    paths += sorted(ROOT.glob("reference_algorithms/[!_]*/*.py"))
    assert len(paths) >= 4
    for path in paths:
        assert check_submission.main([str(path)]) == 0, capsys.readouterr().out


def test_command(tmp_path, capsys):
    path = tmp_path / "submission.py"
    path.write_text(GOOD + "os.environ['A'] = '1'\nopen('x')\n")
    assert check_submission.main([str(path)]) == 1
    said = capsys.readouterr().out
    line = GOOD.count("\n") + 1
    assert f"{path}: line {line}: breaks the rule [environment] os.environ" in said
    assert f"{path}: line {line + 1}: suspicion [environment] open" in said
    assert "1 broken rule(s), 1 suspicion(s)" in said
    path.write_text("def broken(:\n")
    with pytest.raises(SubmissionError, match="is not a Python file"):
        check_submission.main([str(path)])
    with pytest.raises(SubmissionError, match="cannot be read"):
        check_submission.main([str(tmp_path / "none.py")])


RUNNER = """
import pathlib, sys, uuid
flags = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
assert flags["max_global_steps"] == "3" and flags["scale"] == "mini"
if "fail" in flags["submission_path"]:
    sys.exit("Error: the loss is not there.")
value = uuid.uuid4().int if "random" in flags["submission_path"] else 0.5
out = pathlib.Path(flags["experiment_dir"], flags["experiment_name"], "w", "trial_1")
out.mkdir(parents=True)
text = f"score,validation/loss\\n1,7\\n{uuid.uuid4().int},{value}\\n"
(out / "eval_measurements.csv").write_text(text)
"""


@pytest.mark.parametrize(
    ("name", "rule", "message"),
    [
        ("steady", None, ""),
        ("random", "determinism", "with one seed end differently: validation/loss is"),
        ("fail", "dry run", "w does not run: Error: the loss is not there."),
    ],
)
def test_dry_run_judges_two_runs(tmp_path, monkeypatch, name, rule, message):
    # A made-up runner: a real one needs a minute for what is not tested here.
    (tmp_path / "submission_runner.py").write_text(RUNNER)
    monkeypatch.setattr(check_submission, "ROOT", tmp_path)
    found = check_submission.dry_run(tmp_path / f"{name}.py", "w", "pytorch")
    assert [finding.rule for finding in found] == ([rule] if rule else [])
    assert all(message in finding.message for finding in found)
