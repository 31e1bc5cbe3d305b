"""One workload in both frameworks with the same, not initial, weights."""

import functools
from typing import Any

import jax
import numpy as np
import torch

from algorithmic_efficiency import params, registry, seeds, spec
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.workload import Workload

NO_DATA = Folders(data_dir=registry.ROOT / "no data needed")
TRAIN, EVAL = spec.ForwardPassMode.TRAIN, spec.ForwardPassMode.EVAL


@functools.cache
def backend(framework: str) -> Any:
    return base.make(framework)


@functools.cache
def workload(name: str, framework: str, folders: Folders | None = None) -> Workload:
    return Workload(registry.get(name), backend(framework), folders or NO_DATA)


def started(name: str, framework: str) -> tuple[Workload, Any, Any]:
    """Returns (workload, params, state) with the initial weights of seed 5."""
    made = workload(name, framework)
    rng = backend(framework).make_rng(seeds.pair(5, "parity"))
    return made, *made.init_model_fn(rng)


def moved_weights(flat: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns weights and statistics away from their initial values.

    Zeros at initialisation would hide faults in all that is multiplied by them.
    """
    moved = {}
    for name, value in flat.items():
        random = seeds.generator(11, name)
        if name.endswith("num_batches_tracked"):
            moved[name] = value + 3
        elif name.endswith("running_var"):
            moved[name] = random.uniform(0.5, 1.5, value.shape).astype(np.float32)
        else:
            scale = 0.3 if value.ndim <= 1 else 0.05
            noise = scale * random.standard_normal(value.shape)
            moved[name] = (value + noise).astype(np.float32)
    return moved


def with_weights(name: str, framework: str) -> tuple[Workload, Any, Any]:
    """Returns (workload, params, state) with moved weights."""
    made, parameters, state = started(name, framework)
    flat = moved_weights(backend(framework).canonical(parameters, state))
    if framework == "pytorch":
        tensors = {key: torch.from_numpy(np.asarray(x)) for key, x in flat.items()}
        parameters.load_state_dict(tensors)
        return made, parameters, state
    statistics = {
        k: v for k, v in flat.items() if k.split(".")[-1] in params.STATISTICS
    }
    weights = {k: v for k, v in flat.items() if k not in statistics}
    placed = jax.device_put(params.to_jax(weights))
    return made, placed, {"batch_stats": params.statistics_to_jax(statistics)}


def random_batch(made: Workload, size: int, padded: int, seed: int = 3) -> Any:
    """Returns a NumPy batch of noise; the last `padded` rows have weight 0."""
    random = np.random.default_rng(seed)
    fields = made.definition.fields
    batch = {
        "inputs": random.standard_normal((size, *fields["inputs"].shape), np.float32),
        "targets": random.integers(0, 10, size).astype(np.int32),
        "weights": np.ones(size, np.float32),
    }
    batch["weights"][size - padded :] = 0
    return batch


def forward_backward(
    made: Workload, parameters: Any, state: Any, batch: Any, smoothing: float = 0.1
) -> dict[str, Any]:
    """Returns outputs, losses, canonical gradients and new statistics, all NumPy."""
    placed = made.place(batch)
    if isinstance(parameters, torch.nn.Module):
        return _pytorch(made, parameters, placed, smoothing)
    return _jax(made, parameters, state, placed, smoothing)


def _pytorch(made: Workload, module: Any, batch: Any, smoothing: float) -> Any:
    module.zero_grad()
    outputs, _ = made.model_fn(module, batch, None, TRAIN, None, True)
    loss = made.loss_fn(batch["targets"], outputs, batch["weights"], smoothing)
    (loss["summed"] / loss["n_valid_examples"]).backward()
    named = module.named_parameters()
    return {
        "outputs": outputs.detach().numpy(),
        "loss": {key: value.detach().numpy() for key, value in loss.items()},
        "gradients": {key: value.grad.numpy() for key, value in named},
        "statistics": {k: v.numpy().copy() for k, v in module.named_buffers()},
    }


def _jax(
    made: Workload, parameters: Any, state: Any, batch: Any, smoothing: float
) -> Any:
    result = _jax_run(made, smoothing, parameters, state, batch)
    gradients, (outputs, loss, moved) = jax.device_get(result)
    return {
        "outputs": outputs,
        "loss": loss,
        "gradients": params.from_jax(gradients),
        "statistics": params.statistics_from_jax(moved["batch_stats"]),
    }


@functools.partial(jax.jit, static_argnums=(0, 1))
def _jax_run(
    made: Workload, smoothing: float, parameters: Any, state: Any, batch: Any
) -> Any:
    def mean_loss(parameters: Any) -> Any:
        outputs, moved = made.model_fn(parameters, batch, state, TRAIN, None, True)
        loss = made.loss_fn(batch["targets"], outputs, batch["weights"], smoothing)
        mean = loss["summed"] / loss["n_valid_examples"]
        return mean, (outputs, loss, moved)

    return jax.grad(mean_loss, has_aux=True)(parameters)
