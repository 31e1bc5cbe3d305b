"""The convolutions and the max-pool of `nn.jax`, written the way XLA's CPU is fast at.

They give the native operations' values to float32 rounding. What made each of them
slow, and by how much, is in docs/decisions/003-convolutions-on-cpu.md.
"""

import jax
import jax.numpy as jnp
from jax import lax

Residuals = tuple[jax.Array, jax.Array]
# Keeps XLA from folding a transposition back into the product that reads it.
_in_memory = lax.optimization_barrier


def conv_1x1(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolves [B, H, W, C] with [1, 1, C, F]: a matrix product of the pixels."""
    x = x[:, ::stride, ::stride]
    rows = matmul(x.reshape(-1, x.shape[-1]), kernel[0, 0])
    return rows.reshape(*x.shape[:-1], -1)


@jax.custom_vjp
def matmul(x: jax.Array, w: jax.Array) -> jax.Array:
    """Multiplies many rows [N, C] by [C, F]."""
    return x @ w


def _matmul_forward(x: jax.Array, w: jax.Array) -> tuple[jax.Array, Residuals]:
    return matmul(x, w), (x, w)


def _matmul_backward(saved: Residuals, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Transposes the narrower factor in memory: x.T @ g itself reads by columns."""
    x, w = saved
    if x.shape[1] <= g.shape[1]:
        w_gradient = _in_memory(x.T) @ g
    else:
        w_gradient = (_in_memory(g.T) @ x).T
    return g @ w.T, w_gradient


matmul.defvjp(_matmul_forward, _matmul_backward)


@jax.custom_vjp
def max_pool(x: jax.Array) -> jax.Array:
    """Max-pools [B, H, W, C] over 3x3 windows at stride 2, padded by 1."""
    return _max_pool_forward(x)[0]


def _max_pool_forward(x: jax.Array) -> tuple[jax.Array, Residuals]:
    """Returns the maxima, and the place of the first one in each window (0 to 8)."""
    height, width = x.shape[1:3]
    h, w = (height + 1) // 2, (width + 1) // 2
    border = ((0, 0), (1, 1), (1, 1), (0, 0))
    padded = jnp.pad(x, border, constant_values=-jnp.inf)
    best = jnp.full((len(x), h, w, x.shape[3]), -jnp.inf, x.dtype)
    place = jnp.zeros(best.shape, jnp.int8)
    for k in range(9):
        i, j = divmod(k, 3)
        value = padded[:, i : i + 2 * h - 1 : 2, j : j + 2 * w - 1 : 2]
        better = (value > best) | jnp.isnan(value)
        best = jnp.where(better, value, best)
        place = jnp.where(better, jnp.int8(k), place)
    return best, (place, jnp.zeros((height, width, 0)))  # the second only has a shape


def _max_pool_backward(saved: Residuals, g: jax.Array) -> tuple[jax.Array]:
    """Adds up, for each of the four pixels per window step, the windows it is in.

    Pixel (2p, 2q) is only in the middle of window (p, q); pixel (2p + 1, 2q + 1) is
    in a corner of the four windows (p or p + 1, q or q + 1); and so on.
    """
    place, size = saved
    (batch, h, w, channels), (height, width) = g.shape, size.shape[:2]

    def share(row: int, column: int) -> jax.Array:
        """What goes to one place of the window; places 0 belong to the next one."""
        value = jnp.where(place == 3 * row + column, g, 0)
        down, right = row == 0, column == 0
        border = ((0, 0), (0, down), (0, right), (0, 0))
        return jnp.pad(value, border)[:, int(down) :, int(right) :]

    even = [share(1, 1), share(1, 2) + share(1, 0)]
    odd = [
        share(2, 1) + share(0, 1),
        share(2, 2) + share(2, 0) + share(0, 2) + share(0, 0),
    ]
    rows = jnp.stack([jnp.stack(even, 3), jnp.stack(odd, 3)], 2)
    return (rows.reshape(batch, 2 * h, 2 * w, channels)[:, :height, :width],)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)
