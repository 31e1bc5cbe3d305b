"""One workload in both frameworks with the same, not initial, weights."""

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import torch

from algorithmic_efficiency import params, seeds, spec
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.backends.base import Backend
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.definition import Definition
from algorithmic_efficiency.workload import Workload

FRAMEWORKS = ("jax", "pytorch")
TRAIN, EVAL = spec.ForwardPassMode.TRAIN, spec.ForwardPassMode.EVAL
# Arguments of a model that bring chance: a rate of dropout, a number of random masks.
_CHANCE = re.compile(r"(.*_)?dropout(_rate)?|.*_masks")

# A workload with its parameters and model state.
Started = tuple[Workload, Any, Any]


@functools.cache
def backend(framework: str) -> Backend:
    """Returns the backend that all pairs share; PyTorch's does not compile."""
    options: dict[str, Any] = (
        {"compile_models": False} if framework == "pytorch" else {}
    )
    return base.make(framework, **options)


def without_chance(definition: Definition) -> Definition:
    """Returns the definition with dropout and random masks in the model off.

    The frameworks cannot draw the same numbers.
    """
    off = {
        name: 0 if isinstance(value, int) else 0.0
        for name, value in definition.model.items()
        if _CHANCE.fullmatch(name)
    }
    return dataclasses.replace(definition, model={**definition.model, **off})


class Pair:
    """One workload in both frameworks, its chance turned off.

    Args:
      definition: the workload.
      folders: where its data are.

    Attributes:
      definition: without chance.
      workloads: framework -> the real workload.
    """

    def __init__(self, definition: Definition, folders: Folders) -> None:
        self.definition = without_chance(definition)
        self.workloads = {
            framework: Workload(self.definition, backend(framework), folders)
            for framework in FRAMEWORKS
        }
        self._batches: dict[int, Any] = {}

    def started(self, framework: str) -> Started:
        """Returns (workload, params, state) with the initial weights of one seed."""
        made = self.workloads[framework]
        rng = backend(framework).make_rng(seeds.pair(5, "parity"))
        return made, *made.init_model_fn(rng)

    def with_weights(self, framework: str) -> Started:
        """Returns (workload, params, state) with weights away from the initial ones."""
        made, parameters, state = self.started(framework)
        flat = moved_weights(backend(framework).canonical(parameters, state))
        if framework == "pytorch":
            tensors = {key: torch.from_numpy(np.array(x)) for key, x in flat.items()}
            parameters.load_state_dict(tensors)
            return made, parameters, state
        statistics = {name: x for name, x in flat.items() if is_statistic(name)}
        weights = {name: x for name, x in flat.items() if name not in statistics}
        rules = self.definition.all_rules
        placed = jax.device_put(params.to_jax(weights, rules))
        tree = params.statistics_to_jax(statistics)
        return made, placed, {"batch_stats": tree} if tree else {}

    def batch(self, size: int) -> dict[str, Any]:
        """Returns a training batch of the workload's data, NumPy; a copy."""
        if size not in self._batches:
            queue = self.workloads[FRAMEWORKS[0]].train_queue(size, seed=3)
            self._batches[size] = next(queue)
            queue.close()
        copied: dict[str, Any] = jax.tree.map(np.array, dict(self._batches[size]))
        return copied


def is_statistic(name: str) -> bool:
    """Says whether a canonical name is that of a running statistic."""
    return name.rpartition(".")[2] in params.STATISTICS


def moved_weights(flat: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
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


def padded(batch: Mapping[str, Any], rows: int, fill: float = 0.0) -> dict[str, Any]:
    """Returns a copy whose last `rows` examples have weight 0 and other content.

    Floating-point entries are `fill`; integers, which may be indices, are 0, or where
    `fill` is not 0 those of the first examples.
    """

    def hidden(value: np.ndarray) -> np.ndarray:
        value = np.array(value)
        if np.issubdtype(value.dtype, np.floating):
            value[-rows:] = fill
        else:
            value[-rows:] = value[:rows] if fill else 0
        return value

    other = jax.tree.map(hidden, {k: v for k, v in batch.items() if k != "weights"})
    weights = np.array(batch["weights"])
    weights[-rows:] = 0
    return {**other, "weights": weights}


def visible(outputs: Any) -> np.ndarray:
    """Returns the outputs [B, ...]; of logits and their paddings, what is valid.

    The paddings are then one more entry of each frame.
    """
    if not isinstance(outputs, tuple):
        return np.asarray(outputs)
    logits, paddings = (np.asarray(array)[..., None] for array in outputs)
    return np.concatenate([logits[..., 0] * (1 - paddings), paddings], -1)


def forward_backward(
    started: Started, batch: Mapping[str, Any], smoothing: float = 0.1
) -> dict[str, Any]:
    """Returns outputs, losses, canonical gradients and new statistics, all NumPy."""
    made, parameters, state = started
    placed = made.place(batch)
    if isinstance(parameters, torch.nn.Module):
        return _pytorch(made, parameters, placed, smoothing)
    result = _jax(made, smoothing, parameters, state, placed)
    gradients, (outputs, loss, moved) = jax.device_get(result)
    return {
        "outputs": visible(outputs),
        "loss": loss,
        "gradients": params.from_jax(gradients, made.definition.all_rules),
        "statistics": params.statistics_from_jax(moved.get("batch_stats", {})),
    }


def _pytorch(
    made: Workload, module: Any, batch: Any, smoothing: float
) -> dict[str, Any]:
    module.zero_grad()
    outputs, _ = made.model_fn(module, batch, None, TRAIN, None, True)
    loss = made.loss_fn(batch["targets"], outputs, batch["weights"], smoothing)
    (loss["summed"] / loss["n_valid_examples"]).backward()
    host = functools.partial(jax.tree.map, lambda x: x.detach().cpu().numpy().copy())
    named = list(module.named_parameters())
    buffers = [(key, x) for key, x in module.named_buffers() if is_statistic(key)]
    return {
        "outputs": visible(host(outputs)),
        "loss": host(loss),
        # A parameter that the loss does not depend on has none here and 0 in JAX.
        "gradients": {
            key: host(torch.zeros_like(x) if x.grad is None else x.grad)
            for key, x in named
        },
        "statistics": {key: host(value) for key, value in buffers},
    }


@functools.partial(jax.jit, static_argnums=(0, 1))
def _jax(
    made: Workload, smoothing: float, parameters: Any, state: Any, batch: Any
) -> Any:
    def mean_loss(parameters: Any) -> Any:
        outputs, moved = made.model_fn(parameters, batch, state, TRAIN, None, True)
        loss = made.loss_fn(batch["targets"], outputs, batch["weights"], smoothing)
        mean = loss["summed"] / loss["n_valid_examples"]
        return mean, (outputs, loss, moved)

    return jax.grad(mean_loss, has_aux=True)(parameters)
