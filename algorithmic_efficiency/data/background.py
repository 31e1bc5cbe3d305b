"""Makes batches in threads or worker processes, by grain."""

import importlib
import logging
import multiprocessing
import os
import threading
import weakref
from collections.abc import Iterator
from typing import Any

from algorithmic_efficiency import seeds

_MAX_THREADS = 16
_READY_BATCHES = 2  # finished and waiting, beside those in the making


class Stream(Iterator[Any]):
    """Batches that are being made in the background; it ends when it is closed.

    It closes itself when nobody holds it, or at the latest when the interpreter ends:
    left to themselves, grain's iterators complain when their modules are taken apart.
    """

    def __init__(self, batches: Any, finish: Any, workers: int) -> None:
        self._running = [background(batches, finish, workers)]
        self._running[0].start_prefetch()
        self._ready: list[Any] = []
        self.close = weakref.finalize(self, close, self._running)

    def get_ready(self) -> None:
        """Makes the next batch, unless that has been done or the stream is closed."""
        if self._running and not self._ready:
            self._ready.append(next(self._running[0]))

    def __next__(self) -> Any:
        if not self._running:
            raise StopIteration
        if self._ready:
            return self._ready.pop()
        return next(self._running[0])


def background(batches: Any, finish: Any, workers: int) -> Any:
    """Returns a running grain iterator over `finish` of `batches`.

    Threads or worker processes make whole batches as bytes; one more thread finishes
    them, so that neither waits for the training nor the training for them.
    """
    loaded = grain()
    if workers:
        _mark_flags_as_parsed()
        options = loaded.ReadOptions(num_threads=0, prefetch_buffer_size=0)
        processes = loaded.MultiprocessingOptions(workers, per_worker_buffer_size=2)
        made = batches.to_iter_dataset(options).mp_prefetch(processes, _watch_parent)
    else:
        threads = min(os.cpu_count() or 1, _MAX_THREADS)
        options = loaded.ReadOptions(threads, prefetch_buffer_size=threads)
        made = batches.to_iter_dataset(options)
    ready = loaded.experimental.ThreadPrefetchIterDataset(
        made.map(finish), prefetch_buffer_size=_READY_BATCHES
    )
    return iter(ready)


def grain() -> Any:
    """Returns grain, which takes a second to load and is not typed.

    It loads JAX, which draws from NumPy's generator while it is loaded. In a resumed
    trial that is after the generator was restored, so it is left as it was.
    """
    absl = logging.getLogger("absl")
    level = absl.level
    absl.setLevel(logging.ERROR)  # it warns where JAX is not installed
    try:
        with seeds.python_kept():
            return importlib.import_module("grain")
    finally:
        absl.setLevel(level)


def close(running: list[Any]) -> None:
    """Closes the iterators in a list and empties it."""
    while running:
        running.pop().close()


def _watch_parent(index: int, count: int) -> None:
    """Lets a worker process end with its parent, even where that was killed."""
    del index, count
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _mark_flags_as_parsed() -> None:
    """Lets grain's worker processes read their absl flags, which nobody else parses."""
    flags: Any = importlib.import_module("absl.flags")
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
