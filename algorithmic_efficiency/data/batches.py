"""Turns a `Dataset` into batches, in the background and always the same for one seed.

grain gives the order, the threads and the worker processes. Both frameworks, any number
of workers and a stream resumed at any position see bit for bit the same batches: an
example's augmentation depends on nothing but the seed and its place in the stream.
"""

import dataclasses
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from algorithmic_efficiency.data.background import background, close, grain
from algorithmic_efficiency.data.dataset import (
    Bad,
    BadExample,
    BadExamples,
    Dataset,
    Fields,
    too_many,
)
from algorithmic_efficiency.errors import DataError

Batch = Fields


def train_batches(
    dataset: Dataset,
    batch_size: int,
    seed: int,
    *,
    workers: int = 0,
    start: int = 0,
    bad: BadExamples | None = None,
) -> "TrainBatches":
    """Returns training batches without end, starting to make them at once.

    Every epoch has its own order. Batches are always full: the last one of an epoch
    takes its missing examples from the next epoch.

    Args:
      dataset: the split.
      batch_size: examples in a batch.
      seed: fixes order and augmentation.
      workers: processes that decode; 0 decodes in threads of this process.
      start: the first batch to hand out, the `position` of an interrupted stream.
      bad: those that are known already; others are added to it.
    """
    bad = BadExamples(len(dataset.examples)) if bad is None else bad
    elements = _train_elements(dataset, seed)
    batches = elements.batch(batch_size, batch_fn=_collate)[start:]
    stream = _Stream(batches, _Finish(dataset, batch_size), workers)
    return TrainBatches(stream, start, bad)


def eval_batches(
    dataset: Dataset,
    batch_size: int,
    *,
    workers: int = 0,
    left_out: list[tuple[str, str]] | None = None,
) -> Iterator[Batch]:
    """Yields every example exactly once, in order; the last batch is padded by zeros.

    `weights` is 1 for an example and 0 for padding.

    Args:
      dataset: the split.
      batch_size: examples in a batch.
      workers: processes that decode; 0 decodes in threads of this process.
      left_out: gets (name, why) of each example that cannot be decoded; padding takes
        its place.

    Raises:
      DataError: an example cannot be decoded and there is no list `left_out`.
    """
    numbers = grain().MapDataset.range(len(dataset.examples))
    elements = numbers.map(_EvalElement(dataset, left_out is None))
    batches = elements.batch(batch_size, batch_fn=_collate)
    stream = _Stream(batches, _Finish(dataset, batch_size), workers)
    try:
        for batch, bad in stream:
            if left_out is not None:
                left_out.extend(bad)
            if batch:
                yield batch
    finally:
        stream.close()


class TrainBatches(Iterator[Batch]):
    """The stream of training batches.

    Attributes:
      position: batches handed out so far, counted from the start of the training.
      bad: those that were replaced in the batches handed out.
    """

    def __init__(self, stream: "_Stream", position: int, bad: BadExamples) -> None:
        self.position = position
        self.bad = bad
        self._stream = stream

    def get_ready(self) -> None:
        """Returns when the next batch has been made; it is handed out by `next`.

        Worker processes take seconds to start; here they start before the clock does.
        """
        self._stream.get_ready()

    def __next__(self) -> Batch:
        batch, bad = next(self._stream)
        self.bad.add(bad)
        self.position += 1
        return batch

    def close(self) -> None:
        """Stops the threads and processes that make batches; there are no more then."""
        self._stream.close()


class _Stream(Iterator[tuple[Batch, Bad]]):
    """Batches that are being made in the background; it ends when it is closed.

    It closes itself when nobody holds it, or at the latest when the interpreter ends:
    left to themselves, grain's iterators complain when their modules are taken apart.
    """

    def __init__(self, batches: Any, finish: "_Finish", workers: int) -> None:
        self._running = [background(batches, finish, workers)]
        self._running[0].start_prefetch()
        self._ready: list[tuple[Batch, Bad]] = []
        self.close = weakref.finalize(self, close, self._running)

    def get_ready(self) -> None:
        """Makes the next batch, unless that has been done or the stream is closed."""
        if self._running and not self._ready:
            self._ready.append(next(self._running[0]))

    def __next__(self) -> tuple[Batch, Bad]:
        if not self._running:
            raise StopIteration
        if self._ready:
            return self._ready.pop()
        made: tuple[Batch, Bad] = next(self._running[0])
        return made


def _train_elements(dataset: Dataset, seed: int) -> Any:
    """Returns the endless sequence of training examples, shuffled and augmented."""
    order, augmentation = np.random.SeedSequence(seed).generate_state(2)
    numbers = grain().MapDataset.range(len(dataset.examples))
    endless = numbers.shuffle(seed=int(order)).repeat()
    return endless.random_map(_TrainElement(dataset), seed=int(augmentation))


@dataclasses.dataclass(frozen=True)
class _TrainElement:
    """Decodes and augments an example, or the next readable one in its place.

    Where too many in a row are bad it returns no fields: `BadExamples.add` then raises.
    """

    dataset: Dataset

    def __call__(self, index: int, rng: np.random.Generator) -> tuple[Fields, Bad]:
        bad: dict[str, str] = {}
        size = len(self.dataset.examples)
        for number in range(index, index + size):
            example = self.dataset.examples[number % size]
            try:
                return self.dataset.element(example, rng), tuple(bad.items())
            except BadExample as error:
                bad[error.name] = error.why
            if too_many(len(bad), size):
                return {}, tuple(bad.items())
        raise DataError(f"None of {size} training examples can be decoded.")


@dataclasses.dataclass(frozen=True)
class _EvalElement:
    """Decodes an example; of one that cannot be decoded there are no fields."""

    dataset: Dataset
    strict: bool  # raises an error instead

    def __call__(self, index: int) -> tuple[Fields, Bad]:
        try:
            return self.dataset.element(self.dataset.examples[index], None), ()
        except BadExample as error:
            if not self.strict:
                return {}, ((error.name, error.why),)
            raise DataError(
                f"{error.name} {error.why}. A score needs every example of an "
                "evaluation split; `python -m dataset_setup doctor` lists all that are bad."
            ) from error


@dataclasses.dataclass(frozen=True)
class _Finish:
    """Finishes a batch, adds `weights` and pads the batch to its full size."""

    dataset: Dataset
    batch_size: int

    def __call__(self, collated: tuple[Fields, Bad]) -> tuple[Batch, Bad]:
        fields, bad = collated
        if not fields:
            return {}, bad
        first = next(iter(fields.values()))
        real = len(first[0] if isinstance(first, tuple) else first)
        batch = self.dataset.finish(fields)
        batch["weights"] = np.ones(real, np.float32)
        if real < self.batch_size:
            batch = {key: self._pad(value) for key, value in batch.items()}
        return {name: _owned(value) for name, value in batch.items()}, bad

    def _pad(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(self._pad, value))
        missing = self.batch_size - len(value)
        return np.concatenate(
            [value, np.zeros_like(value, shape=(missing, *value.shape[1:]))]
        )


def _owned(value: Any) -> Any:
    """Copies what still lies in the memory that a worker process shares with us."""
    if isinstance(value, tuple):
        return tuple(map(_owned, value))
    return value if type(value) is np.ndarray else np.array(value)


def _collate(elements: Sequence[tuple[Fields, Bad]]) -> tuple[Fields, Bad]:
    """Stacks the arrays of the readable elements and joins the lists of bad ones."""
    readable = [element for element, _ in elements if element]
    names = readable[0] if readable else ()
    fields = {name: _stack([element[name] for element in readable]) for name in names}
    return fields, tuple(row for _, bad in elements for row in bad)


def _stack(values: Sequence[Any]) -> Any:
    """Stacks arrays; of tuples of arrays, all the first, all the second, and so on."""
    if isinstance(values[0], tuple):
        return tuple(map(_stack, zip(*values, strict=True)))
    return np.stack(values)
