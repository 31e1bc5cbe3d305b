"""Turning layers into ghosts and back, and torch's own tools on our layers."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.optim.swa_utils import AveragedModel, update_bn

from algorithmic_efficiency.nn.batch_norm.family import batch_norm
from algorithmic_efficiency.nn.batch_norm.ghost import (
    apply_ghost_batchnorm,
    remove_ghost_batchnorm,
)
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm, batch_norm_mode

WORDS = ("batch", "ghost:2", "ema:warmup=2", "accumulated")


def net():
    layers = nn.BatchNorm1d(3), BatchNorm(3), nn.Linear(3, 3)
    return nn.Sequential(*layers, nn.BatchNorm1d(3).eval())


def test_surgery_keeps_everything_but_the_class():
    torch.manual_seed(0)
    model, x, seen = net(), torch.randn(8, 3), []
    before = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model[1].register_forward_hook(lambda *_: seen.append(1))
    objects = [*model.parameters(), *model.buffers()]
    for _ in range(2):  # the second time only sets the size
        assert apply_ghost_batchnorm(model, 4, optimizers=optimizer) is model
    assert all(
        a is b
        for a, b in zip(objects, [*model.parameters(), *model.buffers()], strict=True)
    )
    assert [layer.training for layer in model] == [True, True, True, False]
    assert not torch.equal(model(x), before(x))
    model(x).sum().backward()
    optimizer.step()
    assert seen
    assert isinstance(model[0], nn.BatchNorm1d)
    assert model[0].num_batches_tracked == model[1].num_batches_tracked == 4
    copied = copy.deepcopy(model)
    torch.testing.assert_close(copied(x), model(x))
    with batch_norm_mode(model, update=False):
        model(x)
    assert model[0].num_batches_tracked == 6
    remove_ghost_batchnorm(model)
    assert [type(layer) for layer in model] == [type(layer) for layer in before]
    assert model[1].__dict__.keys() == before[1].__dict__.keys()
    before.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(x), before(x))


def test_surgery_on_a_layer_by_itself_and_a_size_that_cannot_be():
    layer = nn.BatchNorm2d(2)
    assert apply_ghost_batchnorm(layer, 2) is layer
    assert layer.eval()(torch.ones(1, 2, 2, 2)).shape == (1, 2, 2, 2)
    with pytest.raises(ValueError, match="ghost_batch_size=0"):
        apply_ghost_batchnorm(layer, 0)


@pytest.mark.parametrize("word", WORDS)
def test_torchs_tools_see_a_batch_norm(word):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), batch_norm(word, 3, momentum=0.3))
    layer = model[1]
    assert isinstance(layer, _BatchNorm)
    momentum, layer.momentum = layer.momentum, 0  # what SAM's helpers do
    before = layer.running_mean.clone()
    model(torch.randn(4, 3))
    assert torch.equal(layer.running_mean, before)
    layer.momentum = momentum
    averaged = AveragedModel(model)
    batches = [torch.randn(4, 3) for _ in range(3)]
    with torch.no_grad():
        update_bn(batches, averaged)
        inputs = [model[0](batch) for batch in batches]
    expected = torch.stack([x.mean(0) for x in inputs]).mean(0)
    torch.testing.assert_close(averaged.module[1].running_mean, expected)
    assert averaged.module[1].momentum == 0.3


def test_sync_conversion_leaves_our_layers_and_a_working_model():
    model = nn.Sequential(BatchNorm(3, zero_centered_scale=True), nn.BatchNorm1d(3))
    x, expected = torch.randn(5, 3), None
    expected = model(x)
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert type(model[0]) is BatchNorm
    assert type(model[1]) is nn.SyncBatchNorm
    torch.testing.assert_close(model[0].eval()(x), model[0](x))
    torch.testing.assert_close(
        nn.Sequential(model[0].train(), nn.BatchNorm1d(3))(x), expected
    )


def test_a_convolution_and_our_layer_fuse():
    torch.manual_seed(0)
    conv, layer = nn.Conv2d(2, 3, 3), BatchNorm(3)
    for _ in range(3):
        layer(conv(torch.randn(4, 2, 5, 5)))
    conv.eval(), layer.eval()
    x = torch.randn(2, 2, 5, 5)
    fused = fuse_conv_bn_eval(conv, layer)
    torch.testing.assert_close(fused(x), layer(conv(x)), rtol=1e-5, atol=1e-5)
