"""Submissions that break rules, one each, and submissions that do not."""

import os
import textwrap
from pathlib import Path

import pytest

from algorithmic_efficiency.errors import SubmissionError
from scoring import check_submission
from scoring.checker.fingerprints import telltale_numbers
from scoring.checker.submission_rules import check_source

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
    names = {"ogbg", "wmt", "mnist"}
    return check_source(source + textwrap.dedent(extra), names, telltale_numbers())


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
        ("TABLE = {1_281_167: 0.1}", "fingerprint", False),
        ("def f(n):\n    return n > 0.77431", "fingerprint", False),
        ("def f(x):\n    return x.shape[-1] == 1000", "fingerprint", False),
        ("def f(x):\n    return len(x) in (86, 161)", "fingerprint", False),
        ("def f(workload):\n    workload.eval_model(1)", "evaluation", True),
        ("def f(workload):\n    workload.model['width'] = 1", "evaluation", True),
        ("from algoperf import spec\nspec.LossType.MAX = 1", "evaluation", True),
        ("import time\ntime.perf_counter = None", "evaluation", True),
        ("os.chdir('/')", "environment", True),
        ("torch.set_num_threads(1)", "environment", False),
        ("torch.save({}, 'x')", "environment", False),
        ("import numpy\nnumpy.savez('x')", "environment", False),
        ("import signal\nsignal.setitimer(0, 1)", "background work", False),
        ("import time\ntime.perf_counter()", "determinism", False),
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


@pytest.mark.parametrize(
    "code",
    [
        "def f(x):\n    return x.ndim == 4 and x.shape[0] == 3",
        "def f(x):\n    return x.shape[0] > 8192",
        "def f(x):\n    return x == 1000",
        "STEPS = 10_000\nWIDTHS = (1024, 50_000)",
        "def get_eval_batch_size(n):\n    return 43_793 if n == 'ogbg' else 1",
    ],
)
def test_plain_numbers_and_sizes_are_no_fingerprints(code):
    assert findings(code) == []


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
    paths = sorted(ROOT.glob("submissions/*/*.py"))
    paths += sorted(ROOT.glob("submissions/examples/*/*.py"))
    paths += sorted(ROOT.glob("reference_algorithms/[!_]*/*.py"))
    assert len(paths) >= 12
    for path in paths:
        assert check_submission.main([str(path), "--nodry_run"]) == 0
        assert "0 broken rule(s), 0 suspicion(s)" in capsys.readouterr().out


def test_command_that_only_reads(tmp_path, capsys):
    path = tmp_path / "submission.py"
    path.write_text(GOOD + "os.environ['A'] = '1'\nopen('x')\n")
    assert check_submission.main([str(path), "--nodry_run"]) == 1
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


BAD_FILES = {
    "zero bytes": (b"a = 1\x00\n", "null bytes"),
    "other encoding": ("# caf\xe9\n".encode("latin-1"), "encoding declaration"),
    "unknown encoding": (b"# coding: nonsense\n", "unknown encoding"),
    "brackets": (b"x = " + b"(" * 5000 + b"1" + b")" * 5000, "nested"),
    "sum": (b"x = " + b"+".join([b"1"] * 20_000), "nested too deeply"),
    "attributes": (b"x = a" + b".b" * 5000, "nested too deeply"),
    "number": (b"x = " + b"9" * 10_000, "Exceeds the limit"),
    "escape": (b"\x1b[2J = 1\n", "non-printable character"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_files_that_cannot_be_read_end_with_a_sentence(tmp_path, name):
    path = tmp_path / "submission.py"
    source, said = BAD_FILES[name]
    path.write_bytes(source)
    with pytest.raises(SubmissionError, match=said) as error:
        check_submission.main([str(path), "--nodry_run"])
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda p: p.symlink_to(p)])
def test_what_is_no_file_ends_with_a_sentence(tmp_path, make):
    path = tmp_path / "submission.py"
    make(path)
    with pytest.raises(SubmissionError, match="cannot be read: .*"):
        check_submission.main([str(path), "--nodry_run"])


def test_names_in_findings_are_text(tmp_path, capsys):
    path = tmp_path / os.fsdecode(b"\xff\x1b[2J.py")
    path.write_text(GOOD + "# coding\n")
    assert check_submission.main([str(path), "--nodry_run"]) == 0
    assert r"\xff\x1b[2J.py: 0 broken rule(s)" in capsys.readouterr().out


def test_a_declared_encoding_counts(tmp_path):
    path = tmp_path / "submission.py"
    path.write_bytes(("# coding: latin-1\n# caf\xe9" + GOOD).encode("latin-1"))
    assert check_submission.main([str(path), "--nodry_run"]) == 0


@pytest.mark.parametrize(("more", "code"), [("", 0), ("SECRET = sizes('wmt')\n", 1)])
def test_a_function_given_to_from_optimizer_may_know_workloads(tmp_path, more, code):
    source = (
        "from algorithmic_efficiency.adapters.pytorch import from_optimizer\n"
        "def sizes(workload_name):\n"
        "    return {'imagenet_resnet': 128}[workload_name]\n" + more + "(\n"
        "    get_batch_size,\n"
        "    init_optimizer_state,\n"
        "    update_params,\n"
        "    data_selection,\n"
        ") = from_optimizer(lambda model, *_: None, batch_size=sizes)\n"
    )
    path = tmp_path / "pytorch.py"
    path.write_text(source)
    assert check_submission.main([str(path), "--nodry_run"]) == code
