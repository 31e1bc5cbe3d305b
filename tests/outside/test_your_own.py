"""README and docs/workloads/your_own.md, followed word for word.

Nothing here knows the two workloads: their files and the commands are those of the
pages.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from algorithmic_efficiency import new, registry, submission
from algorithmic_efficiency.battery import command

README = (registry.ROOT / "README.md").read_text()
GUIDE = (registry.ROOT / "docs" / "workloads" / "your_own.md").read_text()
PROGRAM = (
    "import sys; from algorithmic_efficiency import commands; sys.exit(commands.main())"
)


def section(text: str, title: str) -> str:
    """Returns the part of a page below a heading."""
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


def commands_in(text: str) -> list[list[str]]:
    """Returns the words of every command that stands in a block of its own."""
    lines = re.findall(r"^    (algoperf .+)$", text, re.MULTILINE)
    return [line.split()[1:] for line in lines]


def files_in(text: str) -> dict[str, str]:
    """Returns name -> content of every file that is shown."""
    shown = r"^`(\w+/\w+\.py)`.*?^```python\n(.*?)^```$"
    return dict(re.findall(shown, text, re.MULTILINE | re.DOTALL))


def algoperf(words: list[str], folder: Path) -> str:
    """Runs a command as a user does, from a folder; returns what it says."""
    environment = {"PYTHONPATH": str(registry.ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, **environment, "XLA_FLAGS": ""},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def follow(words: list[str], folder: Path, monkeypatch, capsys) -> str:
    """Runs a command, without a new process where it has nothing of its own to show."""
    if words[0] != "check-workload":
        return algoperf(words, folder)
    monkeypatch.chdir(folder)
    code = command.main(words[1:])
    said = capsys.readouterr().out
    assert code == 0, said
    return said


def test_the_readmes_workload(
    tmp_path, monkeypatch, capsys, _registry_as_before
) -> None:
    commands = commands_in(section(README, "Add a workload in three files"))
    assert [words[0] for words in commands] == ["new-workload", "run", "check-workload"]
    said = [follow(words, tmp_path, monkeypatch, capsys) for words in commands]
    made = {path.name for path in (tmp_path / "my_table").glob("*.py")}
    assert made == {"workload.py", "pytorch.py", "jax.py", "data.py"}
    assert re.search(r"^Final my_table score: [\d.]+$", said[1], re.MULTILINE)
    assert "10 of 10 checks hold." in said[2]
    shown = re.findall(r"^  (?:holds|not done) +(.*?):", said[2], re.MULTILINE)
    guide = section(GUIDE, "From the template")
    assert re.findall(r"^  (?:holds|not done) +(.*?):", guide, re.MULTILINE) == shown
    assert commands_in(guide) == commands


def test_the_guides_language_model(
    tmp_path, monkeypatch, capsys, _registry_as_before
) -> None:
    page = section(GUIDE, "A language model")
    for name, text in files_in(page).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    made = {path.name for path in (tmp_path / "my_text").glob("*.py")}
    assert made == {"workload.py", "pytorch.py", "jax.py", "data.py"}
    commands = commands_in(page)
    assert [words[0] for words in commands] == ["check-workload", "run"]
    said = [follow(words, tmp_path, monkeypatch, capsys) for words in commands]
    assert "10 of 10 checks hold." in said[0]
    assert re.search(r"^Final my_text score: [\d.]+$", said[1], re.MULTILINE)
    (run,) = tmp_path.glob("experiments/*/my_text_jax/trial_1/run.json")
    assert json.loads(run.read_text())["status"] == "target_reached"


def test_new_submissions_can_be_loaded(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert new.submission(["my_optimizer"]) == 0
    for framework in ("pytorch", "jax"):
        path = tmp_path / "my_optimizer" / f"{framework}.py"
        loaded = submission.load(path)
        assert submission.framework_of(path) == framework
        assert loaded.batch_size("imagenet_resnet", 1) == 128
        assert "my_optimizer/" in path.read_text()
        assert "submissions/template" not in path.read_text()
    said = capsys.readouterr().out
    assert "--submission_path=my_optimizer/jax.py" in said


@pytest.mark.parametrize(
    ("make", "name", "said"),
    [
        (new.workload, "My-Table", "'My-Table' is no name of a workload"),
        (new.workload, "imagenet_resnet", "is a workload imagenet_resnet already"),
        (new.workload, "there", "there is there already"),
        (new.submission, "there", "there is there already"),
        (new.submission, "there/file/x", "cannot be made: Not a directory"),
    ],
)
def test_a_name_that_cannot_be_is_a_sentence(
    make, name, said, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    Path("there/file").touch()
    assert make([name]) == 2
    assert said in capsys.readouterr().err
