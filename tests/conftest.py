"""What all tests share: the registry as parameters, and mini data made once."""

import os

# Two CPU devices, so that a test meets sharding; before JAX is first used.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")

import pytest  # noqa: E402

from algorithmic_efficiency import registry  # noqa: E402
from algorithmic_efficiency.data import Folders  # noqa: E402

MINI = [name for name in registry.definitions() if registry.is_mini(name)]
FULL = [name for name in registry.definitions() if not registry.is_mini(name)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives every test with such an argument each workload of the registry."""
    for argument, names in (("mini_name", MINI), ("full_name", FULL)):
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, names)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A data folder that stays for the session; the first use fills it."""
    return Folders(tmp_path_factory.getbasetemp().parent / "mini_data")
