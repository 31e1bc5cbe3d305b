"""Blocks that end in any order, and copies made inside them, leave nothing behind."""

import contextlib
import copy
import io
import itertools
import pickle

import pytest
import torch
from bn_models import random_state, same, snapshot
from torch import nn

from algorithmic_efficiency.nn.batch_norm.moments import accumulate, recalibrate
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm, batch_norm_mode
from algorithmic_efficiency.pytorch_utils import update_batch_norm_fn

KINDS = {
    "ours": lambda: BatchNorm(3),
    "torch": lambda: nn.BatchNorm1d(3),
    "instance": lambda: nn.InstanceNorm1d(3, track_running_stats=True),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def inputs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, 3, 4, generator=generator) * 2 + 1


def model(kind):
    return nn.Sequential(random_state(KINDS[kind]()), nn.Conv1d(3, 3, 1))


def attributes(module):
    """Returns what a layer holds besides tensors, and which buffers are its own."""
    layer = module[0]
    plain = {k: v for k, v in layer.__dict__.items() if not k.startswith("_buffers")}
    return plain, {name: id(buffer) for name, buffer in layer._buffers.items()}


def statistics(module):
    return torch.cat([buffer.flatten().clone() for buffer in module.buffers()])


def saved_and_loaded(module):
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


def by_pickle(module):
    return pickle.loads(pickle.dumps(module))


def averaged(module):
    return torch.optim.swa_utils.AveragedModel(module).module


def shallow(module):
    return nn.Sequential(copy.copy(module[0]), *module[1:])


COPIES = (copy.deepcopy, by_pickle, saved_and_loaded, averaged, shallow)
copies = pytest.mark.parametrize("copied", COPIES)


def moves_as_usual(module, expected):
    """Asserts that a plain training forward updates as that of an untouched model."""
    for each in (module, expected):
        each.train()(inputs(5))
    assert same(snapshot(expected), snapshot(module))


@kinds
@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_blocks_may_end_in_any_order(kind, order):
    net = model(kind)
    untouched, before = copy.deepcopy(net), attributes(net)
    settings = ((False, None), (True, True), (False, True))
    blocks = [
        batch_norm_mode(net, update=update, use_running_average=running)
        for update, running in settings
    ]
    for block in blocks:
        block.__enter__()
        net(inputs()).sum().backward()
    for position in order:
        blocks[position].__exit__(None, None, None)
    assert attributes(net) == before
    net.zero_grad()
    moves_as_usual(net, untouched)


@kinds
def test_the_later_block_holds_until_it_ends(kind):
    net = model(kind)
    first = batch_norm_mode(net, update=True)
    later = batch_norm_mode(net, update=False)
    start = statistics(net)
    first.__enter__()
    later.__enter__()
    first.__exit__(None, None, None)
    net(inputs())
    assert torch.equal(start, statistics(net))
    later.__exit__(None, None, None)
    net(inputs())
    assert not torch.equal(start, statistics(net))


@kinds
def test_blocks_over_different_parts_may_overlap(kind):
    net = nn.Sequential(KINDS[kind](), KINDS[kind]())
    before = [dict(layer.__dict__) for layer in net]
    whole, part = (batch_norm_mode(each, update=False) for each in (net, net[1]))
    whole.__enter__()
    part.__enter__()
    whole.__exit__(None, None, None)
    assert dict(net[0].__dict__) == before[0]
    start = snapshot(net[1])
    net(inputs())
    assert same(start, snapshot(net[1]))
    part.__exit__(None, None, None)
    assert dict(net[1].__dict__) == before[1]


@kinds
@copies
@pytest.mark.parametrize("running", [None, True, False])
def test_a_copy_made_in_a_block_is_not_frozen(kind, copied, running):
    net = model(kind)
    untouched, before = copy.deepcopy(net), attributes(net)
    frozen = batch_norm_mode(net, update=False, use_running_average=running)
    with batch_norm_mode(net, update=True), frozen:
        made = copied(net)
        start = snapshot(net)
        net(inputs())  # the block still holds for the model itself
        assert same(start, snapshot(net))
    assert attributes(net) == before
    assert made[0].__dict__.keys() == net[0].__dict__.keys()
    moves_as_usual(made, untouched)


@kinds
def test_a_copy_made_in_a_frozen_forward_is_not_frozen(kind):
    net, made = model(kind), []
    untouched = copy.deepcopy(net)
    hook = net[1].register_forward_hook(lambda *_: made.append(copy.deepcopy(net[0])))
    with batch_norm_mode(net, update=False):
        net(inputs())
    hook.remove()
    moves_as_usual(nn.Sequential(*made), nn.Sequential(untouched[0]))


@copies
def test_a_copy_keeps_what_the_user_froze(copied):
    for kind in KINDS:
        net = model(kind)
        net.apply(lambda layer: update_batch_norm_fn(layer, False))
        with batch_norm_mode(net, update=True):
            made = copied(net)
        start = snapshot(made)
        made(inputs())
        assert same(start, snapshot(made))
        made.apply(lambda layer: update_batch_norm_fn(layer, True))
        made(inputs())
        assert not same(start, snapshot(made))


@pytest.mark.parametrize("copied", COPIES[:-1])  # a shallow one shares the buffers
def test_a_copy_made_while_moments_are_collected_collects_none(copied):
    net, made = model("ours"), []
    untouched = copy.deepcopy(net)

    def forward(batch):
        made.append(copied(net))
        return net(batch)

    with accumulate(net):
        forward(inputs())
    recalibrate(net, [inputs()], forward)
    moves_as_usual(copy.deepcopy(made[0]), untouched)
    for each in made:
        assert not each[0]._forward_pre_hooks
        start = snapshot(each)
        each.train()(inputs())
        assert not same(start, snapshot(each))


def test_collecting_and_freezing_may_overlap():
    net = model("ours")
    expected, before = copy.deepcopy(net), attributes(net)
    stack = contextlib.ExitStack()
    collecting = accumulate(net)
    collecting.__enter__()
    net(inputs())
    stack.enter_context(batch_norm_mode(net, update=False))
    collecting.__exit__(None, None, None)
    net(inputs(1))
    stack.close()
    assert attributes(net) == before
    expected(inputs())
    torch.testing.assert_close(net[0].running_mean, expected[0].running_mean)
    moves_as_usual(net, copy.deepcopy(net))
