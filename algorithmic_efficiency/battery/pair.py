"""One workload in both frameworks with the same, not initial, weights."""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
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
      draw: makes batches of a size, NumPy, in the place of the first training batch.

    Attributes:
      definition: without chance.
      workloads: framework -> the real workload.
    """

    def __init__(
        self,
        definition: Definition,
        folders: Folders,
        draw: Callable[[int], Mapping[str, Any]] | None = None,
    ) -> None:
        self.definition = without_chance(definition)
        self.workloads = {
            framework: Workload(self.definition, backend(framework), folders)
            for framework in FRAMEWORKS
        }
        self._draw = draw or self._first
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
        """Returns a batch of the workload's data, NumPy, the same each time."""
        if size not in self._batches:
            self._batches[size] = self._draw(size)
        copied: dict[str, Any] = jax.tree.map(np.array, dict(self._batches[size]))
        return copied

    def _first(self, size: int) -> Mapping[str, Any]:
        queue = self.workloads[FRAMEWORKS[0]].train_queue(size, seed=3)
        try:
            batch: Mapping[str, Any] = next(queue)
            return batch
        finally:
            queue.close()


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


def padded(
    batch: Mapping[str, Any], rows: int, fill: float | None = None
) -> dict[str, Any]:
    """Returns a copy whose last `rows` examples have weight 0.

    Args:
      batch: NumPy, one example in each row.
      rows: that are hidden.
      fill: what is in them, None for what was. Of integers and targets, which may be
        indices, it is 0, or where `fill` is not 0 that of the first examples.
    """

    def hide(value: np.ndarray, is_index: bool) -> None:
        if is_index or not np.issubdtype(value.dtype, np.floating):
            value[-rows:] = value[:rows] if fill else 0
        else:
            value[-rows:] = fill

    copied: dict[str, Any] = jax.tree.map(np.array, dict(batch))
    for name in copied.keys() - {"weights"} if fill is not None else ():
        for value in jax.tree.leaves(copied[name]):
            hide(value, name == "targets")
    copied["weights"][-rows:] = 0
    return copied


def visible(outputs: Any) -> np.ndarray:
    """Returns the outputs [B, ...]; of logits and their paddings, what is valid.

    The paddings are then one more entry of each frame.
    """
    if not isinstance(outputs, tuple):
        return np.asarray(outputs)
    logits, paddings = (np.asarray(array)[..., None] for array in outputs)
    return np.concatenate([logits[..., 0] * (1 - paddings), paddings], -1)


def forward_backward(
    made: Workload,
    parameters: Any,
    state: Any,
    batch: Mapping[str, Any],
    smoothing: float = 0.1,
) -> dict[str, Any]:
    """Returns outputs, losses, canonical gradients and new statistics, all NumPy."""
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
