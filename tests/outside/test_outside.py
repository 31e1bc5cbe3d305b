"""Folders from anywhere as packages: names, imports, pickles, and what is wrong."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from algorithmic_efficiency import cli, outside, registry
from algorithmic_efficiency.errors import UsageError
from algorithmic_efficiency.flags import parse
from algorithmic_efficiency.runner.rules import definition_of

# As a workload's own files import each other; 'NAME' is that of the folder.
IMPORTS = {
    "relative": "from . import utils\nVALUE = utils.VALUE",
    "relative name": "from .utils import VALUE",
    "name": "from workloads.NAME.utils import VALUE",
    "module": "from workloads.NAME import utils\nVALUE = utils.VALUE",
    "package": "from . import utils\nfrom workloads import NAME\n"
    "VALUE = NAME.utils.VALUE",
    "plain": "import workloads.NAME.utils\nVALUE = workloads.NAME.utils.VALUE",
    "as": "import workloads.NAME.utils as short\nVALUE = short.VALUE",
    "deeper": "from .parts.deep import VALUE",
    "the project's too": "from workloads import NAME, imagenet_resnet\n"
    "from . import utils\n"
    "VALUE = NAME.utils.VALUE if imagenet_resnet.__name__[:9] == 'workloads' else 0",
}


@pytest.mark.parametrize(
    "path", ["/a/b", "/My Data/x-1.2/_t", "/tmp/ä€/w_5f", "/a_2fb"]
)
def test_a_package_is_the_path_of_its_folder(path: str) -> None:
    name = outside.package_of(Path(path))
    assert outside.folder_of(name) == Path(path).resolve()
    assert all(part.isidentifier() for part in name.split("."))


@pytest.mark.parametrize("how", IMPORTS)
def test_a_folder_imports_its_own_modules(how, copied) -> None:
    values, before = [], set(sys.modules)
    for number, name in enumerate(("one", "two")):  # both have a `utils`
        folder = copied(name)
        (folder / "utils.py").write_text(f"VALUE = {number + 1}")
        (folder / "parts").mkdir()
        (folder / "parts" / "deep.py").write_text("from ..utils import VALUE")
        workload = folder / "workload.py"
        code = IMPORTS[how].replace("NAME", name)
        workload.write_text(f"{workload.read_text()}\n{code}\n")
        outside.read(folder)
        values.append(sys.modules[f"{outside.package_of(folder)}.workload"].VALUE)
    assert values == [1, 2]
    assert not {"utils", "data"} & (set(sys.modules) - before)


def test_names_of_its_own_modules_in_a_definition_are_found(copied) -> None:
    literal = copied(
        "table", workload=("package=__package__", 'package="workloads.table"')
    )
    text = (literal / "workload.py").read_text()
    text = text.replace('f"{__package__}.data"', '"workloads.table.data"')
    text = text.replace('loss="mean_squared_error"', 'loss="workloads.table.own.LOSS"')
    text = text.replace(
        'Evaluate(("loss",))', 'Evaluate(("loss", "workloads.table.own.w"))'
    )
    text = text.replace('"width": 64', '"width": 64, "of": "workloads.tables"')
    (literal / "workload.py").write_text(text)
    row = outside.read(literal)["template"]
    package = outside.package_of(literal)
    assert (row.package, row.data) == (package, f"{package}.data")
    assert row.loss == f"{package}.own.LOSS"
    assert row.evaluations[0].metrics == ("loss", f"{package}.own.w")
    assert row.model["of"] == "workloads.tables"  # another name, which is left alone


def test_another_process_unpickles_its_objects(copied) -> None:
    folder = copied("table")
    row = registry.get(registry.add(folder)[0])
    module = sys.modules.get(row.data) or __import__(row.data, fromlist=["Rows"])
    rows = module.open_split(row, None, "test").examples
    program = "import pickle, sys; print(len(pickle.load(sys.stdin.buffer)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps(rows),
        capture_output=True,
        check=True,
        cwd=registry.ROOT,
    )
    assert int(done.stdout) == len(rows) == 1000


# The registry and the command line.


def test_the_folder_is_known_in_the_process_that_runs_the_trial(
    copied, tmp_path
) -> None:
    folder = copied("table", workload=('"template"', '"mine"'))
    argv = ["run", f"--workload_path={folder}", f"--experiment_dir={tmp_path}"]
    config = cli.make_config(parse(argv))
    assert config.workload == "mine" and config.num_workers == 0
    assert config.workload_path == str(folder)
    del registry.definitions()["mine"]  # as in a new process
    assert definition_of(config).package == outside.package_of(folder)


def test_a_flag_of_its_data_is_a_flag_of_the_command(copied) -> None:
    flag = "from algorithmic_efficiency.data import DataFlag\n"
    flag += "FLAGS = {'rows_file': DataFlag('Rows.')}\n"
    folder = copied("table", data=("PREPARE =", f"{flag}PREPARE ="))
    values = parse(["run", f"--workload_path={folder}", "--rows_file=x"])
    assert values["rows_file"] == "x"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"workload": ('"template"', '"imagenet_resnet"')}, "has the name of another"),
        (
            {"workload": ("WORKLOADS =", "TABLE =")},
            "It should end with a table WORKLOADS",
        ),
        (
            {"workload": ("BASE =", "1 / 0\nBASE =")},
            "raised ZeroDivisionError while it",
        ),
        (
            {"workload": ("{BASE.name:", "{'b':")},
            "WORKLOADS\\['b'\\] is that of 'template'",
        ),
        (
            {"workload": ("__package__,", "'workloads.b',")},
            "expected 'workloads.table'",
        ),
        ({"workload": ("squared_error", "squared")}, "names the loss 'mean_squared'"),
    ],
)
def test_what_is_wrong_is_a_sentence(changes, said, copied) -> None:
    with pytest.raises(UsageError, match=said):
        registry.add(copied("table", **changes))


def test_a_folder_without_a_workload_is_a_sentence(tmp_path, copied) -> None:
    with pytest.raises(UsageError, match=r"no workload in .*new-workload NAME"):
        parse(["run", f"--workload_path={tmp_path}"])
    with pytest.raises(UsageError, match="--workload_path='' is no path"):
        parse(["run", "--workload_path="])
    argv = ["run", f"--workload_path={copied('table')}", "--workload=imagenet_resnet"]
    with pytest.raises(
        UsageError, match="no workload 'imagenet_resnet' in .* template"
    ):
        cli.make_config(parse(argv))
