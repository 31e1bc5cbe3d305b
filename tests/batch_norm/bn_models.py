"""Tiny models in both frameworks, and snapshots of their state."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import linen
from torch import nn

from algorithmic_efficiency.nn.batch_norm import jax as jax_bn
from algorithmic_efficiency.nn.batch_norm import pytorch as torch_bn
from algorithmic_efficiency.nn.batch_norm import resolve
from algorithmic_efficiency.nn.batch_norm.pytorch import batch_norm_mode
from algorithmic_efficiency.spec import ForwardPassMode

TRAIN, EVAL = ForwardPassMode.TRAIN, ForwardPassMode.EVAL


class TorchNet(nn.Module):
    """Dense, batch norm, dropout, dense, batch norm; inputs [B, T, 4], weights [B]."""

    def __init__(self, dropout=0.5):
        super().__init__()
        self.fc0, self.fc1 = nn.Linear(4, 6), nn.Linear(6, 3)
        self.bn0 = torch_bn.BatchNorm(6, channel_axis=-1, momentum=0.3)
        self.bn1 = torch_bn.BatchNorm(3, channel_axis=-1, variance="population")
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs, weights=None):
        x = torch.relu(self.bn0(self.fc0(inputs), weights))
        return self.bn1(self.fc1(self.dropout(x)), weights)


class JaxNet(linen.Module):
    """The same in JAX."""

    dropout: float = 0.5

    @linen.compact
    def __call__(self, inputs, *, weights=None, train, use_running_average):
        norm = functools.partial(jax_bn.BatchNorm, name="bn0", momentum=0.3)
        x = linen.Dense(6, name="fc0")(inputs)
        x = norm()(x, weights, use_running_average=use_running_average)
        x = linen.Dropout(self.dropout)(linen.relu(x), deterministic=not train)
        norm = functools.partial(jax_bn.BatchNorm, name="bn1", variance="population")
        x = linen.Dense(3, name="fc1")(x)
        return norm()(x, weights, use_running_average=use_running_average)


def torch_model_fn(model, batch, mode, *, update, use_running_average_bn=None):
    """What a PyTorch workload does in `model_fn`."""
    running, update = resolve(mode, update, use_running_average_bn)
    model.train(mode is TRAIN)
    with (
        torch.set_grad_enabled(mode is TRAIN),
        batch_norm_mode(model, update=update, use_running_average=running),
    ):
        return model(batch["inputs"], batch.get("weights"))


def jax_model_fn(model, variables, batch, mode, rng, *, update, running=None):
    """What a JAX workload does in `model_fn`; returns (outputs, batch_stats)."""
    running, update = resolve(mode, update, running)
    result = model.apply(
        variables,
        batch["inputs"],
        weights=batch.get("weights"),
        train=mode is TRAIN,
        use_running_average=running,
        rngs={"dropout": rng},
        mutable=["batch_stats"] if update else False,
    )
    return (
        (result[0], result[1]["batch_stats"])
        if update
        else (
            result,
            variables["batch_stats"],
        )
    )


def snapshot(module):
    """Returns a copy of every buffer and every flag of every layer."""
    buffers = {key: value.clone() for key, value in module.named_buffers()}
    flags = [
        {k: v for k, v in layer.__dict__.items() if not k.startswith("_")}
        for layer in module.modules()
    ]
    return buffers, flags


def same(one, other):
    """Says whether two snapshots are bitwise equal."""
    return (
        one[1] == other[1]
        and one[0].keys() == other[0].keys()
        and all(_bits(one[0][key], other[0][key]) for key in one[0])
    )


def _bits(one, other):
    return (
        one.dtype == other.dtype
        and one.shape == other.shape
        and one.numpy().tobytes() == other.numpy().tobytes()
    )


def random_state(module, seed=0):
    """Gives every parameter and running statistic a value that is not its first."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in module.parameters():
            value.copy_(torch.randn(value.shape, generator=generator))
        for name, value in module.named_buffers():
            if "mean" in name:
                value.copy_(torch.randn(value.shape, generator=generator))
            if "var" in name:
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return module


def batch(seed=0, padded=True):
    """Returns inputs [5, 3, 4] and, with one padded row, weights [5], as NumPy."""
    rng = np.random.default_rng(seed)
    inputs = np.float32(rng.normal(0.7, 2.0, (5, 3, 4)))
    weights = np.float32([1, 1, 1, 1, 0] if padded else [1] * 5)
    return {"inputs": inputs, "weights": weights}


def torch_batch(seed=0, padded=True):
    """The same as tensors."""
    return {key: torch.tensor(value) for key, value in batch(seed, padded).items()}


def jax_variables(model, data, seed=0):
    """Returns random parameters and running statistics of the JAX model."""
    shapes = model.init(
        jax.random.key(0), data["inputs"], train=False, use_running_average=True
    )
    rng = np.random.default_rng(seed)
    params = jax.tree.map(
        lambda p: np.float32(rng.normal(size=p.shape)), shapes["params"]
    )
    stats = {
        name: {
            "mean": np.float32(rng.normal(size=layer["mean"].shape)),
            "var": np.float32(rng.uniform(0.5, 2, layer["var"].shape)),
            "count": np.int32(3),
        }
        for name, layer in shapes["batch_stats"].items()
    }
    return jax.tree.map(jnp.asarray, {"params": params, "batch_stats": stats})


def paired_nets():
    """Returns the two tiny models with equal random parameters."""
    model = JaxNet(dropout=0.5)
    variables = jax_variables(model, batch())
    net = TorchNet(dropout=0.5).train()
    with torch.no_grad():
        for name, layer in variables["params"].items():
            for key, value in layer.items():
                target = {"kernel": "weight", "scale": "weight"}.get(key, key)
                parameter = net.get_parameter(f"{name}.{target}")
                parameter.copy_(torch.tensor(np.array(value).T))
    return net, (model, variables)


def recalibrated_net(net, batches):
    """Returns the batch_stats of the JAX model, recalibrated."""
    model, variables = net

    def forward(state, batch):
        _, new = model.apply(
            {**variables, "moments": state},
            batch["inputs"],
            weights=batch["weights"],
            train=False,
            use_running_average=False,
            mutable=["moments"],
        )
        return new["moments"]

    return jax_bn.recalibrate(forward, variables["batch_stats"], batches)
