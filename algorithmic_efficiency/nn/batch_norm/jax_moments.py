"""Exact statistics over several batches in JAX: accumulate, recalibrate.

A model state with the collection 'moments' makes updating forward passes collect there
instead of moving the running statistics. Moments of disjoint sets of values merge
without loss (Chan, Golub and LeVeque 1979).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

Tree = Mapping[str, Any]
MOMENTS = ("mean", "m2", "count")


class Seen(NamedTuple):
    """What a normaliser uses, per channel.

    Attributes:
      mean, var: [C] or broadcastable to the input, var being the population's.
      constant: mean without gradient.
      count: how many positions they are from.
    """

    mean: jax.Array
    constant: jax.Array
    var: jax.Array
    count: jax.Array


class Moments(NamedTuple):
    """The mean, the sum of squared deviations m2 and the number of some values."""

    mean: jax.Array
    m2: jax.Array
    count: jax.Array


def merged(first: Moments, second: Moments) -> Moments:
    """Returns the moments of both sets of values; empty ones change nothing."""
    count = first.count + second.count
    share = second.count / jnp.maximum(count, 1)
    change = second.mean - first.mean
    m2 = first.m2 + second.m2 + change**2 * first.count * share
    return Moments(first.mean + change * share, m2, count)


def moments_of(seen: Seen) -> Moments:
    """Returns the moments of what a forward pass has seen, without gradient."""
    found = Moments(seen.mean, seen.var * seen.count, seen.count)
    return Moments(*(lax.stop_gradient(value) for value in found))


def moved(
    old: tuple[jax.Array, ...],
    momentum: float | jax.Array | None,
    new: Moments,
    ddof: Any,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns (mean, var, count) after one update; the same where `new` is empty.

    Args:
      old: mean, var, count.
      momentum: weight of the new batch; None, or below 0, is cumulative.
      ddof: 1 for the unbiased variance, 0 for the population's.
    """
    mean, var, count = old
    count = count + (new.count > 0)
    cumulative = 1 / jnp.maximum(count, 1)
    weight = cumulative if momentum is None else momentum
    if isinstance(momentum, jax.Array):
        weight = jnp.where(momentum < 0, cumulative, momentum)
    batch = new.mean, new.m2 / jnp.maximum(new.count - ddof, 1)
    mean, var = (
        lax.stop_gradient(
            jnp.where(new.count > 0, (1 - weight) * r + weight * s.astype(r.dtype), r)
        )
        for r, s in zip((mean, var), batch, strict=True)
    )
    return mean, var, count


def start_accumulating(model_state: Tree) -> Tree:
    """Returns a model state in which updating forward passes are micro-batches.

    They collect their statistics and leave the running ones alone, until
    `finish_accumulating`. Each micro-batch is normalised by itself.
    """
    zeros = jax.tree.map(_zeros, model_state.get("batch_stats", {}), is_leaf=_is_layer)
    return {**model_state, "moments": zeros} if zeros else model_state


def finish_accumulating(model_state: Tree) -> Tree:
    """Returns the model state after one update with all that was collected.

    It is the update that one batch of all the micro-batches' layer inputs would have
    made. Where nothing was collected nothing moves.
    """
    if "moments" not in model_state:
        return model_state
    batch_stats, moments = model_state["batch_stats"], model_state["moments"]
    new = jax.tree.map(_finished, batch_stats, moments, is_leaf=_is_layer)
    rest = {key: value for key, value in model_state.items() if key != "moments"}
    return {**rest, "batch_stats": new}


def recalibrate(
    forward: Callable[[Tree, Any], Tree], batch_stats: Tree, batches: Iterable[Any]
) -> Tree:
    """Returns `batch_stats` with the exact statistics over all of `batches`.

    Counters stay. Averaged weights and schedule-free methods need this before an
    evaluation.

    Args:
      forward: (moments, batch) -> moments; applies the model with the collections
        {'params', 'batch_stats', 'moments'}, use_running_average=False and
        mutable=['moments'], and returns the new 'moments'.
      batch_stats: the collection of this name.
      batches: what `forward` takes.
    """
    moments = jax.tree.map(_zeros, batch_stats, is_leaf=_is_layer)
    for batch in batches:
        moments = forward(moments, batch)
    exact: Tree = jax.tree.map(_replaced, batch_stats, moments, is_leaf=_is_layer)
    return exact


def _is_layer(tree: Any) -> bool:
    return "count" in tree


def _zeros(state: Tree) -> Tree:
    zeros, zero = jnp.zeros_like(state["mean"]), jnp.zeros((), jnp.float32)
    settings = {"momentum": zero, "ddof": zero}  # which the layer writes
    return {"mean": zeros, "m2": zeros, "count": zero, **settings}


def _finished(state: Tree, moments: Tree) -> Tree:
    old = tuple(state[key] for key in ("mean", "var", "count"))
    found = Moments(*(moments[key] for key in MOMENTS))
    mean, var, count = moved(old, moments["momentum"], found, moments["ddof"])
    frozen = moments["momentum"] == 0  # no weight times something infinite
    mean, var = (
        jnp.where(frozen, o, n) for o, n in zip(old, (mean, var), strict=False)
    )
    return {**state, "mean": mean, "var": var, "count": count}


def _replaced(state: Tree, moments: Tree) -> Tree:
    if moments["count"] == 0:
        return state
    var = moments["m2"] / jnp.maximum(moments["count"] - moments["ddof"], 1)
    return {**state, "mean": moments["mean"], "var": var}
