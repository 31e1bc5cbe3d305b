"""Plans of an epoch: which examples make which batch, from an index of their sizes.

Batch n of a seed is the same in every process, whoever asks and in whatever order, so a
stream goes on exactly where it was left and worker processes share the work by number.
"""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algorithmic_efficiency.errors import DataError

Integers = NDArray[np.integer]


class Budgets:
    """As many examples in a batch as budgets allow, such as nodes and edges of graphs.

    A batch of B takes the next examples in order, B at most, as long as the sum of each
    size stays within B times its budget. An epoch has an order of its own; what is left
    at its end goes first in the next one.
    """

    def __init__(
        self,
        sizes: Integers,
        budgets: Sequence[int],
        batch_size: int,
        seed: int | None = None,
    ) -> None:
        """Plans nothing yet.

        Args:
          sizes: of all examples, [examples, kinds of size].
          budgets: of each kind, for each example of a batch.
          batch_size: examples in a batch at most.
          seed: of the order; None for each example once, as they are.

        Raises:
          DataError: one example alone is larger than the budgets of a batch.
        """
        self._sizes = np.asarray(sizes, np.int64).reshape(len(sizes), -1)
        self._most = np.asarray(budgets, np.int64) * batch_size
        self._batch_size = batch_size
        self._seed = seed
        self._epochs = _Epochs()
        large = (self._sizes > self._most).any(1)
        if large.any():
            first = int(large.argmax())
            raise DataError(
                f"Example {first} has the sizes {self._sizes[first].tolist()}, more "
                f"than the budgets {self._most.tolist()} of a batch of {batch_size}. "
                "Leave it out, or use larger batches."
            )

    def __len__(self) -> int:
        """Returns the batches of the first epoch, all of them where there is no seed."""
        return len(self._epochs.first(self._epoch)[0])

    def __getitem__(self, number: int) -> Sequence[Any]:
        """Returns the numbers of the examples in a batch."""
        batch: Sequence[Any] = self._epochs.batch(self._epoch, number)
        return batch

    def size(self, number: int) -> int:
        """Returns how many examples a batch has."""
        return len(self[number])

    def _epoch(self, epoch: int, left: Any) -> tuple[list[Any], Any]:
        """Returns the batches of an epoch, and what is left for the next one."""
        order = np.arange(len(self._sizes))
        if self._seed is not None:
            order = np.random.default_rng([self._seed, epoch]).permutation(order)
        if left is not None:
            order = np.concatenate([left, order])
        sums = np.vstack([0 * self._most, self._sizes[order].cumsum(0)])
        batches, start = [], 0
        while start < len(order):
            ends = [
                int(np.searchsorted(column, column[start] + most, "right")) - 1
                for column, most in zip(sums.T, self._most, strict=True)
            ]
            end = min(*ends, start + self._batch_size, len(order))
            if end == len(order) and self._seed is not None:
                break
            batches.append(order[start:end].tolist())
            start = end
        return batches, order[start:]


class _Epochs:
    """The batches of the epoch that was asked for last, and where it begins.

    An epoch depends on what the one before has left, so an earlier one is planned again
    from the start; nobody goes backwards but a stream that is begun anew.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        """Returns nothing: a process plans for itself."""
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        type(self).__init__(self)

    def _forget(self) -> None:
        self._epoch, self._begin = -1, 0
        self._batches: list[Any] = []
        self._left: Any = None

    def first(self, plan: Any) -> tuple[list[Any], Any]:
        """Returns the first epoch as `plan(epoch, left)` makes it."""
        made: tuple[list[Any], Any] = plan(0, None)
        return made

    def batch(self, plan: Any, number: int) -> Any:
        """Returns a batch of an endless sequence of epochs."""
        with self._lock:
            if number < self._begin:
                self._forget()
            while number >= self._begin + len(self._batches):
                self._begin += len(self._batches)
                self._epoch += 1
                self._batches, self._left = plan(self._epoch, self._left)
            return self._batches[number - self._begin]


class Blocks:
    """Rows of large blocks, such as memory-mapped files of a table.

    In training, `window` blocks at a time are drawn from an epoch's order of blocks and
    their rows mixed; a batch is cut from the stream of these rows, across windows and
    epochs. A key is (number of a block, numbers of its rows, ascending).
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        seed: int | None = None,
        *,
        window: int = 16,
    ) -> None:
        """Plans nothing yet.

        Args:
          lengths: rows of each block.
          batch_size: rows in a batch.
          seed: of the order; None for each row once, as they are.
          window: blocks whose rows are mixed with each other.
        """
        self._lengths = np.asarray(lengths, np.int64)
        self._total = int(self._lengths.sum())
        self._batch_size = batch_size
        self._seed = seed
        self._window = window
        self._mixed = _Latest()

    def __len__(self) -> int:
        """Returns the batches of one epoch."""
        return -(-self._total // self._batch_size)

    def size(self, number: int) -> int:
        """Returns how many rows a batch has."""
        if self._seed is not None:
            return self._batch_size
        return min(self._batch_size, self._total - number * self._batch_size)

    def __getitem__(self, number: int) -> Sequence[Any]:
        """Returns (block, rows) of all rows in a batch."""
        begin, keys = number * self._batch_size, []
        end = begin + self.size(number)
        while begin < end:
            epoch, offset = divmod(begin, self._total)
            order, ends = self._order(epoch)
            first = int(np.searchsorted(ends, offset, "right"))
            first -= first % self._window
            start = int(ends[first - 1]) if first else 0
            blocks = order[first : first + self._window]
            rows = self._rows(epoch, first, blocks)
            taken = rows[offset - start : offset - start + end - begin]
            keys.extend(self._keys(blocks, taken))
            begin += len(taken)
        return keys

    def _order(self, epoch: int) -> tuple[Integers, Integers]:
        """Returns the blocks of an epoch and the rows up to the end of each."""
        order = np.arange(len(self._lengths))
        if self._seed is not None:
            order = np.random.default_rng([self._seed, epoch]).permutation(order)
        return order, self._lengths[order].cumsum()

    def _rows(self, epoch: int, first: int, blocks: Integers) -> Integers:
        """Returns the numbers of a window's rows, block after block, mixed."""
        count = int(self._lengths[blocks].sum())
        if self._seed is None:
            return np.arange(count)
        where = [self._seed, epoch, first + 1]
        mixed: Integers = self._mixed.get(
            (epoch, first), lambda: np.random.default_rng(where).permutation(count)
        )
        return mixed

    def _keys(self, blocks: Integers, rows: Integers) -> list[tuple[int, Integers]]:
        """Returns (block, rows in it) of rows that are numbered in a window."""
        rows = np.sort(rows)
        ends = self._lengths[blocks].cumsum()
        cuts = np.searchsorted(rows, ends)
        parts = np.split(rows, cuts[:-1])
        starts = ends - self._lengths[blocks]
        return [
            (int(block), part - start)
            for block, part, start in zip(blocks, parts, starts, strict=True)
            if len(part)
        ]


class _Latest:
    """Keeps the two values that were made last; a batch may need two windows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[Any, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Returns nothing: a process makes its own."""
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        type(self).__init__(self)

    def get(self, key: Any, make: Any) -> Any:
        """Returns the value of this key, made unless it is there."""
        with self._lock:
            if key not in self._values:
                while len(self._values) > 1:
                    del self._values[next(iter(self._values))]
                self._values[key] = make()
            return self._values[key]
