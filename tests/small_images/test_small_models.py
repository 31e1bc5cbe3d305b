"""The models against plain ones: PyTorch's own layers, and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from plain_resnet import PlainResNet

from algorithmic_efficiency import params
from workloads.cifar import jax as cifar_jax
from workloads.cifar import pytorch as cifar_pytorch
from workloads.cifar.workload import BASE as CIFAR
from workloads.mnist import jax as mnist_jax
from workloads.mnist import pytorch as mnist_pytorch
from workloads.mnist.workload import BASE as MNIST
from workloads.mnist.workload import WORKLOADS

SIZES, WIDTH, BATCH = (2, 1, 1), 4, 6
WEIGHTS = np.array([1, 1, 0, 1, 1, 1], np.float32)  # the third image is padding
REAL = WEIGHTS > 0


def moved(state):
    """Returns a state dict far from the initial one."""
    random = np.random.default_rng(1)
    values = {}
    for name, value in state.items():
        if not value.is_floating_point():
            values[name] = torch.tensor(3)
        elif name.endswith("running_var"):
            values[name] = torch.tensor(random.uniform(0.5, 1.5, value.shape))
        else:
            fan = max(1, int(np.prod(value.shape[1:])))
            values[name] = torch.tensor(random.normal(size=value.shape) / np.sqrt(fan))
    return values


def batches():
    random = np.random.default_rng(2)
    for _ in range(2):
        images = random.normal(size=(BATCH, 3, 16, 16)).astype(np.float32)
        yield images, random.normal(size=(BATCH, 10)).astype(np.float32)


def plain_steps(train):
    """Yields logits, gradients and statistics of the plain network, without padding."""
    model = PlainResNet(WIDTH, SIZES).double().train(train)
    model.load_state_dict(moved(model.state_dict()))
    for images, cotangent in batches():
        model.zero_grad()
        logits = model(torch.from_numpy(images[REAL]).double())
        (logits * torch.from_numpy(cotangent[REAL])).sum().backward()
        gradients = {k: p.grad.numpy() for k, p in model.named_parameters()}
        yield logits.detach().numpy(), gradients, statistics(model)


def statistics(model):
    return {k: b.numpy().copy() for k, b in model.named_buffers()}


def pytorch_steps(train):
    model = cifar_pytorch.Model(10, SIZES, WIDTH).train(train)
    model.load_state_dict(moved(model.state_dict()))
    for images, cotangent in batches():
        model.zero_grad()
        inputs = torch.from_numpy(images).to(memory_format=torch.channels_last)
        logits = model({"inputs": inputs, "weights": torch.from_numpy(WEIGHTS)})
        (logits * torch.from_numpy(cotangent * WEIGHTS[:, None])).sum().backward()
        gradients = {k: p.grad.numpy() for k, p in model.named_parameters()}
        yield logits.detach().numpy()[REAL], gradients, statistics(model)


def jax_steps(train):  # evaluation is compared with PyTorch's in tests/parity
    model = cifar_jax.Model(10, SIZES, WIDTH)
    state = moved(cifar_pytorch.Model(10, SIZES, WIDTH).state_dict())
    flat = {k: np.asarray(v, np.float32) for k, v in state.items()}
    buffers = {k: v for k, v in flat.items() if k.split(".")[-1] in params.STATISTICS}
    weights = params.to_jax({k: v for k, v in flat.items() if k not in buffers})
    running = params.statistics_to_jax(buffers)

    @jax.jit
    def step(weights, running, images, cotangent):
        def objective(weights):
            logits, new = model.apply(
                {"params": weights, "batch_stats": running},
                {"inputs": images, "weights": jnp.asarray(WEIGHTS)},
                train=train,
                use_running_average=not train,
                mutable=["batch_stats"] if train else [],
            )
            return jnp.sum(logits * cotangent), (logits, new)

        return jax.grad(objective, has_aux=True)(weights)

    for images, cotangent in batches():
        last = images.transpose(0, 2, 3, 1)
        gradients, (logits, new) = step(
            weights, running, last, cotangent * WEIGHTS[:, None]
        )
        running = new.get("batch_stats", running)
        yield (
            np.asarray(logits)[REAL],
            params.from_jax(gradients),
            params.statistics_from_jax(running),
        )


def assert_close(found, expected, name):
    scale = np.abs(expected).max() + 1e-6
    np.testing.assert_allclose(
        found / scale, expected / scale, rtol=0, atol=5e-5, err_msg=name
    )


@pytest.mark.parametrize(
    ("steps", "train"),
    [(pytorch_steps, True), (pytorch_steps, False), (jax_steps, True)],
)
def test_resnet_is_the_plain_one(steps, train):
    for ours, plain in zip(steps(train), plain_steps(train), strict=True):
        assert_close(ours[0], plain[0], "logits")
        for found, expected in zip(ours[1:], plain[1:], strict=True):
            assert found.keys() == expected.keys()
            for name, value in expected.items():
                if not name.endswith("num_batches_tracked"):
                    assert_close(found[name], value, name)


@pytest.mark.parametrize(
    ("definition", "modules", "tensors", "count"),
    [
        (CIFAR, (cifar_pytorch, cifar_jax), 62, 11_173_962),
        (MNIST, (mnist_pytorch, mnist_jax), 4, 101_770),
    ],
    ids=["cifar", "mnist"],
)
def test_full_size_has_the_published_parameters(definition, modules, tensors, count):
    with torch.device("meta"):
        model = modules[0].Model(**definition.model)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert len(shapes) == tensors
    assert sum(np.prod(shape) for shape in shapes.values()) == count
    inputs = jax.ShapeDtypeStruct((1, *definition.fields["inputs"].shape), jnp.float32)
    made = modules[1].Model(**definition.model)
    variables = jax.eval_shape(made.init, jax.random.key(0), {"inputs": inputs})
    assert params.shapes_from_jax(variables["params"]) == shapes
    drawn = params.initial(definition.initial, shapes, (0, 1))
    assert {name: value.shape for name, value in drawn.items()} == shapes
    if definition is CIFAR:
        assert not drawn["layer3.1.bn2.weight"].any()
        assert (drawn["layer3.0.downsample.bn.weight"] == 1).all()
        assert (drawn["bn1.weight"] == 1).all()
        assert np.std(drawn["fc.weight"]) == pytest.approx(0.01, rel=0.05)
        deviation = np.sqrt(1 / (9 * 256))  # of LeCun's law, fan-in 256 * 3 * 3
        assert np.std(drawn["layer4.0.conv1.weight"]) == pytest.approx(
            deviation, rel=0.01
        )
    else:
        assert np.std(drawn["fc1.weight"]) == pytest.approx(1 / 28, rel=0.01)
        assert not drawn["fc1.bias"].any()


def reference(weights, pixels, labels):
    """Returns logits and gradients of the mean cross-entropy, by hand in float64."""
    x = pixels.reshape(len(pixels), -1)
    hidden = 1 / (1 + np.exp(-(x @ weights["fc1.weight"].T + weights["fc1.bias"])))
    logits = hidden @ weights["fc2.weight"].T + weights["fc2.bias"]
    share = np.exp(logits - logits.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    share[np.arange(len(labels)), labels] -= 1
    share /= len(labels)
    back = share @ weights["fc2.weight"] * hidden * (1 - hidden)
    return logits, {
        "fc1.weight": back.T @ x,
        "fc1.bias": back.sum(0),
        "fc2.weight": share.T @ hidden,
        "fc2.bias": share.sum(0),
    }


def mnist_values():
    definition = WORKLOADS["mnist_mini"]
    random = np.random.default_rng(4)
    shapes = {"fc1.weight": (128, 64), "fc2.weight": (10, 128)}
    weights = {name: 0.3 * random.normal(size=shape) for name, shape in shapes.items()}
    weights |= {"fc1.bias": random.normal(size=128), "fc2.bias": random.normal(size=10)}
    pixels = random.normal(size=(7, 8, 8, 1))
    return definition, weights, pixels, random.integers(0, 10, 7)


def test_mnist_in_pytorch_is_the_reference():
    definition, weights, pixels, labels = mnist_values()
    model = mnist_pytorch.Model(**definition.model).double()
    model.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
    logits = model({"inputs": torch.from_numpy(pixels).permute(0, 3, 1, 2)})
    torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).backward()
    expected, gradients = reference(weights, pixels, labels)
    np.testing.assert_allclose(logits.detach().numpy(), expected, rtol=1e-10)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.grad.numpy(), gradients[name], atol=1e-10)


def test_mnist_in_jax_is_the_reference():
    definition, weights, pixels, labels = mnist_values()
    model = mnist_jax.Model(**definition.model)

    @jax.jit
    def objective(tree):
        logits = model.apply(
            {"params": tree}, {"inputs": jnp.asarray(pixels, jnp.float32)}
        )
        picked = jax.nn.log_softmax(logits)[jnp.arange(len(labels)), labels]
        return -picked.mean(), logits

    tree = params.to_jax({k: v.astype(np.float32) for k, v in weights.items()})
    found, logits = jax.grad(objective, has_aux=True)(tree)
    expected, gradients = reference(weights, pixels, labels)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    for name, value in params.from_jax(found).items():
        np.testing.assert_allclose(value, gradients[name], rtol=1e-4, atol=1e-5)
