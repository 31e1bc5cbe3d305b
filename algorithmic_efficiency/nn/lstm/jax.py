"""The LSTM layer of our JAX models; the equations are in `__init__.py`.

What does not depend on the previous frame is computed for all frames at once, as one
matrix product: the share of the inputs in the gates, and in the backward pass all
gradients of weights. One scan serves both directions.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

State = tuple[jax.Array, jax.Array]  # hidden state and cell, or their gradients
Frame = tuple[jax.Array, jax.Array, jax.Array, jax.Array]
Residuals = tuple[jax.Array, ...]


class LSTM(nn.Module):
    """One bidirectional layer; `features` is H, the size of one direction."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array) -> jax.Array:
        """Returns [B, T, 2H], 0 where a frame is not valid.

        Args:
          x: [B, T, D].
          valid: [B, T], nonzero for the first frames of each example, as many as it
            has, which may be none.
        """
        rows = 4 * self.features
        shapes = {
            "weight_ih": (rows, x.shape[-1]),
            "weight_hh": (rows, self.features),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }
        zeros = nn.initializers.zeros
        w_ih, w_hh, b_ih, b_hh = (
            [self.param(f"{name}_l0{end}", zeros, shape) for end in ("", "_reverse")]
            for name, shape in shapes.items()
        )
        order = reversal(valid)
        inputs = (x, permute(x, order))
        gates = [
            jnp.einsum("btk,gk->tbg", each, w) + (b + c)
            for each, w, b, c in zip(inputs, w_ih, b_ih, b_hh, strict=True)
        ]
        hidden = recurrence(jnp.stack(gates, 1), jnp.stack(w_hh))
        ahead, back = hidden.transpose(1, 2, 0, 3)
        both = jnp.concatenate([ahead, permute(back, order)], -1)
        return jnp.where(valid[..., None] != 0, both, 0)


def reversal(valid: jax.Array) -> jax.Array:
    """Returns the places [B, T] that reverse the valid frames; the others stay."""
    frame = jnp.arange(valid.shape[1])
    length = (valid != 0).sum(1, keepdims=True)
    return jnp.where(frame < length, length - 1 - frame, frame)


@jax.custom_vjp
def permute(x: jax.Array, order: jax.Array) -> jax.Array:
    """Returns x[b, order[b, t]] of x [B, T, C]; applied twice, `order` undoes itself.

    So its gradient is another permutation, where JAX would add rows up one by one.
    """
    return jnp.take_along_axis(x, order[..., None], 1)


permute.defvjp(
    lambda x, order: (permute(x, order), order),
    lambda order, g: (permute(g, order), None),
)


@jax.custom_vjp
def recurrence(gates: jax.Array, weights: jax.Array) -> jax.Array:
    """Returns the hidden states [T, 2, B, H] of both directions.

    Args:
      gates: [T, 2, B, 4H], what inputs and biases add to the gates.
      weights: [2, 4H, H].
    """
    return _forward(gates, weights)[0]


def _forward(gates: jax.Array, weights: jax.Array) -> tuple[jax.Array, Residuals]:
    def step(state: State, gate: jax.Array) -> tuple[State, Residuals]:
        hidden, cell = state
        z = gate + jnp.einsum("dbh,dgh->dbg", hidden, weights)
        i, f, u, o = jnp.split(z, 4, -1)
        i, f, u, o = nn.sigmoid(i), nn.sigmoid(f), jnp.tanh(u), nn.sigmoid(o)
        cell = f * cell + i * u
        hidden = o * jnp.tanh(cell)
        return (hidden, cell), (hidden, cell, jnp.concatenate([i, f, u, o], -1))

    start = jnp.zeros_like(gates[0, ..., : weights.shape[-1]])
    _, (hidden, cell, active) = lax.scan(step, (start, start), gates)
    return hidden, (hidden, cell, active, weights)


def _backward(saved: Residuals, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    hidden, cell, active, weights = saved

    def step(state: State, frame: Frame) -> tuple[State, jax.Array]:
        g_hidden, g_cell = state
        g, cell, before, active = frame
        i, f, u, o = jnp.split(active, 4, -1)
        squashed = jnp.tanh(cell)
        g_hidden = g_hidden + g
        g_cell = g_cell + g_hidden * o * (1 - squashed**2)
        g_gates = [
            g_cell * u * i * (1 - i),
            g_cell * before * f * (1 - f),
            g_cell * i * (1 - u**2),
            g_hidden * squashed * o * (1 - o),
        ]
        z = jnp.concatenate(g_gates, -1)
        return (jnp.einsum("dbg,dgh->dbh", z, weights), g_cell * f), z

    start = jnp.zeros_like(hidden[0])
    frames = (g, cell, _before(cell), active)
    _, g_gates = lax.scan(step, (start, start), frames, reverse=True)
    return g_gates, jnp.einsum("tdbg,tdbh->dgh", g_gates, _before(hidden))


def _before(states: jax.Array) -> jax.Array:
    """Returns the state before each frame; 0 before the first."""
    return jnp.concatenate([jnp.zeros_like(states[:1]), states[:-1]])


recurrence.defvjp(_forward, _backward)
