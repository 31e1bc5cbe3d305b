"""PyTorch: a run that is stopped in the middle goes on bit for bit."""

import contextlib
import copy
import os
import pickle
from typing import NamedTuple

import pytest
import torch
from state_round_trip import Trip
from torch import nn
from torch.optim.swa_utils import AveragedModel

from algorithmic_efficiency import state as states
from algorithmic_efficiency.backends.pytorch import PyTorchBackend
from algorithmic_efficiency.errors import StorageError
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm, batch_norm_mode
from algorithmic_efficiency.runner import checkpoint
from algorithmic_efficiency.state import file

KINDS = PyTorchBackend.kinds


def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)
    )


def backward(params, seed):
    batch = torch.randn(8, 3, generator=torch.Generator().manual_seed(seed))
    (params(batch) ** 2).sum().backward()


def step(state, params, seed):
    """One step of whatever is in the state, dropout from the global generator."""
    for optimizer in (v for v in state.values() if hasattr(v, "zero_grad")):
        if isinstance(optimizer, torch.optim.Optimizer):
            optimizer.zero_grad()
            backward(params, seed)
            optimizer.step()
    for other in state.values():
        if hasattr(other, "get_last_lr"):
            other.step()
        if isinstance(other, AveragedModel):
            other.update_parameters(params)


def adamw(params):
    optimizer = torch.optim.AdamW(params.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 0.9**n)
    return {"optimizer": optimizer, "schedule": schedule}


def several(params):
    state = {"optimizer": torch.optim.SGD(params.parameters(), 0.1, momentum=0.9)}
    first = torch.optim.lr_scheduler.LinearLR(state["optimizer"], total_iters=2)
    then = torch.optim.lr_scheduler.CosineAnnealingLR(state["optimizer"], 9)
    state["schedule"] = torch.optim.lr_scheduler.SequentialLR(
        state["optimizer"], [first, then], [2]
    )
    return state


def averaged(params):
    return {**adamw(params), "ema": AveragedModel(params, use_buffers=True)}


STARTS = {
    "AdamW and LambdaLR": adamw,
    "SGD and SequentialLR": several,
    "AveragedModel": averaged,
    "AMSGrad": lambda params: {
        "optimizer": torch.optim.Adam(params.parameters(), amsgrad=True)
    },
    "NAdam": lambda params: {"optimizer": torch.optim.NAdam(params.parameters())},
}


@pytest.mark.parametrize("name", STARTS)
def test_training_goes_on_bit_for_bit(name):
    trip = Trip(KINDS, STARTS[name], model)

    def train(state, steps):
        for seed in steps:
            step(state["optimizer_state"], state["params"], seed)

    trip.save(lambda state: train(trip.state, range(3)))
    generator = torch.get_rng_state()
    assert trip.problems == []
    train(trip.state, range(3, 6))
    back = trip.load()
    torch.set_rng_state(generator)
    train(back, range(3, 6))
    _assert_same(trip.state, back)


# PyTorch warns where a schedule that has made one step meets a plain `step`.
@pytest.mark.filterwarnings("ignore:Seems like `optimizer.step")
@pytest.mark.parametrize("name", ["AdamW and LambdaLR", "SGD and SequentialLR"])
def test_a_restart_with_a_new_optimizer_and_schedule_goes_on(name):
    trip = Trip(KINDS, STARTS[name], model)

    def restart(state):
        params = trip.state["params"]
        step(state, params, 0)
        state.update(STARTS[name](params))
        step(state, params, 1)

    trip.save(restart)
    generator = torch.get_rng_state()
    assert trip.problems == []
    for seed in (2, 3):
        step(trip.state["optimizer_state"], trip.state["params"], seed)
    back = trip.load()
    torch.set_rng_state(generator)
    for seed in (2, 3):
        step(back["optimizer_state"], back["params"], seed)
    _assert_same(trip.state, back)


def _assert_same(one, other):
    """Compares two states bit by bit, by what is written of them."""
    parts = []
    for state in (one, other):
        content, blocks, _ = states.encode(state, states.Origin(KINDS, {}))
        parts.append((content["state"], [b.read().tobytes() for b in blocks]))
    assert parts[0] == parts[1]


def test_lists_of_parameters_are_the_models_own():
    def start(params):
        return {
            "list": list(params.parameters()),
            "by": {p: torch.zeros_like(p) for p in params.parameters()},
            "object": Holder(params),
            "module": params,
        }

    trip = Trip(KINDS, start, model)
    trip.save(lambda state: [v.add_(1) for v in state["by"].values()] and None)
    back = trip.load()
    state, own = back["optimizer_state"], list(back["params"].parameters())
    assert trip.problems == []
    assert all(a is b for a, b in zip(state["list"], own, strict=True))
    assert all(a is b for a, b in zip(state["by"], own, strict=True))
    assert all(v.eq(1).all() for v in state["by"].values())
    assert state["object"].params[1] is own[1]
    assert state["module"] is back["params"]


class Holder:
    def __init__(self, params):
        self.params = list(params.parameters())


def test_gradients_flags_and_buffers_come_back():
    def train(state):
        params = trip.state_params = state["model"]
        backward(params, 1)
        params[0].weight.requires_grad_(False)
        params.eval()
        params[1].running_mean.add_(3)

    trip = Trip(KINDS, lambda params: {"model": params}, model)
    trip.save(train)
    params = trip.load()["params"]
    for (name, a), (_, b) in zip(
        trip.state_params.named_parameters(), params.named_parameters(), strict=True
    ):
        assert torch.equal(a, b), name
        assert torch.equal(a.grad, b.grad), name
        assert a.requires_grad == b.requires_grad
    assert not params.training
    assert torch.equal(params[1].running_mean, trip.state_params[1].running_mean)


class Pair(NamedTuple):
    a: torch.Tensor
    b: int


def test_tensors_of_all_forms():
    values = {
        "bfloat16": torch.randn(3, dtype=torch.bfloat16),
        "bool": torch.tensor([True, False]),
        "complex": torch.randn(2, dtype=torch.complex64),
        "float8": torch.randn(4).to(torch.float8_e4m3fn),
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 3),
        "expanded": torch.ones(1).expand(4),
        "channels_last": torch.randn(1, 2, 3, 4).to(memory_format=torch.channels_last),
        "pair": [Pair(torch.ones(2), 3)],
        "dtype": [torch.float16, torch.device("cpu"), torch.Size([1, 2])],
        "learned": nn.Parameter(torch.ones(2)),
    }
    back = Trip(KINDS, dict).run(lambda state: state.update(values))
    for name, value in values.items():
        if not isinstance(value, torch.Tensor):
            continue
        other = back[name]
        assert (other.dtype, other.shape) == (value.dtype, value.shape), name
        assert other.stride() == value.stride(), name
        if value.dtype is torch.float8_e4m3fn:
            other, value = other.float(), value.float()  # noqa: PLW2901
        assert torch.equal(other, value), name
        assert type(other) is type(value)
    assert torch.equal(back["pair"][0].a, torch.ones(2))
    assert type(back["pair"][0]) is Pair
    assert back["dtype"] == values["dtype"]


def test_views_share_a_storage():
    def start(params):
        size = sum(p.numel() for p in params.parameters())
        return {"flat": torch.zeros(size), "views": []}

    def train(state):
        state["views"] = list(state["flat"].split(5))
        state["flat"][3] = 7

    trip = Trip(KINDS, start, model)
    trip.save(train)
    back = trip.load()["optimizer_state"]
    back["views"][0][4] = 9
    assert back["flat"][3:6].tolist() == [7, 9, 0]


def test_parameters_that_became_views_of_one_vector():
    def train(state):
        params = list(state["model"].parameters())
        flat = torch.cat([p.detach().reshape(-1) for p in params])
        parts = flat.split([p.numel() for p in params])
        for p, part in zip(params, parts, strict=True):
            p.data = part.view(p.shape)
        state["flat"] = flat

    trip = Trip(KINDS, lambda params: {"model": params}, model)
    trip.save(train)
    back = trip.load()
    back["optimizer_state"]["flat"].fill_(2)
    assert all(p.eq(2).all() for p in back["params"].parameters())


def test_a_momentum_keeps_its_precision():
    """`load_state_dict` would give it the parameter's."""

    def start(params):
        return {"o": torch.optim.SGD(params.parameters(), 0.1, momentum=0.9)}

    def train(state):
        for group in state["o"].param_groups:
            for p in group["params"]:
                state["o"].state[p]["half"] = torch.ones(2, dtype=torch.bfloat16)

    trip = Trip(KINDS, start, model)
    trip.save(train)
    (first, *_) = trip.load()["optimizer_state"]["o"].state.values()
    assert first["half"].dtype is torch.bfloat16


def test_what_appears_in_training():
    def train(state):
        state["none"] = torch.ones(3)
        state["copy"] = copy.deepcopy(state["model"])
        state["copy"][0].weight.data.fill_(5)
        state["new"] = torch.optim.SGD(state["copy"].parameters(), 0.1)
        state["generator"] = torch.Generator().manual_seed(3)
        torch.rand(1, generator=state["generator"])

    trip = Trip(KINDS, lambda params: {"model": params, "none": None}, model)
    trip.save(train)
    assert trip.problems == []
    back = trip.load()["optimizer_state"]
    assert back["none"].tolist() == [1, 1, 1]
    assert back["copy"][0].weight.eq(5).all()
    assert back["copy"][0] is not back["model"][0]
    assert back["new"].param_groups[0]["params"][0] is back["copy"][0].weight
    assert torch.equal(
        torch.rand(2, generator=back["generator"]),
        torch.rand(2, generator=trip.trained["generator"]),
    )


def test_a_graph_is_named_and_its_value_kept():
    trip = Trip(KINDS, lambda params: {"model": params}, model)
    trip.save(lambda state: state.update(loss=state["model"][0].weight.sum()))
    (problem,) = trip.problems
    assert not problem.fatal
    assert "keep tensor.detach()" in str(problem)
    assert torch.equal(trip.load()["optimizer_state"]["loss"], trip.trained["loss"])


def test_a_hook_made_in_training_is_lost_by_name():
    trip = Trip(KINDS, lambda params: {"model": params}, model)
    trip.save(
        lambda state: state["model"][0].register_forward_hook(lambda *a: None) and None
    )
    (problem,) = trip.problems
    assert str(problem).startswith("params.0._forward_hooks[")


def test_sparse_tensors_are_named():
    trip = Trip(KINDS, dict)
    trip.save(lambda state: state.update(x=torch.eye(2).to_sparse()))
    assert "torch.sparse_coo is not saved" in str(trip.problems[0])


def test_another_model_names_the_parameter():
    trip = Trip(KINDS, lambda params: {}, model)
    trip.save(lambda state: None)
    trip._params = lambda: nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5))
    with pytest.raises(
        states.Misfit, match=r"params\.0\.weight is .*\[4, 3\].*\[5, 3\]"
    ):
        trip.load()


def test_a_compiled_module_is_restored_inside():
    def compiled():
        return torch.compile(model())

    def train(state):
        state["model"]._orig_mod[0].weight.data.fill_(3)

    trip = Trip(KINDS, lambda params: {"model": params}, compiled)
    trip.save(train)
    assert trip.problems == []
    back = trip.load()["params"]
    assert back._orig_mod[0].weight.eq(3).all()
    assert back.get_parameter("0.weight") is back._orig_mod[0].weight


class Evil:
    def __reduce__(self):
        return os.mkdir, (os.environ["EVIL"],)


@pytest.mark.parametrize("form", ["torch.save", "pickle", "named class"])
def test_no_code_runs_from_a_file(tmp_path, monkeypatch, form):
    monkeypatch.setenv("EVIL", str(tmp_path / "evil"))
    path = tmp_path / "checkpoint_1"
    state = {"params": model(), "optimizer_state": {}}
    origin = states.Origin(KINDS, state)
    if form == "torch.save":
        torch.save({"meta": Evil()}, path)
    elif form == "pickle":
        path.write_bytes(pickle.dumps(Evil()))
    else:
        content, blocks, _ = states.encode(state, origin)
        for node in (
            {"kind": "object", "as": 10**6, "class": {"named": "subprocess:Popen"}},
            {"kind": "code", "as": 10**6, "named": "os:mkdir"},
            {"kind": "code", "as": 10**6, "from": "os.mkdir"},
            {"kind": "enum", "as": 10**6, "class": {"named": "subprocess:Popen"}},
        ):
            content["state"]["optimizer_state"] = {**node, "attrs": {}, "value": "ls"}
            file.write(path, {**content, "meta": {}}, blocks, keep=False)
            with pytest.raises(StorageError):
                checkpoint.newest_whole(tmp_path, None, state, origin)
    with pytest.raises(StorageError):
        checkpoint.newest_whole(tmp_path, None, state, origin)
    assert not (tmp_path / "evil").exists()


def test_a_layer_that_a_block_holds_is_saved_as_it_was_before():
    """A signal may come while a forward pass holds the layers of a model."""

    def start():
        return {"net": nn.Sequential(BatchNorm(4))}

    held = contextlib.ExitStack()

    def interrupted(state):
        state["net"][0].running_mean += 1
        block = batch_norm_mode(state["net"], update=False, use_running_average=False)
        held.enter_context(block)

    trip = Trip(KINDS, start)
    trip.save(interrupted)
    layer = trip.load()["optimizer_state"]["net"][0]
    held.close()
    assert trip.problems == []
    assert layer.running_mean.eq(1).all()
    assert vars(layer).keys() == vars(start()["net"][0]).keys()
