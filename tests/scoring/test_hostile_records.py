"""No value in a record, and nothing in the place of a file, ends in a traceback.

Every value of a sound run is replaced by nasty ones in turn; the commands must end with
an exit code and a sentence, whatever comes of the scores. Of all pairs of a place and a
value every eleventh is tried here, so that each place and each value has its turn.
"""

import codecs
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from algorithmic_efficiency.errors import UserError
from scoring import compare, score_submissions
from scoring.reading.logs import read_tree
from scoring.reading.saved import load_trials
from tests.scoring.trees import made_up, write_tree

NASTY = (
    *("null", "true", "false", "0", "-1", "-0.0", "1e400", "-1e308", "1e-320"),
    *("NaN", "Infinity", "9" * 5000, "-" + "9" * 400, "12345678901234567890123"),
    *('""', '"x"', '"\\ud800"', '"\\u001b[2J</script>"', '"=1+1"', '"1e5"'),
    *("[]", "[1]", "{}", '{"a": {"b": [null]}}', "[" * 200 + "]" * 200),
)
RECORD = {
    "workload": "ogbg_mini",
    "framework": "jax",
    "scale": "mini",
    "submission": "adam",
    "score": 10.0,
    "global_step": 100,
    "evaluations": 3,
    "preemption_count": 0,
    "diverged": None,
    "clock": {"submission": 10.0, "wall": 12.0},
    "budget_seconds": 30.0,
    "targets": {
        "metric": "mean_average_precision",
        "validation": 0.28,
        "test": 0.27,
        "maximize": True,
    },
    "seed": 7,
    "study": 0,
    "trial": 1,
    "tuning_ruleset": "external",
    "benchmark_version": "0.6",
    "hyperparameters": {"learning_rate": 0.1},
    "batch_size": 32,
    "status": "target_reached",
    "stop_reason": "targets_reached",
    "error": "",
    "versions": {"python": "3.11", "numpy": "2.4"},
    "hardware": {"processor": "x", "gpus": [{"name": "y"}]},
}
HEADER = "score,global_step,accumulated_eval_time,validation/mean_average_precision"
ROWS = ("1.0,1,0.5,0.1", "5.0,50,1.0,0.2", "10.0,100,1.5,0.3")


STRIDE = 11  # prime to the numbers of values, so that all of them come to all places


def spoiled(record: Any) -> Iterator[str]:
    """Yield the JSON of a record with each of its values replaced by each nasty one."""
    marked = "@here@"
    places: list[tuple[dict, str]] = [(record, key) for key in record]
    for holder, key in places:
        if isinstance(holder[key], dict):
            places += [(holder[key], inner) for inner in holder[key]]
        kept, holder[key] = holder[key], marked
        text = json.dumps(record)
        holder[key] = kept
        turn = len(places) + places.index((holder, key))
        for number, nasty in enumerate(NASTY):
            if (number + turn) % STRIDE == 0:
                yield text.replace(f'"{marked}"', nasty)
    yield from NASTY[::3]
    whole = json.dumps(record)
    yield from (
        "",
        "{",
        whole[:50],
        whole + whole,
        '{"a": 1, "a": 2}',
        "\x00",
        "\ufeff",
    )
    yield '{"a":' * 100_000
    yield whole[:-1] + ', "scale": "full"}'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two submissions on a mini workload, of which one is to be spoiled."""
    trials = [made_up(n, "ogbg", 0, 1, 10.0, RECORD) for n in ("sound", "spoiled")]
    return write_tree(trials, tmp_path / "tree")


def run_of(tree: Path) -> Path:
    return tree / "spoiled" / "study_0" / "ogbg_jax" / "trial_1"


def without_hyperparameters(tree: Path) -> None:
    """Leave hyperparameters to hparams.json, which is read only then."""
    record = json.dumps({**RECORD, "hyperparameters": None})
    (run_of(tree) / "run.json").write_text(record)


def ends_well(command, flags: list[str], capsys) -> str:
    """Run a command and return what it said; a fault of the user's is a sentence."""
    try:
        assert command.main(flags) in (0, 1)
    except UserError as error:
        sentence = str(error)
        assert sentence.endswith((".", ")", "`."))
        assert len(sentence) < 3_000
        capsys.readouterr()
        return sentence
    said = capsys.readouterr().out
    assert "\x1b" not in said
    return said


def both_end_well(tree: Path, out: Path, capsys) -> str:
    flags = ["--noreport", "--resamples=3", f"--output_dir={out}"]
    scored = [f"--submission_directory={tree}", *flags]
    said = ends_well(score_submissions, scored, capsys)
    ends_well(compare, [str(tree / "sound"), str(tree / "spoiled"), *flags], capsys)
    return said


@pytest.mark.parametrize("name", ["run.json", "hparams.json"])
def test_any_value_of_a_record(tree, tmp_path, capsys, name):
    record = RECORD if name == "run.json" else RECORD["hyperparameters"]
    without_hyperparameters(tree)
    for text in spoiled(record):
        (run_of(tree) / name).write_text(text)
        both_end_well(tree, tmp_path / "out", capsys)


CELLS = (
    *("", "nan", "inf", "-inf", "-5", "0", "1e400", "1e308", "-1e308", "1e-320"),
    *("9" * 5000, "x", '"', '"7"', "1_0", "\x00", "\x1b[2J", "=1+1", "\uff11", "true"),
)


@pytest.mark.parametrize("rules", ["exact", "published"])
@pytest.mark.parametrize("clock", ["submission_time", "steps"])
def test_any_cell_of_a_table(tree, tmp_path, capsys, rules, clock):
    path = run_of(tree) / "eval_measurements.csv"
    lines = [line.split(",") for line in (HEADER, *ROWS)]
    flags = [f"--submission_directory={tree}", f"--rules={rules}", f"--time={clock}"]
    flags += ["--noreport", "--resamples=3", f"--output_dir={tmp_path / 'out'}"]
    for line in lines:
        for place, kept in enumerate(line):
            turn = place + 3 * lines.index(line)
            for cell in CELLS[turn % STRIDE :: STRIDE]:
                line[place] = cell
                text = "\n".join(",".join(cells) for cells in lines) + "\n"
                path.write_text(text)
                ends_well(score_submissions, flags, capsys)
            line[place] = kept


WHOLE = "\n".join((HEADER, *ROWS)) + "\n"
SHAPES = {
    "empty": "",
    "line feeds": "\n\n\n",
    "header": HEADER,
    "no header": WHOLE.partition("\n")[2],
    "commas": ",,,\n,,,\n",
    "short lines": WHOLE.replace(",0.2", ""),
    "long lines": WHOLE.replace("\n", ",7,8\n"),
    "no end": WHOLE.rstrip(),
    "open quote": WHOLE.replace("5.0", '"5.0'),
    "zeros": WHOLE + "\x00" * 4096,
    "twice": WHOLE.replace("accumulated_eval_time", "score"),
    "page": "<!doctype html><p>404 global_step\n" * 3,
    "long cell": WHOLE.replace("5.0", "5" * 200_000),
    "binary": bytes(range(256)) * 16,
    "cut utf-16": WHOLE.encode("utf-16")[:-1],
    "utf-32": WHOLE.encode("utf-32"),
    "mark alone": codecs.BOM_UTF16_BE,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_any_shape_of_a_table(tree, tmp_path, capsys, shape):
    text = SHAPES[shape]
    data = text if isinstance(text, bytes) else text.encode()
    (run_of(tree) / "eval_measurements.csv").write_bytes(data)
    both_end_well(tree, tmp_path / "out", capsys)


def circle(path: Path) -> None:
    path.symlink_to(path)


def nothing(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


THINGS = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "circle": circle,
    "dead link": nothing,
    "huge file": huge,
}
FILES = ("run.json", "hparams.json", "eval_measurements.csv")


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("name", FILES)
def test_anything_in_the_place_of_a_file(tree, tmp_path, capsys, name, thing):
    without_hyperparameters(tree)
    path = run_of(tree) / name
    path.unlink()
    THINGS[thing](path)
    said = both_end_well(tree, tmp_path / "out", capsys)
    assert thing == "dead link" or name in said


def test_a_saved_file_with_any_value(tree, tmp_path, capsys):
    saved = tmp_path / "saved.jsonl"
    flags = [f"--output_dir={tmp_path / 'out'}", "--noreport", "--resamples=3"]
    keep = [f"--submission_directory={tree}", f"--save_results_to_filename={saved}"]
    assert score_submissions.main([*flags, *keep]) == 0
    sound, line = saved.read_text().splitlines()
    trial = json.loads(line)
    trial["run"] = {"scale": "mini", "targets": {}}
    for text in spoiled(trial):
        saved.write_text(f"{sound}\n{text}\n")
        load = [*flags, f"--load_results_from_filename={saved}"]
        ends_well(score_submissions, load, capsys)


@pytest.mark.parametrize(
    "data", [b"", b"\x1f\x8b", b"\x1f\x8b\x08\x00" + b"\xff" * 40, b"x", b"[1]"]
)
def test_a_saved_file_that_is_none(tmp_path, data):
    path = tmp_path / "saved.jsonl.gz"
    path.write_bytes(data)
    with pytest.raises(UserError, match="cannot be read as results saved"):
        read_all(path)
    for thing in THINGS.values():
        path.unlink()
        thing(path)
        with pytest.raises(UserError, match="cannot be read as results saved"):
            read_all(path)
        if path.is_dir():
            path.rmdir()
            path.touch()


def read_all(path: Path) -> None:
    if not load_trials(path):
        raise UserError("cannot be read as results saved: empty")


def test_links_that_go_in_circles_and_names_of_bytes(tree, tmp_path, capsys):
    run = run_of(tree)
    (run.parent / "trial_2").symlink_to(run.parent / "trial_2")
    (tree / "around").symlink_to(tree)
    (run.parents[1] / "around").symlink_to(tree)
    odd = os.fsdecode(b"\xff\x1b[2J\n=1")
    os.rename(tree / "spoiled", tree / odd)  # noqa: PTH104 - as the system has it
    trials, notes = read_tree(tree)
    assert r"\xff\x1b[2J\n=1" in {trial.submission for trial in trials}
    flags = [f"--output_dir={tmp_path / 'out'}", "--resamples=3"]
    said = ends_well(
        score_submissions, [f"--submission_directory={tree}", *flags], capsys
    )
    assert r"\xff\x1b[2J\n=1" in said
    page = (tmp_path / "out" / "report.html").read_bytes()
    assert b"\x1b" not in page
    ends_well(compare, [str(tree / "sound"), str(tree / odd), *flags], capsys)


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--resamples=1000000000000", "at most 100,000"),
        ("--resamples=" + "9" * 5000, "invalid int value"),
        ("--submission_directory=" + "x" * 300, "There is no folder"),
        ("--output_dir=" + "x" * 300, "Cannot make the folder"),
        ("--output_dir=/dev/null", "Cannot make the folder"),
        ("--output_dir=/proc/nothing", "Cannot make the folder"),
        ("--output_dir=/proc", "Cannot write"),
        ("--save_results_to_filename=/proc/x", "Cannot write"),
        ("--load_results_from_filename=/proc/self/mem", "Give one of"),
    ],
)
def test_flags_that_cannot_be_met(tree, flag, said):
    sound = [f"--submission_directory={tree}", "--noreport", "--resamples=3"]
    with pytest.raises(UserError, match=said):
        score_submissions.main([*sound, flag])
