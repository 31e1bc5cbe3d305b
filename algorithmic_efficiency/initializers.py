"""Initial parameter values, drawn by NumPy so that both frameworks start alike.

Shapes are those of PyTorch: convolutions [out, in, *kernel], dense [out, in].
"""

import dataclasses
import math
from typing import Protocol

import numpy as np

# Standard deviation of a standard normal truncated to [-2, 2].
TRUNCATED_STDDEV = 0.87962566103423978


class Initializer(Protocol):
    """Draws the initial value of one parameter."""

    def __call__(
        self, shape: tuple[int, ...], random: np.random.Generator
    ) -> np.ndarray:
        """Returns float32 values of the given shape."""
        ...


@dataclasses.dataclass(frozen=True)
class Constant:
    """Every entry has the same value."""

    value: float

    def __call__(
        self, shape: tuple[int, ...], random: np.random.Generator
    ) -> np.ndarray:
        """Returns float32 values of the given shape; draws nothing."""
        del random
        return np.full(shape, self.value, np.float32)


@dataclasses.dataclass(frozen=True)
class Normal:
    """Normal values with mean 0 and the given standard deviation."""

    stddev: float

    def __call__(
        self, shape: tuple[int, ...], random: np.random.Generator
    ) -> np.ndarray:
        """Returns float32 values of the given shape."""
        return random.standard_normal(shape, np.float32) * np.float32(self.stddev)


@dataclasses.dataclass(frozen=True)
class LecunNormal:
    """Truncated normal of variance 1 / fan_in (LeCun et al., Efficient BackProp, 1998).

    Values beyond two standard deviations of the parent normal are drawn again; the
    parent is widened by 1 / 0.8796 so that the variance after truncation is right.
    """

    def __call__(
        self, shape: tuple[int, ...], random: np.random.Generator
    ) -> np.ndarray:
        """Returns float32 values of the given shape."""
        fan_in = math.prod(shape[1:])
        values = random.standard_normal(shape, np.float32)
        outside = np.abs(values) > 2.0
        while count := int(outside.sum()):
            values[outside] = random.standard_normal(count, np.float32)
            outside = np.abs(values) > 2.0
        return values * np.float32(1.0 / (math.sqrt(fan_in) * TRUNCATED_STDDEV))


@dataclasses.dataclass(frozen=True)
class Uniform:
    """Values between -bound and bound, all equally likely."""

    bound: float

    def __call__(
        self, shape: tuple[int, ...], random: np.random.Generator
    ) -> np.ndarray:
        """Returns float32 values of the given shape."""
        return (2.0 * random.random(shape, np.float32) - 1.0) * np.float32(self.bound)


@dataclasses.dataclass(frozen=True)
class XavierUniform:
    """Uniform values of variance 2 / (fan_in + fan_out) (Glorot and Bengio, 2010).

    The fans of a convolution count the places of its kernel.
    """

    def __call__(
        self, shape: tuple[int, ...], random: np.random.Generator
    ) -> np.ndarray:
        """Returns float32 values of the given shape."""
        fans = (shape[0] + shape[1]) * math.prod(shape[2:])
        return Uniform(math.sqrt(6.0 / fans))(shape, random)
