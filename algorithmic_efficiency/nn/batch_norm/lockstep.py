"""Micro-batches whose outputs and gradients are those of one big batch, in PyTorch.

The forward passes of all micro-batches run in threads that take turns, and wait at
every batch norm until all have come there: the layer sums over them, and the graph goes
on through the sums. So one backward over all outputs is that of the big batch. Only one
thread runs at a time, in a fixed order, and random numbers are drawn in that order.

All activations of the big batch are kept: this saves the memory of the operations, not
that of the graph.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from algorithmic_efficiency.nn.batch_norm.blocks import Block
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm
from algorithmic_efficiency.nn.batch_norm.switch import running_layers


def exact_batch(
    module: nn.Module, forward: Callable[[Any], Any], micro_batches: Sequence[Any]
) -> list[Any]:
    """Returns forward(micro_batch) of each, with the statistics of all together.

    Running statistics are updated once. Only plain layers of ours are meant; torch's
    own and the other members of the family stay by themselves.

    Args:
      module: in training mode; the model that `forward` applies.
      forward: called once for each micro-batch; every call meets the same layers.
      micro_batches: one or more, of any sizes.

    Raises:
      Exception: what the first failing call has raised.
    """
    turns = _Turns(len(micro_batches))
    layers = [layer for layer in running_layers(module) if type(layer) is BatchNorm]
    blocks = [(layer, Block(layer, ("together",))) for layer in layers]
    try:
        for layer in layers:
            layer.together = turns
        return turns.run(forward, micro_batches)
    finally:
        for layer, block in blocks:
            block.end(layer)


class _Turns:
    """Threads of which one runs at a time, in the order of their numbers."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._changed = threading.Condition()
        self._own = threading.local()
        self._turn = 0
        self._parts: list[Tensor | None] = [None] * number
        self._sum: Any = None
        self._failure: BaseException | None = None

    @property
    def first(self) -> bool:
        """Whether the thread that asks is the first one."""
        return bool(self._own.number == 0)

    def total(self, local: Tensor) -> Tensor:
        """Returns the sum of what all threads bring to this call, with its graph."""
        number = self._own.number
        self._parts[number] = local
        self._pass_on(number)
        self._await(number)
        if number == 0:
            self._sum = torch.stack(self._parts).sum(0)  # type: ignore[arg-type]
        result: Tensor = self._sum
        return result

    def run(self, forward: Callable[[Any], Any], batches: Sequence[Any]) -> list[Any]:
        """Returns the results of all threads."""
        results: list[Any] = [None] * self._number
        with_gradients = torch.is_grad_enabled()

        def work(number: int) -> None:
            self._own.number = number
            try:
                self._await(number)
                with torch.set_grad_enabled(with_gradients):
                    results[number] = forward(batches[number])
            except BaseException as error:  # noqa: BLE001 - raised below
                self._failure = self._failure or error
            self._pass_on(number)

        threads = [
            threading.Thread(target=work, args=(number,), daemon=True)
            for number in range(self._number)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failure is not None:
            raise self._failure
        return results

    def _pass_on(self, number: int) -> None:
        with self._changed:
            self._turn = (number + 1) % self._number
            self._changed.notify_all()

    def _await(self, number: int) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._turn == number or self._failure is not None
            )
        if self._failure is not None:
            raise self._failure
