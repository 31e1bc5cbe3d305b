"""The family in both frameworks: parity, and each member against what it means."""

import bn_family
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from algorithmic_efficiency.nn.batch_norm import norms
from algorithmic_efficiency.nn.batch_norm.ghost import GhostBatchNorm
from algorithmic_efficiency.nn.batch_norm.jax import BatchNorm as JaxBatchNorm
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm, batch_norm_mode

SETTINGS = {
    "ghost": {"ghost_batch_size": 3},
    "ghost exact": {"ghost_batch_size": 3, "statistics": "exact"},
    "ghost cumulative": {"ghost_batch_size": 3, "momentum": None},
    "ema": {"warmup_steps": 3, "momentum": 0.2, "variance": "population"},
    "ema cumulative": {"momentum": None},
    "ema by batch": {"normalise_with": "batch"},
    "ema 675": {"normalise_with": "batch", "compatibility": "equinox-675"},
    "accumulated": {"variance": "population"},
}


def test_every_word_is_read_and_any_other_refused():
    read = {word: norms.parse(word) for word in ("batch", "accumulated", "ema")}
    assert [read[word].kind for word in read] == list(read)
    assert norms.parse("ema:warmup=500").options == {"warmup_steps": 500}
    ghost = norms.parse("ghost:8,statistics=exact").options
    assert ghost == {"ghost_batch_size": 8, "statistics": "exact"}
    for word in ("", "ghost", "ghost:0", "ghost:x", "ema:0", "ema:warmup=0", "batch:2"):
        with pytest.raises(ValueError, match="Found norm="):
            norms.parse(word)


@pytest.mark.parametrize("size", range(1, 12))
def test_chunks_are_those_of_torch(size):
    for examples in range(1, 40):
        chunks = torch.zeros(examples).chunk(-(-examples // size))
        groups = norms.ghost_groups(examples, size)
        ours = [part for number, part in groups for _ in range(number)]
        assert ours == [len(chunk) for chunk in chunks]


@pytest.mark.parametrize("name", SETTINGS)
def test_jax_is_pytorch_with_padding_and_a_moved_scale(name):
    kind, rng = name.split()[0], np.random.default_rng(len(name))
    scale, bias = rng.normal(1, 0.5, 3), rng.normal(size=3)
    pair = [
        bn_family.LAYERS[f](kind, scale, bias, **SETTINGS[name])
        for f in bn_family.LAYERS
    ]
    pair[1].compiled = True
    mask = np.ones((7, 4), np.float32)
    mask[1, 2:] = mask[6] = 0
    for step in range(4):
        x = rng.normal(2, 3, (7, 4, 3)).astype(np.float32)
        dy = rng.normal(size=x.shape).astype(np.float32)
        for layer in pair:
            layer.set_parameters(scale + (step // 2), bias)
        flags = {"update": step != 1, "use_running_average": False}
        ours, theirs = (layer(x, dy, mask, **flags) for layer in pair)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
        for a, b in zip(pair[0].state, pair[1].state, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    flags = {"update": False, "use_running_average": True}
    ours, theirs = (layer(x, dy, mask, **flags)[0] for layer in pair)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    names = {"mean": "running_mean", "var": "running_var"}
    for key, value in pair[1].stats.items():  # what a step has collected, too
        if key != "count":
            buffer = pair[0].layer.get_buffer(names.get(key, key))
            np.testing.assert_allclose(buffer, value, rtol=1e-4, atol=2e-5, err_msg=key)


SHAPES = [(10, 3, 4, 2), (9, 3, 5), (12, 3), (8, 3, 2, 2, 2)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("last", [False, True], ids=["planes", "rows"])
def test_ghosts_in_one_call_are_chunks_one_after_another(shape, last):
    torch.manual_seed(0)
    ghost, loop = GhostBatchNorm(3, ghost_batch_size=4), BatchNorm(3)
    for layer in (ghost, loop):
        layer.weight.data.copy_(torch.tensor([0.5, 1.0, 2.0]))
    for _ in range(2):
        x, dy = torch.randn(shape) + 1, torch.randn(shape)
        if last:
            x = x.movedim(1, -1).contiguous().movedim(-1, 1)
        seen = []
        for layer in (ghost, loop):
            layer.zero_grad()
            given = x.clone().requires_grad_()
            if layer is ghost:
                y = ghost(given)
            else:
                chunks = given.chunk(-(-len(x) // 4))
                loop.momentum = 0.1 / len(chunks)
                y = torch.cat([loop(chunk) for chunk in chunks])
            y = torch.relu_(y)  # activations in place are allowed
            y.backward(dy)
            seen.append((y, given.grad, layer.weight.grad, layer.bias.grad))
        for ours, theirs in zip(*seen, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=2e-6, atol=2e-6)
    for name, buffer in loop.named_buffers():
        torch.testing.assert_close(ghost.get_buffer(name), buffer, rtol=1e-6, atol=1e-6)


def test_the_gradient_of_ghosts_in_any_layout_and_order():
    for last in (False, True):
        x = torch.randn(4, 1, 2, 2, dtype=torch.float64)
        if last:
            x = x.contiguous(memory_format=torch.channels_last)
        layer = GhostBatchNorm(1, ghost_batch_size=2).double()
        x.requires_grad_()
        assert torch.autograd.gradcheck(layer, x)
        assert torch.autograd.gradgradcheck(layer, x)


@pytest.mark.parametrize("framework", bn_family.LAYERS)
def test_exact_ghost_statistics_are_those_of_the_whole_batch(framework):
    rng = np.random.default_rng(0)
    settings = {"ghost_batch_size": 4, "statistics": "exact"}
    ghost = bn_family.LAYERS[framework]("ghost", np.ones(3), np.zeros(3), **settings)
    plain = BatchNorm(3, channel_axis=-1)
    for _ in range(3):
        x = rng.normal(5, 2, (10, 4, 3)).astype(np.float32)
        ghost(x, x, update=True, use_running_average=False)
        plain(torch.tensor(x))
    np.testing.assert_allclose(ghost.state[0], plain.running_mean, rtol=1e-6)
    np.testing.assert_allclose(ghost.state[1], plain.running_var, rtol=1e-6)
    assert ghost.state[2] == 3


@pytest.mark.parametrize("framework", bn_family.LAYERS)
def test_small_batches_of_a_ghost_batch_norm(framework):
    make = bn_family.LAYERS[framework]
    ghost = make("ghost", np.ones(2), np.zeros(2), ghost_batch_size=3)
    x = np.float32([[0, 1], [2, 5]])
    before = ghost.state
    ghost(x, x, update=False, use_running_average=True)
    y, *_ = ghost(x, x, update=True, use_running_average=False)  # one chunk
    np.testing.assert_allclose(y, [[-1, -1], [1, 1]], atol=1e-5)
    assert ghost.state[2] == before[2] + 1
    seven = np.ones((7, 2), np.float32)  # chunks of 3, 3 and 1
    with pytest.raises(ValueError, match="ghost batch with one value"):
        ghost(seven, seven, update=True, use_running_average=False)
    assert ghost.state[2] == before[2] + 1


@pytest.mark.parametrize("framework", bn_family.LAYERS)
def test_the_moving_average_has_no_trace_of_its_start(framework):
    make, rng = bn_family.LAYERS[framework], np.random.default_rng(1)
    layer = make("ema", np.ones(2), np.zeros(2), momentum=0.1, warmup_steps=2)
    stored, left, history = 0.0, 1.0, []
    for step in range(4):
        x = rng.normal(3, 2, (6, 2)).astype(np.float32)
        y, *_ = layer(x, x, update=True, use_running_average=False)
        batch = x.astype(np.float64).mean(0)
        left, stored = 0.9 * left, 0.1 * batch + 0.9 * stored
        history.append((y, x))
        np.testing.assert_allclose(layer.state[0], stored / (1 - left), rtol=1e-6)
        # The text of the pull request: f of the way to left * batch + stored.
        done = min(step, 2) / 2
        mean = (1 - done) * batch + done * (left * batch + stored)
        # The mean of the outputs tells which mean was subtracted.
        ratio = (y[0] - y[1]) / (x[0] - x[1])
        np.testing.assert_allclose(y.mean(0), (batch - mean) * ratio, atol=2e-6)
    first, x = history[0]
    np.testing.assert_allclose(first, (x - x.mean(0)) / x.std(0), atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warmup_steps": 0}, "warmup_steps=0"),
        ({"normalise_with": "mean"}, "normalise_with='mean'"),
        ({"compatibility": "keras"}, "compatibility='keras'"),
    ],
)
@pytest.mark.parametrize("framework", bn_family.LAYERS)
def test_settings_of_the_moving_average_are_checked(framework, settings, message):
    with pytest.raises(ValueError, match=message):
        layer = bn_family.LAYERS[framework]("ema", [1, 1], [0, 0], **settings)
        x = np.ones((4, 2), np.float32)
        layer(x, x, update=True, use_running_average=False)


OPTIONS = ({"affine": False}, {"bias": False}, {"track_running_stats": False})


@pytest.mark.parametrize("options", OPTIONS, ids=lambda each: next(iter(each)))
def test_options_of_torchs_layer_in_both_frameworks(options):
    torch.manual_seed(0)
    ours = BatchNorm(3, **options)
    own = {key: value for key, value in options.items() if key != "bias"}
    theirs = nn.BatchNorm1d(3, **own)
    rename = {"bias": "use_bias"}
    jax_layer = JaxBatchNorm(**{rename.get(k, k): v for k, v in options.items()})
    x = torch.randn(6, 3) + 2
    given = jnp.asarray(x.numpy())
    variables = jax_layer.init(jax.random.key(0), given, use_running_average=True)
    names = {"weight": "scale", "bias": "bias"}
    kept = {names[name] for name, _ in ours.named_parameters()}
    assert set(variables.get("params", {})) == kept
    assert ("batch_stats" in variables) == ours.track_running_stats
    for training in (True, False):
        y, state = jax_layer.apply(
            variables,
            given,
            use_running_average=not training,
            mutable=["batch_stats"] if training else [],
        )
        variables = {**variables, **state}
        expected = theirs.train(training)(x)
        torch.testing.assert_close(ours.train(training)(x), expected)
        np.testing.assert_allclose(y, expected.detach(), rtol=1e-5, atol=1e-6)
    with batch_norm_mode(ours, update=False):
        ours.train()(x)
    assert dict(ours.named_buffers()).keys() == dict(theirs.named_buffers()).keys()
