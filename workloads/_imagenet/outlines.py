"""The ten shapes of the mini data, as outlines about within the unit circle."""

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # [corners, 2]


def _turns(angles: NDArray[np.float64], radius: float = 1.0) -> Points:
    """Returns points on a circle around 0, at angles counted in turns."""
    return radius * np.stack(
        [np.cos(2 * np.pi * angles), np.sin(2 * np.pi * angles)], axis=1
    )


def _circle(radius: float) -> Points:
    return _turns(np.linspace(0, 1, 40, endpoint=False), radius)


def _crescent() -> Points:
    outer = _turns(np.linspace(0.1, 0.9, 30))
    inner = _turns(np.linspace(0.83, 0.17, 30), 0.85) + [0.38, 0]
    return np.concatenate([outer, inner])


def _heart() -> Points:
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, -y - 2], axis=1) / 16


def _spiral() -> Points:
    """Returns two turns of a band whose distance from 0 grows with the angle."""
    turns = np.linspace(0.25, 2, 60)
    outer = _turns(turns) * (turns / 2)[:, None]
    inner = _turns(turns) * (turns / 2 - 0.2)[:, None]
    return np.concatenate([outer, inner[::-1]])


def _star() -> Points:
    tips = _turns(np.arange(5) / 5)
    notches = _turns(np.arange(5) / 5 + 0.1, 0.4)
    return np.stack([tips, notches], axis=1).reshape(-1, 2)


def _corners(*corners: tuple[float, float]) -> Points:
    return np.asarray(corners, np.float64)


_ARROW = _corners(
    (1, 0), (0.1, 0.75), (0.1, 0.28), (-0.95, 0.28),
    (-0.95, -0.28), (0.1, -0.28), (0.1, -0.75),
)  # fmt: skip
_CROSS = _corners(
    (1, 0.3), (0.3, 0.3), (0.3, 1), (-0.3, 1), (-0.3, 0.3), (-1, 0.3),
    (-1, -0.3), (-0.3, -0.3), (-0.3, -1), (0.3, -1), (0.3, -0.3), (1, -0.3),
)  # fmt: skip
_LETTER_E = _corners(
    (-0.65, -0.9), (0.65, -0.9), (0.65, -0.55), (-0.25, -0.55), (-0.25, -0.18),
    (0.5, -0.18), (0.5, 0.18), (-0.25, 0.18), (-0.25, 0.55), (0.65, 0.55),
    (0.65, 0.9), (-0.65, 0.9),
)  # fmt: skip

# Class -> outlines; a point is inside the shape where an odd number encloses it.
OUTLINES: dict[str, list[Points]] = {
    "arrow": [_ARROW],
    "crescent": [_crescent()],
    "cross": [_CROSS],
    "heart": [_heart()],
    "letter_e": [_LETTER_E],
    "ring": [_circle(0.9), _circle(0.5)],
    "spiral": [_spiral()],
    "square": [_turns(np.array([0.125, 0.375, 0.625, 0.875]))],
    "star": [_star()],
    "triangle": [_turns(np.arange(3) / 3)],
}
