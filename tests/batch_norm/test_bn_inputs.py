"""Cases 34 to 40: shapes, dtypes and degenerate inputs."""

import bn_layers
import bn_models as models
import numpy as np
import pytest
import torch
from bn_models import same, snapshot
from bn_reference import Reference
from torch import nn

from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm, batch_norm_mode

frameworks = pytest.mark.parametrize("framework", bn_layers.FRAMEWORKS)
SCALE, BIAS = np.float32([1.5, -0.7, 0.3]), np.float32([0.1, 2.0, -1.0])
TRAINING = {"update": True, "use_running_average": False}


def make(framework, **settings):
    return bn_layers.LAYERS[framework](SCALE, BIAS, **settings)


def data(shape=(4, 5, 3), seed=0):
    rng = np.random.default_rng(seed)
    return np.float32(rng.normal(2, 3, shape)), np.float32(rng.normal(size=shape))


def ragged(lengths, steps=5):
    return np.arange(steps)[None] < np.array(lengths)[:, None]


@frameworks
def test_case_34_one_example_with_several_positions(framework):
    layer = make(framework)
    y, *_ = layer(*data((1, 5, 3)), **TRAINING)
    np.testing.assert_allclose(((y - BIAS) / SCALE).std((0, 1)), 1, rtol=1e-4)
    assert layer.state[2] == 1


@frameworks
@pytest.mark.parametrize("update", [False, True])
def test_case_34_one_value_per_channel_raises_and_moves_nothing(framework, update):
    layer = make(framework)
    before = layer.state
    with pytest.raises(ValueError, match="per channel"):
        layer(*data((1, 1, 3)), update=update, use_running_average=False)
    for one, other in zip(before, layer.state, strict=True):
        np.testing.assert_array_equal(one, other)


def test_case_34_torch_layers_raise_and_move_nothing_when_frozen():
    layer = nn.BatchNorm1d(3)
    before = snapshot(layer)
    with pytest.raises(ValueError), batch_norm_mode(layer, update=False):
        layer(torch.ones(1, 3))
    assert same(before, snapshot(layer))


@frameworks
@pytest.mark.parametrize("variance", ["unbiased", "population"])
def test_case_34_one_valid_position_gives_the_bias(framework, variance):
    layer = make(framework, variance=variance)
    x, dy = data()
    y, dx, dscale, dbias = layer(x, dy, ragged([0, 1, 0, 0]), **TRAINING)
    np.testing.assert_array_equal(y[1, 0], BIAS)
    assert not np.delete(y.reshape(-1, 3), 5, 0).any()
    np.testing.assert_allclose(layer.state[0], 0.1 * x[1, 0], rtol=1e-6)
    np.testing.assert_allclose(layer.state[1], 0.9, rtol=1e-6)
    np.testing.assert_allclose(dx, 0, atol=1e-3)
    np.testing.assert_array_equal(dscale, 0)
    np.testing.assert_array_equal(dbias, dy[1, 0])


@frameworks
@pytest.mark.parametrize("momentum", [0.1, None])
def test_case_35_nothing_valid_is_no_update(framework, momentum):
    layer = make(framework, momentum=momentum)
    layer(*data(), ragged([5, 2, 1, 4]), **TRAINING)
    before = layer.state
    for value in layer(*data(seed=1), ragged([0, 0, 0, 0]), **TRAINING):
        np.testing.assert_array_equal(value, 0)
    for one, other in zip(before, layer.state, strict=True):
        np.testing.assert_array_equal(one, other)
    assert layer.state[2] == 1


@frameworks
@pytest.mark.parametrize("running", [False, True])
def test_case_35_a_padded_row_is_ignored(framework, running):
    x, dy = data()
    mode = {"update": True, "use_running_average": running}
    with_row, without = make(framework), make(framework)
    whole = with_row(x, dy, ragged([5, 0, 3, 1]), **mode)
    part = without(x[[0, 2, 3]], dy[[0, 2, 3]], ragged([5, 3, 1]), **mode)
    for one, other in zip(whole[:2], part[:2], strict=True):
        np.testing.assert_allclose(one[[0, 2, 3]], other, rtol=1e-5, atol=1e-6)
        assert not one[1].any()
    for one, other in zip(with_row.state, without.state, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@frameworks
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("lengths", [(5, 0, 3, 1), (0, 0, 0, 0), (0, 1, 0, 0)])
def test_case_36_poison_in_padding_changes_nothing(framework, poison, running, lengths):
    mask = ragged(lengths)
    mode = {"update": True, "use_running_average": running}
    results = []
    for value in (0.0, poison):
        layer, (x, dy) = make(framework), data()
        x[~mask], dy[~mask] = value, value
        results.append((*layer(x, dy, mask, **mode), *layer.state))
    for clean, poisoned in zip(*results, strict=True):
        np.testing.assert_array_equal(clean, poisoned)
        assert np.isfinite(poisoned).all()


def test_case_36_poison_in_padded_images_changes_nothing():
    weights, results = torch.tensor([1.0, 0.0, 1.0]), []
    for value in (0.0, torch.nan):
        layer = BatchNorm(3)
        x = torch.tensor(data((3, 3, 2, 4))[0])
        x[1] = value
        y = layer(x.requires_grad_(), weights)
        (y**2).sum().backward()
        results.append([y, x.grad, layer.weight.grad, *layer.buffers()])
    for clean, poisoned in zip(*results, strict=True):
        assert torch.equal(clean, poisoned)


@frameworks
def test_case_37_masked_is_plain_batch_norm_of_the_valid_positions(framework):
    (x, dy), mask = data(), ragged([5, 2, 0, 4])
    masked, plain = make(framework), make(framework)
    expected = plain(x[mask], dy[mask], **TRAINING)
    found = masked(x, dy, mask, **TRAINING)
    for one, other in zip(found[:2], expected[:2], strict=True):
        np.testing.assert_allclose(one[mask], other, rtol=1e-5, atol=1e-6)
    for one, other in zip(found[2:], expected[2:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    for one, other in zip(masked.state, plain.state, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("mask_shape", [(3,), (3, 4)])
def test_case_37_both_channel_axes_and_mask_ranks_agree(mask_shape):
    x = torch.tensor(data((3, 4, 2, 3))[0])
    mask = torch.arange(np.prod(mask_shape)).reshape(mask_shape) % 3 > 0
    last, first = BatchNorm(3, channel_axis=-1), BatchNorm(3)
    y = first(x.movedim(-1, 1), mask).movedim(1, -1)
    torch.testing.assert_close(last(x, mask), y)
    for one, other in zip(last.buffers(), first.buffers(), strict=True):
        torch.testing.assert_close(one, other)


@frameworks
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("masked", [False, True])
def test_case_38_low_precision_inputs(framework, dtype, masked):
    mask = ragged([5, 2, 0, 4]) if masked else None
    rounded = torch.tensor(data()[0]).to(getattr(torch, dtype)).float().numpy()
    exact, low = make(framework), make(framework)
    expected = exact(rounded, data()[1], mask, **TRAINING)[0]
    y = bn_layers.forward_in(low, rounded, dtype, mask)
    assert str(y.dtype).endswith(dtype)
    np.testing.assert_allclose(np.float32(y), expected, rtol=1e-2, atol=2e-2)
    for one, other in zip(exact.state[:2], low.state[:2], strict=True):
        assert other.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


@frameworks
def test_case_38_large_half_precision_values_do_not_overflow(framework):
    rng = np.random.default_rng(0)
    x = np.float32(np.float16(rng.normal(300, 2, (100_000, 3))))
    layer = make(framework, momentum=1.0)
    y = bn_layers.forward_in(layer, x, "float16", None)
    assert np.isfinite(np.float32(y)).all()
    np.testing.assert_allclose(layer.state[0], np.float64(x).mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.state[1], np.float64(x).var(0), rtol=1e-4)


def test_case_38_casting_our_layer_keeps_its_statistics_exact():
    layer = models.random_state(BatchNorm(3))
    mean = layer.running_mean.clone()
    layer.bfloat16()
    assert layer.weight.dtype == torch.bfloat16
    assert torch.equal(layer.running_mean, mean)
    layer(torch.ones(4, 3, dtype=torch.bfloat16))
    assert layer.running_mean.dtype == torch.float32
    assert layer.double().running_mean.dtype == torch.float64


@pytest.mark.parametrize("mask", [None, torch.tensor([1, 0, 1, 1])])
def test_case_39_memory_format_does_not_matter(mask):
    x = torch.tensor(data((4, 3, 5, 6))[0])
    forms = [
        x,
        x.to(memory_format=torch.channels_last),
        x.transpose(2, 3).contiguous().transpose(2, 3),
        torch.stack([x, x], -1)[..., 0],
    ]
    layers = [BatchNorm(3) for _ in forms]
    outputs = [layer(form, mask) for layer, form in zip(layers, forms, strict=True)]
    for layer, y in zip(layers, outputs, strict=True):
        torch.testing.assert_close(y, outputs[0])
        torch.testing.assert_close(layer.running_var, layers[0].running_var)
    assert outputs[1].is_contiguous(memory_format=torch.channels_last)


@frameworks
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("ratio", [1e3, 1e4])
def test_case_40_large_mean_over_deviation(framework, masked, ratio):
    x = np.float32(np.random.default_rng(0).normal(ratio, 1, (32, 8, 3)))
    dy = data(x.shape)[1]
    mask = np.arange(8)[None] < np.arange(32)[:, None] % 9 if masked else None
    layer = make(framework, momentum=1.0)
    reference = Reference(SCALE, BIAS, momentum=1.0)
    expected = reference(x, dy, mask, **TRAINING)
    found = layer(x, dy, mask, **TRAINING)
    np.testing.assert_allclose(layer.state[1], reference.var, rtol=4e-5)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-6 * ratio, rtol=1e-4)


@frameworks
@pytest.mark.parametrize("shape", [(3,), (4, 4), (4, 5, 3)])
def test_a_mask_that_does_not_fit_is_refused(framework, shape):
    with pytest.raises(ValueError, match="Found a mask of shape"):
        make(framework)(*data(), np.ones(shape, bool), **TRAINING)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"variance": "biased"}, "Found variance='biased'"),
        ({"channel_axis": 2}, "Found channel_axis=2"),
    ],
)
def test_settings_that_do_not_exist_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        BatchNorm(3, **settings)


def test_function_transforms_work_on_the_masked_layer():
    layer, mask = BatchNorm(3, channel_axis=-1), torch.tensor([1, 1, 0, 1])
    x = torch.tensor(data((4, 3))[0], requires_grad=True)
    with batch_norm_mode(layer, update=False):  # torch lets them change no buffer
        expected = torch.autograd.grad(layer(x, mask).pow(3).sum(), x)[0]
        found = torch.func.grad(lambda x: layer(x, mask).pow(3).sum())(x.detach())
    torch.testing.assert_close(found, expected)
