"""Cases 1 to 22: freezing in PyTorch leaves nothing behind."""

import copy
import functools
import io
import pickle

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
