"""ResNet is one function in both frameworks, whatever its arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from algorithmic_efficiency import params
from workloads.imagenet_resnet import jax as resnet_jax
from workloads.imagenet_resnet import pytorch as resnet_pytorch
from workloads.imagenet_resnet.workload import BASE

SMALL = {"num_classes": 5, "stage_sizes": (1, 2), "width": 4}
BATCH, SIZE = 5, 19
WEIGHTS = np.array([1, 1, 0, 1, 1], np.float32)  # the third example is padding


def torch_shapes(model):
    return {name: tuple(p.shape) for name, p in model.named_parameters()}


def jax_variables(model, size):
    shape = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), {"inputs": shape})


def random_values(shapes, statistics):
    """Values far from the initial ones: no zero scale, no neutral statistics."""
    random = np.random.default_rng(1)
    weights = {
        name: np.float32(random.normal(size=shape) / np.sqrt(np.prod(shape[1:])))
        for name, shape in shapes.items()
    }
    buffers = {
        name: np.float32(random.uniform(0.5, 1.5, buffer.shape))
        if buffer.is_floating_point()
        else np.int64(3)
        for name, buffer in statistics.items()
    }
    return weights, buffers


def batches(count):
    random = np.random.default_rng(2)
    for _ in range(count):
        images = random.normal(size=(BATCH, SIZE, SIZE, 3)).astype(np.float32)
        cotangent = random.normal(size=(BATCH, 5)).astype(np.float32)
        yield images, cotangent * WEIGHTS[:, None]


def run_torch(arguments, values, buffers, train):
    model = resnet_pytorch.Model(**arguments).train(train)
    state = {**values, **buffers}
    model.load_state_dict({k: torch.as_tensor(v) for k, v in state.items()})
    results = []
    for images, cotangent in batches(2):
        model.zero_grad()
        x = torch.from_numpy(images).permute(0, 3, 1, 2)
        logits = model({"inputs": x, "weights": torch.from_numpy(WEIGHTS)})
        (logits * torch.from_numpy(cotangent)).sum().backward()
        gradients = {k: p.grad.numpy().copy() for k, p in model.named_parameters()}
        statistics = {k: b.numpy().copy() for k, b in model.named_buffers()}
        results.append((logits.detach().numpy(), gradients, statistics))
    return results


def run_jax(arguments, values, buffers, train):
    model = resnet_jax.Model(**arguments)
    weights = params.to_jax(values)
    statistics = params.statistics_to_jax(buffers)

    @jax.jit
    def step(weights, statistics, images, cotangent):
        def objective(weights):
            logits, new = model.apply(
                {"params": weights, "batch_stats": statistics},
                {"inputs": images, "weights": jnp.asarray(WEIGHTS)},
                train=train,
                use_running_average=not train,
                mutable=["batch_stats"] if train else [],
            )
            return jnp.sum(logits * cotangent), (logits, new)

        return jax.grad(objective, has_aux=True)(weights)

    results = []
    for images, cotangent in batches(2):
        gradients, (logits, new) = step(weights, statistics, images, cotangent)
        statistics = new.get("batch_stats", statistics)
        flat = params.statistics_from_jax(statistics)
        results.append((np.asarray(logits), params.from_jax(gradients), flat))
    return results


def assert_close(actual, expected, name, tolerance=5e-5):
    scale = np.abs(expected).max() + 1e-6
    np.testing.assert_allclose(
        actual / scale, expected / scale, rtol=0, atol=tolerance, err_msg=name
    )


@pytest.mark.parametrize("activation", ["relu", "silu", "gelu"])
@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
def test_frameworks_agree(activation, train):
    arguments = {**SMALL, "activation": activation}
    model = resnet_pytorch.Model(**arguments)
    values, buffers = random_values(torch_shapes(model), dict(model.named_buffers()))
    expected = run_torch(arguments, values, buffers, train)
    actual = run_jax(arguments, values, buffers, train)
    for (logits, gradients, statistics), theirs in zip(actual, expected, strict=True):
        assert_close(logits, theirs[0], "logits")
        for ours, reference in ((gradients, theirs[1]), (statistics, theirs[2])):
            assert ours.keys() == reference.keys()
            for name, value in reference.items():
                assert_close(ours[name], value, name)
    moved = expected[-1][2]["layer2.1.bn2.running_mean"]
    assert np.array_equal(moved, buffers["layer2.1.bn2.running_mean"]) != train


def test_full_size_has_the_published_parameters_in_both_frameworks():
    with torch.device("meta"):
        model = resnet_pytorch.Model(**BASE.model)
    variables = jax_variables(resnet_jax.Model(**BASE.model), 224)
    shapes = torch_shapes(model)
    assert params.shapes_from_jax(variables["params"]) == shapes
    assert len(shapes) == 161
    assert sum(np.prod(shape) for shape in shapes.values()) == 25_557_032
    assert shapes["layer4.0.downsample.conv.weight"] == (2048, 1024, 1, 1)
    buffers = {name: tuple(b.shape) for name, b in model.named_buffers()}
    theirs = params.statistics_from_jax(
        jax.tree.map(lambda s: np.zeros(s.shape), variables["batch_stats"])
    )
    assert {name: value.shape for name, value in theirs.items()} == buffers


def test_full_size_reduces_the_image_by_32():
    with torch.device("meta"):
        model = resnet_pytorch.Model(**BASE.model)
        seen = []
        model.layer4[2].register_forward_hook(lambda _, __, y: seen.append(y.shape))
        logits = model({"inputs": torch.empty(2, 3, 224, 224)})
    assert seen == [(2, 2048, 7, 7)]
    assert logits.shape == (2, 1000)


@pytest.mark.parametrize("framework", ["pytorch", "jax"])
def test_what_stands_in_a_padded_row_changes_nothing(framework):
    model = resnet_pytorch.Model(**SMALL)
    values, buffers = random_values(torch_shapes(model), dict(model.named_buffers()))
    images, _ = next(batches(1))
    other = images.copy()
    other[WEIGHTS == 0] = 1e4
    outputs = []
    for inputs in (images, other):
        if framework == "pytorch":
            model.load_state_dict(
                {k: torch.as_tensor(v) for k, v in {**values, **buffers}.items()}
            )
            x = torch.from_numpy(inputs).permute(0, 3, 1, 2)
            batch = {"inputs": x, "weights": torch.from_numpy(WEIGHTS)}
            outputs.append(model(batch).detach().numpy())
        else:
            variables = {
                "params": params.to_jax(values),
                "batch_stats": params.statistics_to_jax(buffers),
            }
            logits, _ = resnet_jax.Model(**SMALL).apply(
                variables,
                {"inputs": inputs, "weights": jnp.asarray(WEIGHTS)},
                mutable=["batch_stats"],
            )
            outputs.append(np.asarray(logits))
    real = WEIGHTS != 0
    np.testing.assert_array_equal(outputs[0][real], outputs[1][real])


def test_pytorch_keeps_channels_last_throughout():
    model = resnet_pytorch.Model(**SMALL)
    formats = []

    def record(module, inputs, output):
        channels_last = output.is_contiguous(memory_format=torch.channels_last)
        formats.append(channels_last and module.weight.is_contiguous())

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(record)
    model({"inputs": torch.randn(2, SIZE, SIZE, 3).permute(0, 3, 1, 2)})
    assert formats == [True] * 12


def test_pytorch_changes_no_view_in_place():
    """Backward through a view changed in place copies the gradient and its format."""
    logits = resnet_pytorch.Model(**SMALL)({"inputs": torch.randn(2, 3, SIZE, SIZE)})
    pending, seen = [logits.grad_fn], set()
    while pending:
        node = pending.pop()
        seen.add(node)
        following = {child for child, _ in node.next_functions if child is not None}
        pending.extend(following - seen)
    names = {node.name() for node in seen}
    assert "ReluBackward0" in names
    assert "CopySlices" not in names
