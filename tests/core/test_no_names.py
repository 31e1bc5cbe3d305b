"""The core knows no workload by name: a new family changes nothing in it."""

import re

from algorithmic_efficiency import registry

CORE = registry.ROOT / "algorithmic_efficiency"
# Data sets of the published benchmark, whether their workloads are here yet or not.
DATA_SETS = "imagenet librispeech cifar mnist criteo fastmri ogbg wmt fineweb"


def words() -> set[str]:
    """Returns names of workloads and of data sets."""
    rooms = {path.name for path in (registry.ROOT / "workloads").glob("[!_]*")}
    return rooms | set(registry.definitions()) | set(DATA_SETS.split())


def test_no_file_of_the_core_names_a_workload_or_a_data_set() -> None:
    pattern = re.compile("|".join(map(re.escape, sorted(words()))), re.IGNORECASE)
    found = [
        f"{path.relative_to(CORE)}:{number}: {line.strip()}"
        for path in sorted(CORE.rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []
