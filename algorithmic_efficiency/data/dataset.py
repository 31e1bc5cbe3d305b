"""One split of a workload's data, opened but not yet read."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from algorithmic_efficiency.errors import AlgoPerfError, DataError

Fields = dict[str, Any]  # name -> NumPy array or tuple of NumPy arrays
Bad = Iterable[tuple[str, str]]  # (name, why) of examples that could not be decoded

BAD_SHARE = 0.001  # of the training examples; more unreadable ones end the run
_MAX_SHOWN = 3


class Examples(Protocol):
    """Encoded examples by number, cheap to hold and to pickle."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class BadExample(AlgoPerfError):  # noqa: N818 - it is handled, not shown as an error
    """One example cannot be decoded: its name, and why.

    Training goes on without it and counts it in `BadExamples`; validation and test end.
    """

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)
        self.name = name
        self.why = why

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"


class BadExamples(dict[str, str]):
    """Name -> why, of the training examples of a run that cannot be decoded."""

    def __init__(self, size: int) -> None:
        """Starts without any; `size` is the number of all training examples."""
        super().__init__()
        self.size = size

    def add(self, bad: Bad) -> None:
        """Adds some.

        Raises:
          DataError: they are now more than `BAD_SHARE` of all.
        """
        self.update(bad)
        if not too_many(len(self), self.size):
            return
        first = list(self.items())[:_MAX_SHOWN]
        shown = "; ".join(f"{name} {why}" for name, why in first)
        more = f"; and {len(self) - _MAX_SHOWN} more" if len(self) > _MAX_SHOWN else ""
        raise DataError(
            f"{len(self)} of {self.size} training examples cannot be decoded, more "
            f"than {BAD_SHARE:.1%} is too much: {shown}{more}. `python -m "
            "dataset_setup doctor` lists all of them; mend them."
        )


def too_many(bad: int, size: int) -> bool:
    """Says whether `bad` of `size` training examples are too many to go on."""
    return bad > BAD_SHARE * size


@dataclasses.dataclass(frozen=True)
class Folders:
    """Where data may lie; made by `cli.py` from the flags of the same names."""

    data_dir: Path
    imagenet_v2_data_dir: Path | None = None
    librispeech_tokenizer_vocab_path: Path | None = None


@dataclasses.dataclass(frozen=True)
class Dataset:
    """One split: what to read and how. Everything in it can be pickled.

    Attributes:
      examples: of the split; a file is opened when its example is decoded.
      element: decodes one example into arrays without a batch dimension. It augments
        where a generator is given (training), and raises `BadExample`.
      finish: works on a whole batch of such arrays at once, for example normalises;
        it runs in the background, beside the training.
      detokenise: turns sequences of token numbers into texts, where targets are texts.
    """

    examples: Examples
    element: Callable[[Any, np.random.Generator | None], Fields]
    finish: Callable[[Fields], Fields]
    detokenise: Callable[[Sequence[list[int]]], list[str]] | None = None


class Subset:
    """Some examples of a longer sequence, in the order of the sequence."""

    def __init__(self, examples: Examples, size: int, seed: int) -> None:
        """Draws `size` of `examples` without replacement; the seed fixes which."""
        drawn = np.random.default_rng(seed).permutation(len(examples))[:size]
        self._examples = examples
        self._numbers = np.sort(drawn)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> Any:
        return self._examples[int(self._numbers[index])]
