"""Which workloads stand for others in the tests that compile most."""

import functools

import pytest
from parity import pairs

from algorithmic_efficiency import registry


@functools.cache
def distinct() -> list[str]:
    """Returns the minis but for those built of the same parameters as an earlier one.

    Such a variant differs from another by an activation, a number or initial values,
    which one pass, with moved weights and gradients, shows as well as twenty.
    """
    backend, seen, names = pairs.backend("pytorch"), set(), []
    for name, definition in registry.definitions().items():
        if definition.scale == "mini":
            shapes = backend.shapes(backend.build(definition), definition)
            built = (definition.package, frozenset(shapes))
            names += [name] * (built not in seen)
            seen.add(built)
    return names


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives every test with the argument `distinct_name` each of them."""
    if "distinct_name" in metafunc.fixturenames:
        metafunc.parametrize("distinct_name", distinct())
