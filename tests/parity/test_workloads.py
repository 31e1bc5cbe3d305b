"""What every registered workload must hold in both frameworks; values, not shapes."""

import jax
import numpy as np
import pytest
import torch
from parity import pairs

from algorithmic_efficiency import registry
from algorithmic_efficiency.backends import jax as jax_backend
from algorithmic_efficiency.battery import NotChecked, agreement, invariance
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm
from algorithmic_efficiency.workload import Workload

FRAMEWORKS = pairs.FRAMEWORKS
ATTENTION = {"query": "Q", "key": "K", "value": "V", "out": "OUT"}


def test_full_size_names_shapes_and_types_agree(full_name: str) -> None:
    definition = registry.get(full_name)
    said = agreement.names_and_shapes(definition)
    assert f"with {definition.num_parameters:,} values" in said


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
    agreement.same_start(pairs.pair(mini_name))


def test_one_pass_agrees(mini_name: str, folders: Folders) -> None:
    """Also: what the padded rows hold changes nothing, nor does leaving them out."""
    pair = pairs.with_batches(mini_name, folders)
    agreement.one_pass(pair)
    if agreement.is_plain(pair):
        invariance.padding(pair)


def test_evaluation_agrees(distinct_name: str, folders: Folders) -> None:
    agreement.evaluation(pairs.with_batches(distinct_name, folders))


def test_recalibration_agrees(distinct_name: str, folders: Folders) -> None:
    pair = pairs.with_batches(distinct_name, folders)
    _, module, _ = pair.started("pytorch")
    layers = [x for x in module.modules() if isinstance(x, BatchNorm)]
    if layers:
        said = agreement.recalibration(pair)
        assert said.startswith(f"{3 * len(layers)} running statistics")
    else:
        with pytest.raises(NotChecked, match="no batch norm"):
            agreement.recalibration(pair)


def test_twenty_steps_agree(distinct_name: str, folders: Folders) -> None:
    agreement.twenty_steps(pairs.pair(distinct_name, folders))
