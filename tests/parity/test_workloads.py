"""What every registered workload must hold in both frameworks; values, not shapes."""

import json
from typing import Any

import jax
import numpy as np
import pytest
import torch
from parity import pairs

from algorithmic_efficiency import adapters, params, registry, seeds, submission
from algorithmic_efficiency.backends import jax as jax_backend
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm
from algorithmic_efficiency.runner.trainer import InputQueue
from algorithmic_efficiency.runner.tuning import namedtuple
from algorithmic_efficiency.workload import Workload

FRAMEWORKS = pairs.FRAMEWORKS
DEFAULTS = registry.ROOT / "reference_algorithms/nadamw/default_hyperparameters.json"
ATTENTION = {"query": "Q", "key": "K", "value": "V", "out": "OUT"}


def test_full_size_names_shapes_and_types_agree(full_name: str) -> None:
    shapes, types = {}, {}
    for framework in FRAMEWORKS:
        backend, definition = pairs.backend(framework), registry.get(full_name)
        shapes[framework] = backend.shapes(backend.build(definition), definition)
        types[framework] = {n: params.parameter_type(n) for n in shapes[framework]}
    assert shapes["jax"] == shapes["pytorch"]
    assert types["jax"] == types["pytorch"]
    total = sum(int(np.prod(shape)) for shape in shapes["jax"].values())
    assert total == registry.get(full_name).num_parameters


def test_types_are_those_of_the_layers(mini_name: str) -> None:
    made, module, _ = pairs.started(mini_name, "pytorch")
    seen = 0
    for path, layer in module.named_modules():
        for leaf, _ in layer.named_parameters(recurse=False):
            found = made.model_params_types[f"{path}.{leaf}"].name
            assert found == layer_type(path.rpartition(".")[2], layer, leaf)
            seen += 1
    assert seen == len(list(module.parameters()))


def layer_type(name: str, layer: torch.nn.Module, leaf: str) -> str:
    """Returns the type that a parameter has by the class of its layer."""
    is_bias = "bias" in leaf
    if isinstance(layer, torch.nn.Linear) and name in ATTENTION:
        return "ATTENTION_BIAS" if is_bias else f"ATTENTION_{ATTENTION[name]}"
    if type(layer).__name__ in ("BatchNorm", "LayerNorm"):
        kind = type(layer).__name__.upper().replace("NORM", "_NORM")
        return f"{kind}_{'BIAS' if is_bias else 'SCALE'}"
    is_conv = isinstance(layer, torch.nn.modules.conv._ConvNd)
    return "BIAS" if is_bias else "CONV_WEIGHT" if is_conv else "WEIGHT"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_param_trees_have_the_form_of_the_parameters(
    mini_name: str, framework: str
) -> None:
    fresh = Workload(registry.get(mini_name), pairs.backend(framework), pairs.NO_DATA)
    with pytest.raises(ValueError, match="init_model_fn"):
        _ = fresh.param_shapes
    made, parameters, _ = pairs.started(mini_name, framework)
    if framework == "pytorch":
        parameters = dict(parameters.named_parameters())
    # As public submissions do: a tree of zeros, and both trees in one map.
    zeros = jax.tree.map(lambda x: np.zeros(x.shape_tuple), made.param_shapes)
    fits = jax.tree.map(lambda x, zero: x.shape == zero.shape, parameters, zeros)
    assert all(jax.tree.leaves(fits))
    structure = jax.tree.structure(parameters)
    assert jax.tree.structure(made.model_params_types) == structure
    keys = {key for key in parameters if made.is_output_params(key)}
    assert {key.partition(".")[0] for key in keys} == {made.definition.output_layer}


def test_full_size_param_shapes_are_those_of_the_models(full_name: str) -> None:
    definition, models = registry.get(full_name), {}
    for framework in FRAMEWORKS:
        models[framework] = pairs.backend(framework).build(definition)
    with torch.device("meta"):
        module = models["pytorch"](**definition.model)
    inputs = jax_backend._example_batch(definition)
    variables = jax_backend._variable_shapes(models["jax"], inputs)
    expected = {
        "jax": jax.tree.map(lambda x: tuple(x.shape), variables["params"]),
        "pytorch": {name: tuple(x.shape) for name, x in module.named_parameters()},
    }
    for framework in FRAMEWORKS:
        backend = pairs.backend(framework)
        shapes = backend.shapes(models[framework], definition)
        assert backend.tree(lambda name, x: x, shapes) == expected[framework]


def test_same_seed_gives_the_same_start(mini_name: str) -> None:
    flat = {}
    for framework in FRAMEWORKS:
        _, parameters, state = pairs.started(mini_name, framework)
        flat[framework] = pairs.backend(framework).canonical(parameters, state)
    assert set(flat["jax"]) == set(flat["pytorch"])
    for name, value in flat["jax"].items():
        np.testing.assert_array_equal(value, flat["pytorch"][name], err_msg=name)


def test_one_pass_agrees(mini_name: str) -> None:
    """Also: what the padded rows hold changes nothing, nor does leaving them out.

    That the rows may be left out is shown in PyTorch, with which JAX agrees: in JAX a
    batch of another size would be compiled anew.
    """
    ours, theirs = (one_pass(mini_name, framework) for framework in FRAMEWORKS)
    close(ours["outputs"][:6], theirs["outputs"][:6], 2e-4)
    for key in ("summed", "n_valid_examples", "per_example"):
        close(ours["loss"][key], theirs["loss"][key], 1e-4)
    close_gradients(ours["gradients"], theirs["gradients"], 2e-3)
    for name, value in theirs["statistics"].items():
        close(ours["statistics"][name], value, 1e-4, name)
    for fill in (0, 100):
        check_same(ours, one_pass(mini_name, "jax", fill))
        check_same(theirs, one_pass(mini_name, "pytorch", fill))
    check_same(theirs, one_pass(mini_name, "pytorch", rows=6))


def one_pass(
    name: str, framework: str, fill: int | None = None, rows: int = 8
) -> dict[str, Any]:
    """Returns what `pairs.forward_backward` does of 6 rows and of padded ones.

    Args:
      name: of the workload.
      framework: of the model.
      fill: in the padded rows; None for noise.
      rows: in all, at most 8.
    """
    made, parameters, state = pairs.with_weights(name, framework)
    batch = pairs.random_batch(made, size=8, padded=2)
    for key in batch.keys() - {"weights"} if fill is not None else ():
        for value in jax.tree.leaves(batch[key]):
            # A target is a number of a class or a label of a text.
            value[6:] = min(fill, 1) if key == "targets" else fill
    batch = jax.tree.map(lambda value: value[:rows], batch)
    return pairs.forward_backward(made, parameters, state, batch)


def check_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Asserts that loss, gradients and statistics are the same but for rounding."""
    close(one["loss"]["summed"], other["loss"]["summed"], 1e-5)
    close_gradients(one["gradients"], other["gradients"], 1e-3)
    for name, value in one["statistics"].items():
        close(value, other["statistics"][name], 1e-3, name)


def test_evaluation_agrees(distinct_name: str) -> None:
    outputs = {}
    for framework in FRAMEWORKS:
        made, parameters, state = pairs.with_weights(distinct_name, framework)
        batch = made.place(pairs.random_batch(made, size=6, padded=0))
        backend = pairs.backend(framework)
        found = backend.predict(made._model, parameters, state, batch)
        outputs[framework] = pairs.visible(found)
    close(outputs["jax"], outputs["pytorch"], 2e-4)


def test_recalibration_agrees(distinct_name: str) -> None:
    statistics = {}
    for framework in FRAMEWORKS:
        made, parameters, state = pairs.with_weights(distinct_name, framework)
        batches = [
            made.place(pairs.random_batch(made, size=8, padded=padded, seed=padded))
            for padded in (0, 2, 4)
        ]
        state = made.recalibrate(parameters, state, batches)
        flat = pairs.backend(framework).canonical(parameters, state)
        statistics[framework] = {
            name: value
            for name, value in flat.items()
            if name.split(".")[-1] in params.STATISTICS
        }
    _, module, _ = pairs.started(distinct_name, "pytorch")
    layers = [x for x in module.modules() if isinstance(x, BatchNorm)]
    assert len(statistics["jax"]) == 3 * len(layers)
    for name, value in statistics["pytorch"].items():
        close(statistics["jax"][name], value, 1e-4, name)


def test_twenty_steps_agree(
    distinct_name: str, folders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "logs_at", lambda step: True)
    losses = {f: trajectory(distinct_name, f, folders, steps=20) for f in FRAMEWORKS}
    ours, theirs = np.array(losses["jax"]), np.array(losses["pytorch"])
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
    assert not np.allclose(ours, ours[0], rtol=1e-3)  # it does train


def trajectory(name: str, framework: str, folders: Any, steps: int) -> list[float]:
    """Returns the loss of every step of the reference NadamW on the workload's data."""
    made = pairs.workload(name, framework, folders)
    backend = pairs.backend(framework)
    algorithm = load_algorithm("nadamw", framework)
    point = json.loads(DEFAULTS.read_text())[0]
    hyperparameters = namedtuple(point)
    parameters, state = made.init_model_fn(backend.make_rng(seeds.pair(1, "model")))
    optimizer = algorithm.init_optimizer_state(
        made, parameters, state, hyperparameters, backend.make_rng((1, 2))
    )
    losses: list[float] = []
    made.metrics_logger = Listener(losses)
    with_queue = made.train_queue(32, seed=4)
    queue = InputQueue(with_queue, made)
    for step in range(steps):
        optimizer, parameters, state = algorithm.update_params(
            workload=made,
            current_param_container=parameters,
            current_params_types=made.model_params_types,
            model_state=state,
            hyperparameters=hyperparameters,
            batch=next(queue),
            loss_type=made.loss_type,
            optimizer_state=optimizer,
            eval_results=[],
            global_step=step,
            rng=backend.make_rng(seeds.pair(1, "step", step)),
        )
    with_queue.close()
    assert len(losses) == steps
    return losses


class Listener:
    """A metrics logger that keeps the loss."""

    def __init__(self, losses: list[float]) -> None:
        self.losses = losses

    def append_scalar_metrics(self, metrics: Any, global_step: int) -> None:
        assert global_step == len(self.losses)
        self.losses.append(float(metrics["loss"]))


def load_algorithm(name: str, framework: str) -> Any:
    path = registry.ROOT / "reference_algorithms" / name / f"{framework}.py"
    return submission.load(path)


def close_gradients(ours: Any, theirs: Any, tolerance: float) -> None:
    """Asserts equality of all gradients, each relative to its largest entry.

    Some have none but rounding noise, which is compared with the gradient of another:
    the bias of attention's keys, since softmax ignores what all keys share, and a bias
    right before a batch norm, which removes the mean.
    """
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        other = name.replace("key.bias", "query.bias")
        other = other.replace("subsample.linear.bias", "subsample.linear.weight")
        close(ours[name], value, tolerance, name, theirs[other])


def close(
    ours: Any, theirs: Any, tolerance: float, name: str = "", yardstick: Any = None
) -> None:
    """Asserts equality relative to the largest entry of the expected array."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape, name
    scale = max(np.abs(theirs if yardstick is None else yardstick).max(), 1e-6)
    worst = np.abs(ours - theirs).max() / scale
    assert worst <= tolerance, f"{name}: off by {worst:.2g} of the largest entry"
