"""Turns a `Dataset` into batches, in the background and always the same for one seed.

grain gives the order, the threads and the worker processes. Both frameworks, any number
of workers and a stream resumed at any position see bit for bit the same batches: an
example's augmentation depends on nothing but the seed and its place in the stream.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from algorithmic_efficiency.data.background import Stream, grain
from algorithmic_efficiency.data.dataset import (
    Bad,
    BadExample,
    BadExamples,
    Dataset,
    Fields,
    Plan,
    too_many,
)
from algorithmic_efficiency.errors import DataError

Batch = Fields
# What is made of a batch before it is finished: fields, (name, why) of bad examples, how
# many examples there are, and a seed for what is done to the whole batch.
Made = tuple[Fields, Bad, int, int]
Finished = tuple[Batch, Bad, int]

_ENDLESS = 2**62


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
    order, augmentation, mixing = np.random.SeedSequence(seed).generate_state(3)
    if dataset.plan is None:
        numbers = grain().MapDataset.range(len(dataset.examples))
        endless = numbers.shuffle(seed=int(order)).repeat()
        elements = endless.random_map(_TrainElement(dataset), seed=int(augmentation))
        batches = elements.batch(batch_size, batch_fn=_Collate(dataset, batch_size))
    else:
        planned = _Planned(dataset, dataset.plan(batch_size, int(order)), batch_size)
        numbers = grain().MapDataset.range(_ENDLESS)
        batches = numbers.random_map(planned.train, seed=int(augmentation))
    if dataset.mix is not None:
        batches = batches.random_map(_with_seed, seed=int(mixing))
    stream = Stream(batches[start:], _Finish(dataset, batch_size, mix=True), workers)
    return TrainBatches(stream, start, bad)


def eval_batches(
    dataset: Dataset, batch_size: int, *, workers: int = 0, tolerant: bool = False
) -> "EvalBatches":
    """Returns every example exactly once, in order; the last batch is padded by zeros.

    `weights` is 1 for an example and 0 for padding, unless the reader gives finer ones.

    Args:
      dataset: the split.
      batch_size: examples in a batch.
      workers: processes that decode; 0 decodes in threads of this process.
      tolerant: whether padding takes the place of an example that cannot be decoded.

    Raises:
      DataError: while iterating, an example cannot be decoded, unless `tolerant`.
    """
    if dataset.plan is None:
        numbers = grain().MapDataset.range(len(dataset.examples))
        elements = numbers.map(_EvalElement(dataset, not tolerant))
        batches = elements.batch(batch_size, batch_fn=_Collate(dataset, batch_size))
    else:
        plan = dataset.plan(batch_size, None)
        planned = _Planned(dataset, plan, batch_size, strict=not tolerant)
        batches = grain().MapDataset.range(len(plan)).map(planned.evaluate)
    return EvalBatches(dataset, Stream(batches, _Finish(dataset, batch_size), workers))


class EvalBatches(Iterator[Batch]):
    """The batches of one evaluation of a split, to be iterated once.

    Attributes:
      dataset: the split.
      counted: examples in the batches handed out so far.
      left_out: (name, why) of each example that could not be decoded.
    """

    def __init__(self, dataset: Dataset, stream: Stream) -> None:
        self.dataset = dataset
        self.counted = 0
        self.left_out: list[tuple[str, str]] = []
        self._stream = stream

    def __next__(self) -> Batch:
        try:
            for batch, bad, count in self._stream:
                self.left_out.extend(bad)
                self.counted += count
                if batch:
                    return dict(batch)
        except BaseException:
            self._stream.close()
            raise
        self._stream.close()
        raise StopIteration


class TrainBatches(Iterator[Batch]):
    """The stream of training batches.

    Attributes:
      position: batches handed out so far, counted from the start of the training.
      bad: those that were replaced in the batches handed out.
    """

    def __init__(self, stream: Stream, position: int, bad: BadExamples) -> None:
        self.position = position
        self.bad = bad
        self._stream = stream

    def get_ready(self) -> None:
        """Returns when the next batch has been made; it is handed out by `next`.

        Worker processes take seconds to start; here they start before the clock does.
        """
        self._stream.get_ready()

    def __next__(self) -> Batch:
        made: Finished = next(self._stream)
        batch, bad, _ = made
        self.bad.add(bad)
        self.position += 1
        return batch

    def close(self) -> None:
        """Stops the threads and processes that make batches; there are no more then."""
        self._stream.close()


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

    def __call__(self, index: Any) -> tuple[Fields, Bad]:
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
class _Collate:
    """Makes fields of the readable elements and joins the lists of bad ones."""

    dataset: Dataset
    batch_size: int

    def __call__(self, elements: Sequence[tuple[Fields, Bad]]) -> Made:
        readable = [element for element, _ in elements if element]
        bad = tuple(row for _, rows in elements for row in rows)
        fields = self.dataset.collate(readable, self.batch_size) if readable else {}
        return fields, bad, len(readable), 0


@dataclasses.dataclass(frozen=True)
class _Planned:
    """Makes whole batches as a plan says; bad examples are left out of them."""

    dataset: Dataset
    plan: Plan
    batch_size: int
    strict: bool = False

    def train(self, number: int, rng: np.random.Generator) -> Made:
        """Returns batch `number`, augmented."""
        elements: list[tuple[Fields, Bad]] = []
        for key in self.plan[number]:
            try:
                example = self.dataset.examples[key]
                elements.append((self.dataset.element(example, rng), ()))
            except BadExample as error:
                elements.append(({}, ((error.name, error.why),)))
        return self._made(number, elements)

    def evaluate(self, number: int) -> Made:
        """Returns batch `number` of an evaluation."""
        decode = _EvalElement(self.dataset, self.strict)
        return self._made(number, [decode(key) for key in self.plan[number]])

    def _made(self, number: int, elements: Sequence[tuple[Fields, Bad]]) -> Made:
        fields, bad, _, seed = _Collate(self.dataset, self.batch_size)(elements)
        return fields, bad, self.plan.size(number) - len(tuple(bad)), seed


def _with_seed(made: Made, rng: np.random.Generator) -> Made:
    """Draws the seed of what is done to the whole batch."""
    fields, bad, count, _ = made
    return fields, bad, count, int(rng.integers(2**63))


@dataclasses.dataclass(frozen=True)
class _Finish:
    """Finishes a batch, adds `weights` and pads the batch to its full size."""

    dataset: Dataset
    batch_size: int
    mix: bool = False

    def __call__(self, made: Made) -> Finished:
        fields, bad, count, seed = made
        if not fields:
            return {}, bad, count
        batch = self.dataset.finish(fields)
        if "weights" not in batch:
            first = next(iter(batch.values()))
            real = len(first[0] if isinstance(first, tuple) else first)
            batch["weights"] = np.ones(real, np.float32)
        batch = {key: self._pad(value) for key, value in batch.items()}
        if self.mix and self.dataset.mix is not None:
            batch = self.dataset.mix(batch, np.random.default_rng(seed))
        return {name: _owned(value) for name, value in batch.items()}, bad, count

    def _pad(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(self._pad, value))
        missing = self.batch_size - len(value)
        if missing <= 0:
            return value
        return np.concatenate(
            [value, np.zeros_like(value, shape=(missing, *value.shape[1:]))]
        )


def _owned(value: Any) -> Any:
    """Copies what still lies in the memory that a worker process shares with us."""
    if isinstance(value, tuple):
        return tuple(map(_owned, value))
    return value if type(value) is np.ndarray else np.array(value)
