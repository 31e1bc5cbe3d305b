"""What all tests share: the registry as parameters, and mini data made once."""

import os
import sys
from typing import Any

# Two CPU devices, so that a test meets sharding; before JAX is first used.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
# Half of the time of the tests of models is XLA's, and most of that is optimising a
# program that runs once. Whole runs, in tests/end_to_end, are optimised as ever.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

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


@pytest.fixture(scope="session", autouse=True)
def _compiled_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Lets JAX keep on disk, for this process, what it has compiled.

    An eager call of a loop compiles it anew each time. Only here: the harness, which
    turns such a cache off, is told that it has done so; tests of that run processes of
    their own.
    """
    if "jax" not in sys.modules:
        return
    import jax

    update = jax.config.update
    update(
        "jax_compilation_cache_dir", str(tmp_path_factory.getbasetemp() / "compiled")
    )
    update("jax_persistent_cache_min_compile_time_secs", 0.05)

    def kept(name: str, value: Any) -> None:
        update(name, value)

    kept.keeps_cache_off = True  # type: ignore[attr-defined]  # as the harness's own
    jax.config.update = kept  # type: ignore[method-assign]
