"""The README says what the code says."""

import re

from algorithmic_efficiency import cli, registry
from algorithmic_efficiency.flags import table

README = (registry.ROOT / "README.md").read_text()


def test_table_of_workloads_is_what_the_command_prints() -> None:
    assert cli.listing() in README


def test_every_flag_in_the_readme_exists() -> None:
    known = {flag.name for group in table().values() for flag in group}
    for command in re.findall(r"submission_runner\.py((?:.*\\\n)*.*)", README):
        for flag in re.findall(r"--([a-z_]+)", command):
            assert flag in known


def test_every_linked_file_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (registry.ROOT / target).exists(), target
