"""The tensor functions that losses need of a framework, and how weights hide values."""

from collections.abc import Callable
from typing import Any, Protocol


class Ops(Protocol):
    """The tensor functions that losses need."""

    def exp(self, x: Any) -> Any:
        """Returns e ** x."""

    def log_softmax(self, x: Any) -> Any:
        """Returns log(softmax(x)) over the last axis."""

    def log_sigmoid(self, x: Any) -> Any:
        """Returns log(1 / (1 + exp(-x)))."""

    def pick(self, x: Any, index: Any) -> Any:
        """Returns x[..., index], index being integers of shape x.shape[:-1]."""

    def float_like(self, x: Any, like: Any) -> Any:
        """Returns x in the dtype of `like`."""

    def select(self, mask: Any, x: Any) -> Any:
        """Returns x where mask is not 0, and 0 elsewhere, whatever x holds there."""

    def ones_like(self, x: Any) -> Any:
        """Returns ones in the shape and dtype of x."""

    def wide(self, x: Any) -> Any:
        """Returns x in float32, or in its own dtype where that is wider."""

    def argmax(self, x: Any) -> Any:
        """Returns the place of the largest entry along the last axis, an integer."""

    def ctc(self, logits: Any, paddings: Any, labels: Any, label_paddings: Any) -> Any:
        """Returns the CTC loss of each example with blank 0, [B].

        Args:
          logits: [B, T, V].
          paddings: [B, T], 1 from the first frame that does not count.
          labels: [B, L], whole numbers; no example has more than fit its frames.
          label_paddings: [B, L], 1 from the first label that does not count.
        """


def each(function: Callable[[Any], Any], outputs: Any) -> Any:
    """Returns function(outputs), of a tuple of them the tuple of results."""
    if isinstance(outputs, tuple):
        return tuple(map(function, outputs))
    return function(outputs)


def hide(ops: Ops, mask: Any, outputs: Any) -> Any:
    """Returns outputs or targets, 0 where masked; of sequences, that is padding.

    Args:
      ops: the backend's tensor functions.
      mask: weights [B] or finer; axes of size 1 at its end do not matter.
      outputs: [B, ...], or (logits, paddings).

    Raises:
      ValueError: the mask has other axes than the outputs.
    """
    if isinstance(outputs, tuple):
        logits, paddings = outputs
        return hide(ops, mask, logits), 1.0 - hide(ops, mask, 1.0 - paddings)
    mask = fitted(mask, tuple(outputs.shape))
    missing = len(outputs.shape) - len(mask.shape)
    return ops.select(mask.reshape(*mask.shape, *(1,) * missing), outputs)


def fitted(mask: Any, shape: tuple[int, ...]) -> Any:
    """Returns the mask without axes of size 1 at its end that `shape` has not.

    Raises:
      ValueError: the rest is not how `shape` begins.
    """
    kept = tuple(mask.shape)
    while len(kept) > 1 and kept[-1] == 1 and kept != shape[: len(kept)]:
        kept = kept[:-1]
    if not kept or kept != shape[: len(kept)]:
        raise ValueError(
            f"Found weights of shape {tuple(mask.shape)} for values of shape {shape}; "
            "expected the first axes of the values, the batch at least."
        )
    return mask.reshape(kept)
