"""Cases 1 to 10 and 18 to 22: freezing in PyTorch leaves nothing behind."""

import functools

import bn_models as models
import pytest
import torch
from bn_models import EVAL, TRAIN, random_state, same, snapshot
from torch import nn

from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm, batch_norm_mode
from algorithmic_efficiency.pytorch_utils import update_batch_norm_fn

ours = functools.partial(BatchNorm, 3)
torchs = functools.partial(nn.BatchNorm1d, 3)
both = pytest.mark.parametrize("make", [ours, torchs], ids=["ours", "torch"])


def inputs(seed=0, *, rows=6):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 3, 4, generator=generator) * 2 + 1


def call(module, update, x=None, **options):
    with batch_norm_mode(module, update=update, **options):
        return module(inputs() if x is None else x)


def apply_flag(module, update):
    module.apply(functools.partial(update_batch_norm_fn, update_batch_norm=update))


@both
def test_case_01_two_frozen_forwards_then_one_update(make):
    layer = make()
    before = snapshot(layer)
    call(layer, False, inputs(1))
    call(layer, False, inputs(2))
    assert same(before, snapshot(layer))
    call(layer, True)
    assert layer.momentum == 0.1
    assert layer.num_batches_tracked == 1
    expected = 0.1 * inputs().mean((0, 2))
    torch.testing.assert_close(layer.running_mean, expected)


@both
def test_case_02_frozen_output_is_bitwise_the_updating_output(make):
    layer = random_state(make())
    assert torch.equal(call(layer, False), call(layer, True))


@both
def test_case_03_an_exception_leaves_nothing_behind(make):
    model = nn.Sequential(make(), nn.Linear(5, 2))  # 4 columns arrive: it raises
    before = snapshot(model)
    with pytest.raises(RuntimeError):
        call(model, False)
    assert same(before, snapshot(model))
    call(model[0], True)
    assert model[0].num_batches_tracked == 1


@both
def test_case_04_momentum_zero_stays_zero(make):
    layer = make(momentum=0.0)
    call(layer, False)
    call(layer, True)
    assert layer.momentum == 0.0
    assert layer.running_mean.eq(0).all()
    assert layer.running_var.eq(1).all()


@both
@pytest.mark.parametrize("frozen", [False, True])
def test_case_05_a_momentum_set_by_the_user_survives(make, frozen):
    layer = make()
    apply_flag(layer, False)
    apply_flag(layer, not frozen)
    layer.momentum = 0.05
    for update in (False, True, False, False, True):
        apply_flag(layer, update)
        assert layer.momentum == 0.05
    layer(inputs())
    torch.testing.assert_close(layer.running_mean, 0.05 * inputs().mean((0, 2)))


@both
def test_case_06_cumulative_mean_counts_updating_batches_only(make):
    layer = make(momentum=None)
    for seed, update in enumerate([True, False, False, True, False, True]):
        call(layer, update, inputs(seed))
    means = torch.stack([inputs(seed).mean((0, 2)) for seed in (0, 3, 5)])
    torch.testing.assert_close(layer.running_mean, means.mean(0))
    assert layer.momentum is None


@both
@pytest.mark.parametrize("poison", [torch.inf, -torch.inf, torch.nan])
def test_case_07_a_poisoned_frozen_pass_leaves_the_state_finite(make, poison):
    layer = random_state(make())
    before = snapshot(layer)
    x = inputs()
    x[0, 0, 0] = poison
    call(layer, False, x)
    assert same(before, snapshot(layer))


def test_case_08_eval_with_update_raises_before_anything_is_touched():
    model = random_state(models.TorchNet()).train()
    before = snapshot(model)
    with pytest.raises(ValueError, match="EVAL with update_batch_norm=True"):
        models.torch_model_fn(model, models.torch_batch(), EVAL, update=True)
    assert same(before, snapshot(model))
    with pytest.raises(ValueError, match="EVAL with update_batch_norm=True"):
        models.jax_model_fn(None, None, None, EVAL, None, update=True)


def test_case_09_eval_after_a_frozen_pass_uses_running_statistics():
    model, batch = random_state(models.TorchNet()), models.torch_batch()
    before = models.torch_model_fn(model, batch, EVAL, update=False)
    models.torch_model_fn(model, models.torch_batch(1), TRAIN, update=False)
    assert torch.equal(models.torch_model_fn(model, batch, EVAL, update=False), before)


@both
def test_case_10_nested_blocks_restore_what_surrounds_them(make):
    layer = make()
    before = snapshot(layer)
    with batch_norm_mode(layer, update=False):
        with batch_norm_mode(layer, update=False):
            layer(inputs())
        layer(inputs())
        assert layer.num_batches_tracked == 0
        with batch_norm_mode(layer, update=True):
            layer(inputs())
        assert layer.num_batches_tracked == 1
        layer(inputs())
        assert layer.num_batches_tracked == 1
    assert before[1] == snapshot(layer)[1]


@both
def test_case_18_a_layer_added_between_calls_is_frozen_too(make):
    model = nn.Sequential(make())
    call(model, False)
    model.append(make())
    call(model, False)
    assert model[1].num_batches_tracked == 0
    call(model, True)
    assert model[1].num_batches_tracked == 1


# Case 19 is in test_bn_graphs.py, case 20 in test_bn_devices.py.


@both
def test_case_21_functional_call_with_buffers(make):
    layer = make()
    buffers = {k: v.clone() for k, v in layer.named_buffers()}
    mean = buffers["running_mean"]
    for update in (False, True):
        with batch_norm_mode(layer, update=update):
            torch.func.functional_call(layer, buffers, (inputs(),))
        assert buffers["running_mean"] is mean
        assert bool(mean.eq(0).all()) is not update
    assert buffers["num_batches_tracked"] == 1
    assert layer.running_mean.eq(0).all()


@pytest.mark.parametrize("mask", [None, torch.tensor([1, 1, 1, 0, 1, 1])])
def test_case_22_our_layer_keeps_its_buffers(mask):
    layer = ours()
    held = dict(layer.named_buffers())
    layer(inputs(), mask)
    for name, buffer in layer.named_buffers():
        assert buffer is held[name]
        assert buffer.shape in ((3,), ())
        assert not buffer.requires_grad
    assert not held["running_mean"].eq(0).any()
