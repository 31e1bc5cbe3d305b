"""Paths of the command line, in every command: homes, files, links and nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from algorithmic_efficiency import cli
from algorithmic_efficiency.errors import UsageError
from algorithmic_efficiency.paths import folder_of, path_of
from dataset_setup import __main__ as dataset_setup
from scoring import check_submission, compare, score_submissions

ROOT = Path(__file__).parents[2]
NADAMW = str(ROOT / "reference_algorithms" / "nadamw" / "pytorch.py")


def run(words):
    """Runs the runner; returns its exit code."""
    return cli.main(["runner", "--workload=imagenet_resnet_mini", *words])


def check(words):
    """Runs the checker as its command does."""
    return guarded(check_submission.main, [NADAMW, *words])


def score(words):
    return guarded(score_submissions.main, words)


def guarded(main, words):
    """Does what `scoring.flags.run` does with an error."""
    try:
        return main(words)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2


COMMANDS = {
    "run": run,
    "setup mini": lambda words: dataset_setup.main(["mini", *words]),
    "setup imagenet": lambda words: dataset_setup.main(["imagenet", *words]),
    "setup librispeech": lambda words: dataset_setup.main(["librispeech", *words]),
    "doctor": lambda words: dataset_setup.main(["doctor", "imagenet", *words]),
    "doctor librispeech": lambda words: dataset_setup.main(
        ["doctor", "librispeech", *words]
    ),
    "check": check,
}


@pytest.fixture
def homeless(monkeypatch):
    """A user whom the system does not know, without HOME."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])


def sentence(capsys):
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


@pytest.mark.parametrize("command", COMMANDS)
def test_no_home_is_one_sentence(command, homeless, capsys):
    assert COMMANDS[command]([]) == 2
    assert "--data_dir=~/data begins with a home folder, and none" in sentence(capsys)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("home", ["", None])
def test_unknown_users_and_empty_homes(command, home, monkeypatch, capsys):
    if home is not None:
        monkeypatch.setenv("HOME", home)
    flag = "--data_dir=~/data" if home is not None else "--data_dir=~nobody-here/data"
    assert COMMANDS[command]([flag]) == 2
    assert f"{flag} begins with a home folder" in sentence(capsys)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", ["empty", "blank", "file", "link", "closed"])
def test_what_is_no_folder_of_data_is_one_sentence(
    command, what, tmp_path, monkeypatch, capsys
):
    path = tmp_path / "data"
    text, words = {
        "empty": ("", "--data_dir='' is no path"),
        "blank": (" ", "--data_dir=' ' is no path"),
        "file": (path, f"--data_dir={path} is a file, expected a folder"),
        "link": (path, f"--data_dir={path} is a link that leads nowhere"),
        "closed": (path, f"--data_dir={path} cannot be read (Permission denied)"),
    }[what]
    if what == "file":
        path.write_text("data")
    if what == "link":
        path.symlink_to(tmp_path / "gone")
    if what == "closed":
        path.mkdir()
        monkeypatch.setattr(os, "access", lambda *arguments: False)
    assert COMMANDS[command]([f"--data_dir={text}"]) == 2
    assert words in sentence(capsys)


PATHS = [
    "submission_path",
    "tuning_search_space",
    "experiment_dir",
    "imagenet_v2_data_dir",
]


@pytest.mark.parametrize("flag", PATHS)
@pytest.mark.parametrize("text", ["", "~nobody-here/x"])
def test_every_path_of_the_runner(flag, text, tmp_path, capsys):
    assert run([f"--data_dir={tmp_path}", f"--{flag}={text}"]) == 2
    assert f"--{flag}={text or repr('')}" in sentence(capsys)


@pytest.mark.parametrize(
    "flag", ["train_tar", "val_tar", "val_labels", "synsets", "test_tar"]
)
@pytest.mark.parametrize("text", ["", "~nobody-here/x"])
def test_every_path_of_the_setup(flag, text, tmp_path, capsys):
    words = ["imagenet", f"--data_dir={tmp_path}", f"--{flag}={text}"]
    assert dataset_setup.main(words) == 2
    assert f"--{flag}={text or repr('')}" in sentence(capsys)


def test_paths_of_scoring_know_the_home(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert score(["--submission_directory=~/runs"]) == 2
    assert f"{tmp_path}/runs" in sentence(capsys)
    assert guarded(compare.main, ["~/a", "~/b"]) == 2
    assert f"{tmp_path}/a" in sentence(capsys)
    assert score(["--submission_directory=~nobody-here/runs"]) == 2
    assert "begins with a home folder" in sentence(capsys)
    with pytest.raises(UsageError, match="--output_dir='' is no path"):
        score_submissions.make_folder("")


def test_help_needs_no_home(homeless, capsys):
    for words in (["--help"], ["mini", "--help"], ["doctor", "--help"]):
        with pytest.raises(SystemExit) as ended:
            dataset_setup.main(words)
        assert ended.value.code == 0
    assert run(["--help"]) == 0
    assert check(["--nodry_run"]) == 0


def test_paths_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert path_of("x", "~/a") == tmp_path / "a"
    assert path_of("x", "a b/~c") == Path("a b/~c")
    assert folder_of("x", str(tmp_path / "new")) == tmp_path / "new"
    (tmp_path / "link").symlink_to(tmp_path)
    assert folder_of("x", "~/link") == tmp_path / "link"


def test_reading_paths_loads_no_framework():
    code = "import sys, algorithmic_efficiency.paths as p; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"torch", "jax", "numpy"} & set(done.stdout.split())


@pytest.mark.parametrize(
    "words", [["librispeech"], ["doctor", "librispeech"], ["doctor", "imagenet"]]
)
def test_what_cannot_be_read_below_is_one_sentence(
    words, tmp_path, monkeypatch, capsys
):
    stat = Path.stat

    def closed(path, **options):
        if path.name in ("train-clean-100", "train"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", closed)
    assert dataset_setup.main([*words, f"--data_dir={tmp_path}"]) in (1, 2)
    said = capsys.readouterr()
    assert "cannot be read: Permission denied." in said.out + said.err
