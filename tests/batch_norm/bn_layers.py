"""One layer of either framework behind NumPy arrays, and the golden vectors."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch

from algorithmic_efficiency.nn.batch_norm import jax as jax_bn
from algorithmic_efficiency.nn.batch_norm import moments
from algorithmic_efficiency.nn.batch_norm import pytorch as torch_bn
from algorithmic_efficiency.nn.batch_norm.pytorch import batch_norm_mode

FRAMEWORKS = ("pytorch", "jax")
GOLDEN = Path(__file__).parent.parent / "data" / "batch_norm"


@functools.cache
def _golden():
    found = {}
    for path in GOLDEN.glob("*.npz"):
        with np.load(path) as arrays:
            found |= arrays
    return found


def golden(case):
    """Returns {key within the case: array}, and the case's settings."""
    arrays = {
        key.removeprefix(case + "/"): value
        for key, value in _golden().items()
        if key.startswith(case + "/")
    }
    return arrays, json.loads(str(arrays.get("config", "{}")))


class TorchLayer:
    """Our PyTorch layer behind NumPy arrays with channels last."""

    def __init__(self, scale, bias, *, momentum=0.1, epsilon=1e-5, **settings):
        self.layer = torch_bn.BatchNorm(
            len(scale), momentum=momentum, eps=epsilon, channel_axis=-1, **settings
        )
        self.layer.weight.data = torch.tensor(np.float32(scale))
        self.layer.bias.data = torch.tensor(np.float32(bias))

    def __call__(self, x, dy, mask=None, *, update, use_running_average):
        """Returns y, dx, dscale, dbias as NumPy."""
        x = torch.tensor(x, requires_grad=True)
        mask = None if mask is None else torch.tensor(mask)
        with batch_norm_mode(
            self.layer, update=update, use_running_average=use_running_average
        ):
            y = self.layer(x, mask)
        y.backward(torch.tensor(dy, dtype=y.dtype))
        grads = x.grad, self.layer.weight.grad, self.layer.bias.grad
        self.layer.weight.grad = self.layer.bias.grad = None
        return tuple(value.detach().float().numpy() for value in (y, *grads))

    @property
    def state(self):
        """The running mean, the running variance and the number of updates."""
        layer = self.layer
        buffers = layer.running_mean, layer.running_var, layer.num_batches_tracked
        return tuple(buffer.numpy().copy() for buffer in buffers)


class JaxLayer:
    """Our JAX layer behind NumPy arrays."""

    def __init__(self, scale, bias, **settings):
        self.layer = jax_bn.BatchNorm(**settings)
        self.params = {"scale": jnp.float32(scale), "bias": jnp.float32(bias)}
        x = jnp.zeros((1, len(scale)))
        variables = self.layer.init(jax.random.key(0), x, use_running_average=False)
        self.stats = variables["batch_stats"]

    def __call__(self, x, dy, mask=None, *, update, use_running_average):
        """Returns y, dx, dscale, dbias as NumPy."""
        mutable = ("batch_stats",) if update and not use_running_average else ()
        result = _jax_step(
            self.layer,
            self.params,
            self.stats,
            x,
            dy,
            mask,
            use_running_average,
            mutable,
        )
        y, grads, new = result
        self.stats = new.get("batch_stats", self.stats)
        dx, params = grads
        grads = y, dx, params["scale"], params["bias"]
        return tuple(np.asarray(value, np.float32) for value in grads)

    @property
    def state(self):
        """The running mean, the running variance and the number of updates."""
        return tuple(np.asarray(self.stats[key]) for key in ("mean", "var", "count"))


def _jax_step(layer, params, stats, x, dy, mask, use_running_average, mutable):  # noqa: PLR0917
    def forward(x, params):
        return layer.apply(
            {"params": params, "batch_stats": stats},
            x,
            mask,
            use_running_average=use_running_average,
            mutable=list(mutable),
        )

    y, backward, new = jax.vjp(forward, jnp.asarray(x), params, has_aux=True)
    return y, backward(jnp.asarray(dy, y.dtype)), new


LAYERS = {"pytorch": TorchLayer, "jax": JaxLayer}


def forward_in(layer, x, dtype, mask):
    """Returns the output of an updating forward with an input of this dtype."""
    if isinstance(layer, TorchLayer):
        mask = None if mask is None else torch.tensor(mask)
        y = layer.layer(torch.tensor(x).to(getattr(torch, dtype)), mask).detach()
        return jnp.asarray(y.float().numpy(), str(y.dtype).removeprefix("torch."))
    variables = {"params": layer.params, "batch_stats": layer.stats}
    y, new = layer.layer.apply(
        variables,
        jnp.asarray(x, dtype),
        mask,
        use_running_average=False,
        mutable=["batch_stats"],
    )
    layer.stats = new["batch_stats"]
    return y


def set_state(layer, mean, var):
    """Gives a layer this running mean and variance."""
    if isinstance(layer, TorchLayer):
        layer.layer.running_mean.copy_(torch.tensor(mean))
        layer.layer.running_var.copy_(torch.tensor(var))
    else:
        layer.stats = {**layer.stats, "mean": jnp.array(mean), "var": jnp.array(var)}


def recalibrated(layer, batches):
    """Recalibrates one layer over (x, mask) pairs."""
    if isinstance(layer, TorchLayer):
        pairs = [tuple(map(torch.tensor, pair)) for pair in batches]
        moments.recalibrate(layer.layer, pairs, lambda pair: layer.layer(*pair))
        return

    def forward(state, pair):
        variables = {"params": layer.params, "batch_stats": layer.stats}
        _, new = layer.layer.apply(
            {**variables, "moments": state},
            *pair,
            use_running_average=False,
            mutable=["moments"],
        )
        return new["moments"]

    layer.stats = jax_bn.recalibrate(forward, layer.stats, batches)
