"""One workload in both frameworks with the same, not initial, weights."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
import torch

from algorithmic_efficiency import params, registry, seeds, spec
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.definition import Definition, Field
from algorithmic_efficiency.workload import Workload

NO_DATA = Folders(data_dir=registry.ROOT / "no data needed")
FRAMEWORKS = ("jax", "pytorch")
TRAIN, EVAL = spec.ForwardPassMode.TRAIN, spec.ForwardPassMode.EVAL


@functools.cache
def backend(framework: str) -> Any:
    return base.make(framework)


@functools.cache
def workload(name: str, framework: str, folders: Folders | None = None) -> Workload:
    definition = without_chance(registry.get(name))
    return Workload(definition, backend(framework), folders or NO_DATA)


def without_chance(definition: Definition) -> Definition:
    """Returns the definition with dropout and SpecAugment off.

    The frameworks cannot draw the same numbers.
    """
    switches = {"dropout_rate": 0.0, "time_masks": 0, "frequency_masks": 0}
    off = {key: value for key, value in switches.items() if key in definition.model}
    return dataclasses.replace(definition, model={**definition.model, **off})


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
    placed = jax.device_put(params.to_jax(weights, made.definition.all_rules))
    tree = params.statistics_to_jax(statistics)
    return made, placed, {"batch_stats": tree} if tree else {}


def random_batch(made: Workload, size: int, padded: int, seed: int = 3) -> Any:
    """Returns a NumPy batch of noise; the last `padded` rows have weight 0."""
    random = np.random.default_rng(seed)
    inputs = made.definition.fields["inputs"]
    if isinstance(inputs, Field):
        noise = random.standard_normal((size, *inputs.shape), np.float32)
        batch = {
            "inputs": noise,
            "targets": random.integers(0, 10, size).astype(np.int32),
        }
    else:
        sound = 2000 * random.standard_normal((size, 12_000), np.float32)
        tokens = random.integers(1, 10, (size, 7)).astype(np.float32)
        batch = {
            "inputs": with_paddings(sound, random),
            "targets": with_paddings(tokens, random),
        }
    batch["weights"] = np.ones(size, np.float32)
    batch["weights"][size - padded :] = 0
    return batch


def with_paddings(values: np.ndarray, random: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns values [B, S] of lengths from half of S to S, and their paddings."""
    size, longest = values.shape
    lengths = random.integers(longest // 2, longest + 1, (size, 1))
    valid = (np.arange(longest) < lengths).astype(np.float32)
    return values * valid, 1 - valid


def visible(outputs: Any) -> np.ndarray:
    """Returns the outputs [B, ...]; of logits and their paddings, what is valid.

    The paddings are then one more entry of each frame.
    """
    if not isinstance(outputs, tuple):
        return np.asarray(outputs)
    logits, paddings = (np.asarray(array)[..., None] for array in outputs)
    return np.concatenate([logits[..., 0] * (1 - paddings), paddings], -1)


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
        "outputs": visible(jax.tree.map(lambda x: x.detach().numpy(), outputs)),
        "loss": {key: value.detach().numpy() for key, value in loss.items()},
        "gradients": {key: value.grad.numpy() for key, value in named},
        "statistics": {
            key: value.numpy().copy()
            for key, value in module.named_buffers()
            if key.split(".")[-1] in params.STATISTICS
        },
    }


def _jax(
    made: Workload, parameters: Any, state: Any, batch: Any, smoothing: float
) -> Any:
    result = _jax_run(made, smoothing, parameters, state, batch)
    gradients, (outputs, loss, moved) = jax.device_get(result)
    return {
        "outputs": visible(outputs),
        "loss": loss,
        "gradients": params.from_jax(gradients, made.definition.all_rules),
        "statistics": params.statistics_from_jax(moved.get("batch_stats", {})),
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
