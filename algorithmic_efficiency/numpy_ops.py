"""The tensor functions of the losses in NumPy, for evaluation in float64."""

import numpy as np


class NumpyOps:
    """The tensor functions in NumPy, float64."""

    def exp(self, x: np.ndarray) -> np.ndarray:
        """Returns e ** x."""
        return np.asarray(np.exp(x))

    def log_softmax(self, x: np.ndarray) -> np.ndarray:
        """Returns log(softmax(x)) over the last axis, float64."""
        x = np.asarray(x, np.float64)
        with np.errstate(invalid="ignore"):  # inf - inf of a model that diverged
            x = x - x.max(-1, keepdims=True)
        return np.asarray(x - np.log(np.exp(x).sum(-1, keepdims=True)))

    def log_sigmoid(self, x: np.ndarray) -> np.ndarray:
        """Returns log(1 / (1 + exp(-x))), float64."""
        return np.asarray(-np.logaddexp(0.0, -np.asarray(x, np.float64)))

    def pick(self, x: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Returns x[..., index], index being integers of shape x.shape[:-1]."""
        return np.take_along_axis(x, index[..., None].astype(np.int64), -1)[..., 0]

    def float_like(self, x: np.ndarray, like: np.ndarray) -> np.ndarray:
        """Returns x as float64."""
        return np.asarray(x, np.float64)

    def select(self, mask: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Returns x where mask is not 0, and 0 elsewhere."""
        return np.where(mask != 0, x, np.zeros((), x.dtype))

    def ones_like(self, x: np.ndarray) -> np.ndarray:
        """Returns ones in the shape of x."""
        return np.ones_like(x)

    def wide(self, x: np.ndarray) -> np.ndarray:
        """Returns x as float64."""
        return np.asarray(x, np.float64)

    def argmax(self, x: np.ndarray) -> np.ndarray:
        """Returns the place of the largest entry along the last axis."""
        return np.asarray(np.argmax(x, -1))

    def ctc(
        self,
        logits: np.ndarray,
        paddings: np.ndarray,
        labels: np.ndarray,
        label_paddings: np.ndarray,
    ) -> np.ndarray:
        """Returns the CTC loss of each example, float64 [B].

        `paths[b, s]` is the log probability of all alignments of the frames so far that
        end in place s of: blank, first label, blank, second label, ..., blank.
        """
        places = np.zeros((len(labels), 2 * labels.shape[1] + 1), np.int64)
        places[:, 1::2] = labels
        skips = np.full(places.shape, -np.inf)  # the way from a label to the next one
        skips[:, 3::2] = np.where(labels[:, 1:] == labels[:, :-1], -np.inf, 0.0)
        log_probabilities = self.log_softmax(logits)
        paths = np.full(places.shape, -np.inf)
        paths[:, 0] = 0.0
        for frame, padding in zip(
            log_probabilities.swapaxes(0, 1), paddings.T, strict=True
        ):
            moved = np.logaddexp(paths, _after(paths, 1))
            moved = np.logaddexp(moved, _after(paths, 2) + skips)
            moved = moved + np.take_along_axis(frame, places, 1)
            paths = np.where(padding[:, None] == 0, moved, paths)
        last = 2 * (label_paddings == 0).sum(1)[:, None]
        ends = np.take_along_axis(paths, np.hstack([last, np.maximum(last - 1, 0)]), 1)
        ends[last[:, 0] == 0, 1] = -np.inf  # no label: one end, not the same one twice
        return np.asarray(-np.logaddexp(ends[:, 0], ends[:, 1]))


def _after(paths: np.ndarray, steps: int) -> np.ndarray:
    """Returns the entries moved up by some places; log(0) moves in."""
    moved = np.full(paths.shape, -np.inf)
    moved[:, steps:] = paths[:, :-steps]
    return moved
