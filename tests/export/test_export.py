"""`algoperf export`: a trained model as an ONNX file, checked by ONNX Runtime."""

import dataclasses

import jax
import numpy as np
import pytest
import torch

from algorithmic_efficiency import registry
from algorithmic_efficiency import state as states
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.definition import Field
from algorithmic_efficiency.errors import StorageError, UsageError
from algorithmic_efficiency.export import check, command, pytorch, trained
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm
from algorithmic_efficiency.runner import checkpoint, records
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.trial import Progress

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")
pytest.importorskip("onnxscript", reason="the package onnxscript is not installed")

NAME = "tiny_resnet"
SHAPE = (16, 16, 3)


@pytest.fixture(autouse=True, scope="module")
def tiny_resnet():
    """Registers a ResNet of one block, whose files take a second each."""
    found = registry.get("imagenet_resnet_mini")
    model = {**found.model, "num_classes": 3, "stage_sizes": (1,), "width": 4}
    fields = {**found.fields, "inputs": Field(SHAPE, "float32", "HWC")}
    tiny = dataclasses.replace(found, name=NAME, model=model, fields=fields)
    table = registry.definitions()
    table[NAME] = tiny
    yield
    del table[NAME]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Returns framework -> folder of a trial with a checkpoint of changed values."""
    return {
        name: save(name, tmp_path_factory.mktemp(name)) for name in ("pytorch", "jax")
    }


def save(framework, folder):
    backend = base.make(framework)
    definition = registry.get(NAME)
    model = backend.build(definition)
    params, model_state = backend.init(model, definition, (1, 2))
    state = {"params": params, "model_state": model_state, "optimizer_state": {}}
    origin = states.Origin(backend.kinds, state)
    draw = np.random.default_rng(0).uniform
    if framework == "pytorch":
        with torch.no_grad():
            for value in params.state_dict().values():
                if value.is_floating_point():
                    value += torch.tensor(np.float32(draw(0, 0.2, tuple(value.shape))))
    else:
        changed = jax.tree.map(
            lambda x: x + np.asarray(draw(0, 0.2, x.shape), x.dtype),
            (params, model_state),
        )
        state["params"], state["model_state"] = changed
    writer = checkpoint.Writer(folder, backend, origin, keep_all=False, tell=print)
    writer.save(state, checkpoint.describe(Progress(step=7), Clock()))
    facts = {"workload": NAME, "framework": framework}
    records.write_json(folder / "run.json", facts)
    return folder


def images(count, seed=1):
    values = np.random.default_rng(seed).normal(size=(count, *SHAPE))
    return {"inputs": values.astype(np.float32), "targets": np.zeros(count, np.int32)}


@pytest.fixture(scope="module")
def files(folders, tmp_path_factory):
    """Returns (framework, training) -> (model, file, difference)."""
    out = tmp_path_factory.mktemp("files")
    made = {}
    for framework, folder in folders.items():
        model = trained.load(trained.find(folder))
        for training in (False, True):
            path = out / f"{framework}_{training}.onnx"
            gap = command.write(model, images(4), path, training=training)
            made[framework, training] = trained.load(trained.find(folder)), path, gap
    return made


CASES = pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
BOTH = pytest.mark.parametrize("framework", ["pytorch", "jax"])


@BOTH
@CASES
def test_a_file_gives_our_outputs_for_another_batch_size_too(
    files, framework, training
):
    model, path, gap = files[framework, training]
    assert 0 <= gap < 1e-5
    onnx.checker.check_model(onnx.load(path), full_check=True)
    batch = images(6, seed=9)
    feeds = {"inputs": np.moveaxis(batch["inputs"], -1, 1)}
    found = check.run(path, feeds)
    wanted = command.ours(model, batch, training=training)
    np.testing.assert_allclose(found["outputs"], wanted["outputs"], atol=1e-4)
    assert (len(found) > 1) is training
    again = check.run(path, feeds)
    assert check.largest_difference(again, found) == 0


@BOTH
def test_the_file_has_the_canonical_names_and_nothing_of_this_machine(files, framework):
    model, path, _ = files[framework, False]
    graph = onnx.load(path).graph
    assert [value.name for value in graph.input] == ["inputs"]
    assert [value.name for value in graph.output] == ["outputs"]
    names = {one.name for one in graph.initializer}
    wanted = {n for n in model.canonical() if not n.endswith("num_batches_tracked")}
    assert {n for n in wanted if "bn" in n or "conv" in n} <= names
    assert str(registry.ROOT).encode() not in path.read_bytes()


@BOTH
@CASES
def test_momentum_and_statistics_in_the_file_are_onnx_s(files, framework, training):
    model, path, _ = files[framework, training]
    nodes = [n for n in onnx.load(path).graph.node if n.op_type == "BatchNormalization"]
    assert len(nodes) == 5
    for node in nodes:
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        assert given["momentum"] == pytest.approx(0.9)  # the weight of the old value
        assert given["epsilon"] == pytest.approx(1e-5)
        assert given.get("training_mode", 0) == training
    canonical = model.canonical()
    norms = check.batch_norms(path)
    assert len(norms) == 5
    for name, norm in norms.items():
        assert norm.momentum == pytest.approx(0.1)  # ours, of the new batch
        np.testing.assert_array_equal(norm.mean, canonical[f"{name}.running_mean"])
        np.testing.assert_array_equal(norm.var, canonical[f"{name}.running_var"])
        np.testing.assert_array_equal(norm.scale, canonical[f"{name}.weight"])


@BOTH
def test_the_new_statistics_move_from_those_that_are_given(files, framework):
    _, path, _ = files[framework, True]
    x = np.moveaxis(images(4)["inputs"], -1, 1)
    given = {
        "bn1.running_mean": np.full(4, 5, np.float32),
        "bn1.running_var": np.full(4, 50, np.float32),
    }
    start = check.run(path, {"inputs": x})
    moved = check.run(path, {"inputs": x, **given})
    norm = check.batch_norms(path)["bn1"]
    for key, old in (("running_mean", norm.mean), ("running_var", norm.var)):
        name = f"updated.bn1.{key}"
        wanted = 0.9 * (given[f"bn1.{key}"] - old)
        np.testing.assert_allclose(moved[name] - start[name], wanted, rtol=1e-5)
    np.testing.assert_array_equal(given["bn1.running_mean"], 5)


def test_a_difference_is_refused_and_no_file_is_left(folders, tmp_path, monkeypatch):
    model = trained.load(trained.find(folders["pytorch"]))
    right = command.ours

    def wrong(*args, **options):
        return {k: v + 0.1 for k, v in right(*args, **options).items()}

    monkeypatch.setattr(command, "ours", wrong)
    with pytest.raises(StorageError, match="Found a difference of .* was not written"):
        command.write(model, images(4), tmp_path / "m.onnx", training=False)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_momentum_is_refused(files):
    model, path, _ = files["pytorch", True]
    norms = check.batch_norms(path)
    module, _ = pytorch.load(model.definition, model.canonical(), images(2))
    layers = pytorch.layers(module)
    check.check_batch_norms(norms, layers, path)
    layers["bn1"].momentum = 0.9
    with pytest.raises(
        StorageError, match="Found momentum 0.1.* of the batch norm bn1"
    ):
        check.check_batch_norms(norms, layers, path)


class Masked(torch.nn.Module):
    """Batch norm of frames with padding, channels last, scale 1 + weight."""

    def __init__(self, **settings):
        super().__init__()
        self.bn = BatchNorm(
            4, channel_axis=-1, zero_centered_scale=True, eps=1e-3, **settings
        )

    def forward(self, batch):
        return self.bn(batch["inputs"], batch["valid"])


def test_padding_is_left_out_in_an_evaluation_and_refused_in_training(tmp_path):
    model = Masked().eval()
    draw = np.random.default_rng(0).normal
    with torch.no_grad():
        for value in (*model.parameters(), model.bn.running_mean):
            value += torch.tensor(np.float32(draw(size=4)))
    x = torch.tensor(np.float32(draw(size=(3, 5, 4))))
    valid = torch.tensor([[1, 1, 1, 0, 0], [1] * 5, [0] * 5], dtype=torch.float32)
    batch = {"inputs": x, "valid": valid}
    path = tmp_path / "m.onnx"
    pytorch.export(model, batch, training=False, notes={}).save(path)
    found = check.run(path, {name: value.numpy() for name, value in batch.items()})
    wanted = model(batch).detach().numpy()
    np.testing.assert_allclose(found["outputs"], wanted, atol=1e-5)
    with pytest.raises(UsageError, match="leaves padding out, which ONNX's operator"):
        pytorch.export(model, batch, training=True, notes={})
    with pytest.raises(UsageError, match="Found momentum None, a cumulative average"):
        pytorch.export(Masked(momentum=None), batch, training=True, notes={})


@pytest.mark.parametrize(
    ("found", "difference"),
    [
        ({"a": np.array([1.0, 20.0])}, 0),
        ({"a": np.array([1.0, 20.2])}, 0.01),
        ({"a": np.array([1.0, np.nan])}, np.inf),
        ({"a": np.ones(3)}, np.inf),
        ({"b": np.array([1.0, 20.0])}, np.inf),
    ],
)
def test_differences_are_relative_to_the_largest_value(found, difference):
    wanted = {"a": np.array([1.0, 20.0])}
    assert check.largest_difference(found, wanted) == pytest.approx(difference)


def test_what_does_not_fit_is_named(folders, tmp_path):
    ours = f"--checkpoint={folders['pytorch']}"
    out = f"--output={tmp_path / 'm.onnx'}"
    for flags, message in (
        ([out], "--checkpoint is missing"),
        ([ours], "--output is missing"),
        ([ours, f"--output={tmp_path}"], "is no file in a folder that exists"),
        ([f"--checkpoint={tmp_path}", out], "is a folder without checkpoints"),
        ([f"--checkpoint={tmp_path}/no", out], "does not exist"),
    ):
        with pytest.raises(UsageError, match=message):
            command.main(flags)
    path = tmp_path / "checkpoint_1"
    path.write_bytes(b"x")
    with pytest.raises(UsageError, match="There is no run.json .* give --workload"):
        trained.load(path)
    with pytest.raises(StorageError, match="is no whole checkpoint"):
        trained.load(path, NAME, "pytorch")
    whole = trained.find(folders["pytorch"])
    with pytest.raises(StorageError, match="holds no plain model of mnist"):
        trained.load(whole, "mnist")
