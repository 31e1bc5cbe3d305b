"""One integer seed per run; named, independent streams for every use of chance.

A stream is a hash of the run's seed and the names on the way to its use, for example
`pair(seed, study, trial, "update", step)`. So no two uses share random numbers, seed 0
is a seed like any other, and a resumed run needs no generator state.
"""

import contextlib
import hashlib
import random
from collections.abc import Iterator

import numpy as np

Name = str | int


def pair(seed: int, *names: Name) -> tuple[int, int]:
    """Returns two integers in [0, 2**31), the form in which rngs are made."""
    path = "/".join(map(str, (seed, *names)))
    digest = hashlib.blake2b(path.encode(), digest_size=8).digest()
    first = int.from_bytes(digest[:4], "little")
    second = int.from_bytes(digest[4:], "little")
    return first & 0x7FFFFFFF, second & 0x7FFFFFFF


def integer(seed: int, *names: Name) -> int:
    """Returns one integer in [0, 2**31)."""
    return pair(seed, *names)[0]


def seed_python(seed: int) -> None:
    """Seeds the generators of `random` and `numpy.random`, which are Python's own.

    The harness draws from neither; a submission may.
    """
    random.seed(integer(seed, "random"))
    np.random.seed(integer(seed, "numpy.random"))  # noqa: NPY002 - what it seeds


@contextlib.contextmanager
def python_kept() -> Iterator[None]:
    """Leaves the generators of `random` and `numpy.random` as they are on entry."""
    python, of_numpy = random.getstate(), np.random.get_state(legacy=False)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(of_numpy)


def generator(seed: int, *names: Name) -> np.random.Generator:
    """Returns a NumPy generator of its own stream."""
    return np.random.default_rng(pair(seed, *names))
