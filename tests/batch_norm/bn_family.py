"""Members of the family behind NumPy arrays, and their golden vectors."""

import functools

import bn_layers
import jax
import jax.numpy as jnp
import numpy as np
import torch

from algorithmic_efficiency.nn.batch_norm.accumulated import AccumulateBatchNorm
from algorithmic_efficiency.nn.batch_norm.ema import EmaBatchNorm
from algorithmic_efficiency.nn.batch_norm.ghost import GhostBatchNorm
from algorithmic_efficiency.nn.batch_norm.jax_accumulated import (
    AccumulateBatchNorm as JaxAccumulated,
)
from algorithmic_efficiency.nn.batch_norm.jax_ema import EmaBatchNorm as JaxEma
from algorithmic_efficiency.nn.batch_norm.jax_ghost import GhostBatchNorm as JaxGhost

KINDS = {
    "ghost": {"pytorch": GhostBatchNorm, "jax": JaxGhost},
    "ema": {"pytorch": EmaBatchNorm, "jax": JaxEma},
    "accumulated": {
        "pytorch": functools.partial(AccumulateBatchNorm, automatic=True),
        "jax": JaxAccumulated,
    },
}


def steps(case):
    """Yields ({key: array of a step}, whether it evaluates, whether it updates)."""
    arrays, _ = bn_layers.golden(case)
    for step, (mode, update) in enumerate(
        zip(arrays["mode"], arrays["update"], strict=True)
    ):
        prefix = f"t{step:02}/"
        at = {k[4:]: v for k, v in arrays.items() if k.startswith(prefix)}
        yield at, mode == "EVAL", bool(update) and mode != "EVAL"


class Torch(bn_layers.TorchLayer):
    """A PyTorch layer of the family, channels last."""

    def __init__(self, kind, scale, bias, *, epsilon=1e-5, **settings):
        self.layer = KINDS[kind]["pytorch"](
            len(scale), eps=epsilon, channel_axis=-1, **settings
        )
        self.layer.weight.data = torch.tensor(np.float32(scale))
        self.layer.bias.data = torch.tensor(np.float32(bias))

    def set_parameters(self, scale, bias):
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor(np.float32(scale)))
            self.layer.bias.copy_(torch.tensor(np.float32(bias)))


_compiled = jax.jit(bn_layers._jax_step, static_argnums=(0, 6, 7))


class Jax(bn_layers.JaxLayer):
    """A JAX layer of the family."""

    compiled = False

    def __init__(self, kind, scale, bias, **settings):
        self.layer = KINDS[kind]["jax"](**settings)
        self.set_parameters(scale, bias)
        x = jnp.zeros((8, len(scale)))
        variables = self.layer.init(jax.random.key(0), x, use_running_average=True)
        self.stats = variables["batch_stats"]

    def __call__(self, x, dy, mask=None, *, update, use_running_average):
        """Returns y, dx, dscale, dbias as NumPy."""
        mutable = ("batch_stats",) if update and not use_running_average else ()
        given = (self.params, self.stats, x, dy, mask)
        step = _compiled if self.compiled else bn_layers._jax_step
        y, (dx, params), new = step(self.layer, *given, use_running_average, mutable)
        self.stats = new.get("batch_stats", self.stats)
        grads = y, dx, params["scale"], params["bias"]
        return tuple(np.asarray(value, np.float32) for value in grads)

    def set_parameters(self, scale, bias):
        self.params = {"scale": jnp.float32(scale), "bias": jnp.float32(bias)}


LAYERS = {"pytorch": Torch, "jax": Jax}


def last(value):
    """Moves channels from axis 1 to the end."""
    return np.ascontiguousarray(np.moveaxis(value, 1, -1))
