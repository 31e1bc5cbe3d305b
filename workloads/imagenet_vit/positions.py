"""The fixed code of places that both models add to their tokens."""

import numpy as np


def positions(side: int, width: int) -> np.ndarray:
    """Returns a code of each place of a square, row by row, float32 [side ** 2, width].

    Sines and cosines of the column, then of the row, a quarter of the width each, with
    wavelengths from 2 pi to 20,000 pi (Beyer et al., 2022).
    """
    quarter = width // 4
    omega = 10_000.0 ** -(np.arange(quarter) / (quarter - 1))
    row, column = np.mgrid[:side, :side].reshape(2, -1, 1) * omega
    parts = [np.sin(column), np.cos(column), np.sin(row), np.cos(row)]
    return np.concatenate(parts, 1).astype(np.float32)
