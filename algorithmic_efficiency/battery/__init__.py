"""What must hold of every workload in both frameworks, one check after the other.

`tests/parity` runs these checks over the registry, `algoperf check-workload` over any
folder. A check is a function of a `pair.Pair`, the workload in both frameworks; it
returns what it has seen, a sentence, or raises `Unmet` with one. `command` lists them.
Its modules load PyTorch and JAX.
"""

from algorithmic_efficiency.errors import AlgoPerfError


class Unmet(AlgoPerfError):  # noqa: N818 - it is what a check finds, not a fault of ours
    """A check does not hold; the sentence says what was found and what expected."""


class NotChecked(AlgoPerfError):  # noqa: N818 - likewise
    """A check does not apply to this workload; the sentence says why."""
