"""What the tests of the command line share."""

import json
import sys

import pytest

from algorithmic_efficiency import cli


@pytest.fixture
def config(monkeypatch, tmp_path):
    """Returns a function from arguments to the RunConfig that they make."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    return lambda *arguments: cli.make_config(cli.parse(["runner", *arguments]))


@pytest.fixture
def main(monkeypatch, tmp_path, capsys):
    """Returns a function from arguments to (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def main(*arguments):
        code = cli.main(["runner", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return main


@pytest.fixture
def make_file(tmp_path):
    """Returns a function from a name and content to the path of a new file."""

    def make_file(name, content=""):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return make_file


@pytest.fixture
def make_submission(make_file, monkeypatch, tmp_path):
    """Returns a function from source to the path of its file; forgets its imports."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield lambda source, name="mine.py": make_file(name, source)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
