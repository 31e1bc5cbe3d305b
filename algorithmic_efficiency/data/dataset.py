"""One split of a workload's data, opened but not yet read."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from algorithmic_efficiency.errors import AlgoPerfError, DataError

Fields = dict[str, Any]  # name -> NumPy array or tuple of NumPy arrays
Bad = Iterable[tuple[str, str]]  # (name, why) of examples that could not be decoded

BAD_SHARE = 0.001  # of the training examples; more unreadable ones end the run
_MAX_SHOWN = 3


class Examples(Protocol):
    """Encoded examples by number, or by the keys of a plan; cheap to pickle."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


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
class DataFlag:
    """A flag of the command line that a data module declares in its table `FLAGS`.

    Attributes:
      help: what it is, a sentence.
      folder: True where it names a folder, False where a file.
      default: None, or '' where the public runner's flag may be empty.
    """

    help: str
    folder: bool = False
    default: str | None = None


@dataclasses.dataclass(frozen=True)
class Folders:
    """Where data may lie; made by `cli.py` from the flags.

    Attributes:
      data_dir: folder of all data sets.
      options: (name, path) of each flag of the data modules that was given.
    """

    data_dir: Path
    options: tuple[tuple[str, Path], ...] = ()

    def option(self, name: str) -> Path | None:
        """Returns the path given by a flag of the data modules, or None."""
        return dict(self.options).get(name)

    def replaced(self, data_dir: Any = None, **options: Any) -> "Folders":
        """Returns these folders with those that are given in their place."""
        given = {name: Path(path) for name, path in options.items() if path}
        merged = dict(self.options) | given
        return Folders(Path(data_dir or self.data_dir), tuple(merged.items()))


class Plan(Protocol):
    """Which examples make each batch, known before any is read.

    For a family whose examples have many sizes, or lie in blocks; see `plans`. It can
    be pickled, and is used by many threads.
    """

    def __len__(self) -> int:
        """Returns the number of batches; of an endless plan, anything."""

    def __getitem__(self, number: int, /) -> Sequence[Any]:
        """Returns the keys into `Dataset.examples` that make this batch."""

    def size(self, number: int) -> int:
        """Returns how many examples this batch has."""


def stack(elements: Sequence[Fields], batch_size: int) -> Fields:
    """Returns the arrays of all elements stacked, [len(elements), ...] each."""
    del batch_size
    names = elements[0] if elements else ()
    return {name: _stack(name, [row[name] for row in elements]) for name in names}


def _stack(name: str, values: Sequence[Any]) -> Any:
    """Stacks arrays; of tuples of arrays, all the first, all the second, and so on."""
    if isinstance(values[0], tuple):
        columns = zip(*values, strict=True)
        return tuple(_stack(name, column) for column in columns)
    if isinstance(values[0], Mapping):
        raise DataError(
            f"Found a dict as field {name!r} of an example; a field is an array or a "
            "tuple of arrays. Give each array a name of its own."
        )
    return np.stack(values)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """One split: what to read and how. Everything in it can be pickled.

    Attributes:
      examples: of the split; a file is opened when its example is decoded.
      element: decodes one example into arrays without a batch dimension. It augments
        where a generator is given (training), and raises `BadExample`.
      finish: works on a whole batch of such arrays at once, for example normalises;
        it runs in the background, beside the training. It may give `weights`.
      collate: (elements of a batch, batch size) -> fields of the batch. Arrays that are
        shorter than the batch are padded by zeros afterwards.
      plan: (batch size, seed) -> which examples make which batch, in an order of this
        seed and without end; with the seed None, each example once, in order. None:
        batches have `batch size` examples each.
      mix: changes a finished training batch, by a generator that depends on the seed
        and the batch's place alone, as mixup does.
      tokenizer: turns numbers into texts for the metrics of a family, or None.
    """

    examples: Examples
    element: Callable[[Any, np.random.Generator | None], Fields]
    finish: Callable[[Fields], Fields]
    collate: Callable[[Sequence[Fields], int], Fields] = stack
    plan: Callable[[int, int | None], Plan] | None = None
    mix: Callable[[Fields, np.random.Generator], Fields] | None = None
    tokenizer: Any = None


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
