"""Batch norm in NumPy float64, written from the formulas and nothing else."""

import numpy as np


class Reference:
    """One layer with channels last; the state moves as the truth table says."""

    def __init__(self, scale, bias, *, momentum, epsilon=1e-5, variance="unbiased"):
        self.scale, self.bias = np.float64(scale), np.float64(bias)
        self.momentum, self.epsilon, self.variance = momentum, epsilon, variance
        self.mean, self.var, self.count = 0.0 * self.scale, 1.0 + 0.0 * self.scale, 0

    def __call__(self, x, dy, mask=None, *, update, use_running_average):
        """Returns y, dx, dscale and dbias of sum(y * dy)."""
        valid = np.ones(x.shape[:-1], bool)
        if mask is not None:
            valid &= np.asarray(mask, bool).reshape(
                mask.shape + (1,) * (x.ndim - 1 - mask.ndim)
            )
        rows, g = np.float64(x)[valid], np.float64(dy)[valid]
        n = len(rows)
        outputs = np.zeros(x.shape), np.zeros(x.shape)
        if n == 0:
            return *outputs, 0 * self.scale, 0 * self.scale
        mean, var = self.mean, self.var
        if not use_running_average:
            mean, var = rows.mean(0), rows.var(0)
        r = 1 / np.sqrt(var + self.epsilon)
        xhat = (rows - mean) * r
        dx = g if use_running_average else g - g.mean(0) - xhat * (g * xhat).mean(0)
        outputs[0][valid] = xhat * self.scale + self.bias
        outputs[1][valid] = dx * r * self.scale
        if update and not use_running_average:
            self.count += 1
            a = 1 / self.count if self.momentum is None else self.momentum
            s = var * n / max(n - 1, 1) if self.variance == "unbiased" else var
            self.mean = (1 - a) * self.mean + a * mean
            self.var = (1 - a) * self.var + a * s
        return *outputs, (g * xhat).sum(0), g.sum(0)
