"""Case 19: how often the frameworks compile, and that compiled state is right."""

import bn_models as models
import jax
import numpy as np
import pytest
import torch
from bn_models import EVAL, TRAIN, random_state
from torch import nn
from torch._dynamo.testing import CompileCounter

from algorithmic_efficiency.nn.batch_norm.moments import accumulate, recalibrate
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm, batch_norm_mode

FLAGS = [(TRAIN, True), (TRAIN, False), (EVAL, False)]


def torch_net():
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))


@pytest.mark.parametrize("make", [models.TorchNet, torch_net], ids=["ours", "torch"])
def test_case_19_two_graphs_and_the_right_state_under_compile(make):
    torch.compiler.reset()
    counter = CompileCounter()
    eager, model = (random_state(make()) for _ in range(2))
    compiled = torch.compile(model, backend=counter)
    torch.manual_seed(0)
    for seed, update in enumerate([True, False, True, True, False, False, True]):
        x = torch.tensor(models.batch(seed)["inputs"][:, 0])
        for module in (eager.eval(), compiled):
            module.eval()
            with batch_norm_mode(module, update=update, use_running_average=False):
                module(x)
        for one, other in zip(eager.buffers(), model.buffers(), strict=True):
            torch.testing.assert_close(one, other)
    assert counter.frame_count <= 2


@pytest.mark.parametrize("padded", [False, True])
def test_all_modes_of_a_model_are_at_most_three_graphs(padded):
    torch.compiler.reset()
    counter = CompileCounter()
    model = random_state(models.TorchNet(dropout=0.0))
    compiled = torch.compile(model, backend=counter)
    for seed in range(3):
        batch = models.torch_batch(seed)
        if not padded:
            del batch["weights"]
        for mode, update in FLAGS:
            expected = models.torch_model_fn(model, batch, mode, update=False)
            found = models.torch_model_fn(compiled, batch, mode, update=update)
            torch.testing.assert_close(found, expected)
    assert counter.frame_count <= 3
    assert model.bn1.num_batches_tracked == 3


def test_recalibration_reaches_into_a_compiled_model():
    torch.compiler.reset()
    x = torch.randn(12, 3) + 2
    layer = BatchNorm(3)
    compiled = torch.compile(layer, backend="eager")
    compiled(x)
    recalibrate(compiled, [x[:5], x[5:]])
    torch.testing.assert_close(layer.running_mean, x.mean(0))
    with accumulate(compiled):
        compiled(x)
    assert layer.num_batches_tracked == 2
    torch.testing.assert_close(layer.running_var, x.var(0))


def test_all_modes_of_a_model_are_at_most_three_traces_in_jax():
    model, batch = models.JaxNet(), models.batch()
    variables = models.jax_variables(model, batch)
    traces = []

    def forward(params, stats, batch, mode, update):
        traces.append((mode, update))
        return models.jax_model_fn(
            model,
            {"params": params, "batch_stats": stats},
            batch,
            mode,
            jax.random.key(0),
            update=update,
        )

    compiled = jax.jit(forward, static_argnums=(3, 4))
    stats = variables["batch_stats"]
    for seed in range(3):
        for mode, update in FLAGS:
            _, stats = compiled(
                variables["params"], stats, models.batch(seed), mode, update
            )
    assert sorted(traces, key=str) == sorted(FLAGS, key=str)
    assert stats["bn0"]["count"] == variables["batch_stats"]["bn0"]["count"] + 3
    assert np.isfinite(stats["bn0"]["var"]).all()
