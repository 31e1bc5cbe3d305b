"""What the tests of public styles share."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def quick_compilation() -> Iterator[None]:
    """Lets XLA optimise little: each step runs twice, and compiling is the work."""
    import jax  # noqa: PLC0415 - the other framework's tests need none

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
