"""Mixup (Zhang et al., 2018): training on sums of two images and of their classes."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Mixup:
    """Mixes each example of a batch with the one before it, the first with the last.

    The weight of an example, the same for the whole batch, is drawn from a beta
    distribution of (alpha, alpha); its neighbour has the rest.

    Attributes:
      alpha: near 0 nearly nothing is mixed, 1 is a uniform weight.
      num_classes: length of the targets.
    """

    alpha: float
    num_classes: int

    def __call__(
        self, batch: dict[str, NDArray[Any]], rng: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        """Returns `inputs` mixed and `targets` as probabilities, float32 [B, classes].

        Args:
          batch: `inputs` float32 [B, ...] and `targets`, numbers of classes [B].
          rng: of the batch; one number is drawn.
        """
        weight = rng.beta(self.alpha, self.alpha)
        certain = np.zeros((len(batch["targets"]), self.num_classes), np.float32)
        np.put_along_axis(certain, batch["targets"][:, None], 1, 1)
        mixed = {
            name: _mix(array, np.float32(weight), np.float32(1 - weight))
            for name, array in (("inputs", batch["inputs"]), ("targets", certain))
        }
        return {**batch, **mixed}


def _mix(
    array: NDArray[np.float32], weight: np.float32, rest: np.float32
) -> NDArray[np.float32]:
    """Returns weight * array + rest * (array moved on by one along the first axis)."""
    mixed = weight * array
    for place in range(len(array)):  # example by example: a batch may fill the memory
        mixed[place] += rest * array[place - 1]
    return mixed
