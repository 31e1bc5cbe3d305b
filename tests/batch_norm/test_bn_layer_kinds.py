"""Cases 11 to 17: freezing copies, saved models and every kind of layer."""

import copy
import io
import pickle

import pytest
import torch
from bn_models import random_state, same, snapshot
from test_bn_freezing import apply_flag, both, call, inputs, torchs
from torch import nn

from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm, batch_norm_mode


def test_case_11_no_tracking_stays_no_tracking():
    layer = torchs(track_running_stats=False)
    expected = layer(inputs())
    for update in (True, False):
        assert torch.equal(call(layer, update), expected)
        assert torch.equal(call(layer.eval(), update), expected)
        assert layer.track_running_stats is False
        assert layer.running_mean is None
        layer.train()
    layer = torchs()  # with buffers, but told by the user not to move them
    layer.track_running_stats = False
    before = snapshot(layer)
    call(layer, True)
    apply_flag(layer, False)
    apply_flag(layer, True)
    layer(inputs())
    assert same(before, snapshot(layer))


def saved_and_loaded(module):
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


COPIES = [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), saved_and_loaded]


@pytest.mark.parametrize("copied", COPIES, ids=["deepcopy", "pickle", "save"])
def test_case_12_copies_made_while_frozen_update_normally(copied):
    layers = BatchNorm(3), nn.BatchNorm1d(3), nn.InstanceNorm1d(3, **TRACK)
    model = nn.Sequential(*layers, nn.LazyBatchNorm1d())
    call(model, False)
    with batch_norm_mode(model, update=False):
        inside = copied(model)
    apply_flag(model, False)
    while_flagged = copied(model)
    apply_flag(while_flagged, True)
    while_flagged(inputs())
    call(inside, True)
    for layer in [*inside, *while_flagged]:
        assert layer.momentum == 0.1
        assert not layer.running_var.eq(1).any()


@both
def test_case_13_state_dict_does_not_depend_on_being_frozen(make):
    layer = random_state(make())
    expected = copy.deepcopy(layer.state_dict())
    with batch_norm_mode(layer, update=False):
        layer(inputs())
        inside = layer.state_dict()
    apply_flag(layer, False)
    for state in (inside, layer.state_dict()):
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[key], expected[key]) for key in expected)
        make().load_state_dict(state, strict=True)


def test_case_13_a_registered_momentum_is_never_saved_as_zero():
    layer = torchs()
    del layer.momentum
    layer.register_buffer("momentum", torch.tensor(0.1))
    apply_flag(layer, False)
    layer(inputs())
    assert layer.state_dict()["momentum"] == torch.tensor(0.1)


@both
def test_case_14_models_that_share_a_layer(make):
    shared = make()
    a, b = nn.Sequential(shared), nn.Sequential(shared, shared)
    call(a, False)
    call(b, False)
    assert shared.num_batches_tracked == 0
    call(b, True)
    assert shared.num_batches_tracked == 2


TRACK = {"track_running_stats": True}


class Masked(nn.Module):
    """Hands a mask to our layer."""

    def __init__(self):
        super().__init__()
        self.bn = BatchNorm(3, channel_axis=1)

    def forward(self, x):
        return self.bn(x, torch.arange(len(x)) < len(x) - 1)


def every_layer():
    return nn.Sequential(
        nn.BatchNorm1d(3),
        nn.SyncBatchNorm(3),
        nn.InstanceNorm1d(3, **TRACK),
        Masked(),
        nn.Sequential(nn.Unflatten(2, (2, 2)), nn.BatchNorm2d(3), nn.Flatten(2)),
        nn.Sequential(nn.Unflatten(2, (2, 1, 2)), nn.BatchNorm3d(3), nn.Flatten(2)),
    )


def test_case_15_every_kind_of_layer_freezes_and_thaws():
    model = random_state(every_layer())
    before = snapshot(model)
    call(model, False, inputs(1))
    assert same(before, snapshot(model))
    frozen = call(model, False)
    assert torch.equal(frozen, call(model, True))
    moved = {k for k, v in model.named_buffers() if not torch.equal(v, before[0][k])}
    expected = {k for k in before[0] if k != "2.num_batches_tracked"}
    assert moved == expected  # instance norm counts nothing


def momenta():
    buffer = torchs()
    del buffer.momentum
    buffer.register_buffer("momentum", torch.tensor(0.2))
    tensor = torchs(momentum=torch.tensor(0.2, dtype=torch.float64))
    parameter = torchs(momentum=nn.Parameter(torch.tensor(0.2), requires_grad=False))
    return [tensor, parameter, buffer]


@pytest.mark.parametrize("index", range(3), ids=["tensor", "parameter", "buffer"])
def test_case_16_a_momentum_that_is_a_tensor_stays_the_same_object(index):
    layer = momenta()[index]
    momentum = layer.momentum
    call(layer, False)
    for update in (False, False, True):
        apply_flag(layer, update)
        assert layer.momentum is momentum
    assert layer.num_batches_tracked == 0
    call(layer, True)
    torch.testing.assert_close(layer.running_mean, 0.2 * inputs().mean((0, 2)))


@pytest.mark.parametrize("flagged", [False, True])
def test_case_17_a_lazy_layer_made_by_a_frozen_forward(flagged):
    layer = nn.LazyBatchNorm1d()
    if flagged:
        apply_flag(layer, False)
        layer(inputs())
        apply_flag(layer, True)
    else:
        call(layer, False)
    assert layer.running_mean.eq(0).all()
    assert layer.running_var.eq(1).all()
    assert layer.num_batches_tracked == 0
    layer(inputs())
    assert layer.num_batches_tracked == 1
    torch.testing.assert_close(layer.running_mean, 0.1 * inputs().mean((0, 2)))
