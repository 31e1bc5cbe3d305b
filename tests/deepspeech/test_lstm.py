"""The LSTM layer of both frameworks against torch's, one utterance at a time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from algorithmic_efficiency.nn.lstm import jax as ours_jax
from algorithmic_efficiency.nn.lstm import pytorch as ours_pytorch

D, H = 12, 8
NAMES = [
    f"{kind}_l0{direction}"
    for direction in ("", "_reverse")
    for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
]


def weights(seed=0):
    random = np.random.default_rng(seed)
    shapes = [(4 * H, D), (4 * H, H), (4 * H,), (4 * H,)] * 2
    return {
        name: random.uniform(-0.35, 0.35, shape).astype(np.float32)
        for name, shape in zip(NAMES, shapes, strict=True)
    }


def batch(lengths, frames, junk=0.0, seed=1):
    """Returns inputs, mask and a gradient of the outputs; `junk` fills the padding."""
    random = np.random.default_rng(seed)
    valid = np.arange(frames) < np.array(lengths)[:, None]
    x, g = (
        np.stack([random.standard_normal((frames, size)) for _ in lengths])
        for size in (D, 2 * H)
    )
    x = np.where(valid[..., None], x, junk).astype(np.float32)
    return x, valid.astype(np.float32), g.astype(np.float32)


def run_pytorch(x, valid, g, packed=False):
    """Returns outputs, gradient of the inputs, and those of the parameters."""
    layer = ours_pytorch.LSTM(D, H)
    layer.load_state_dict({k: torch.from_numpy(v) for k, v in weights().items()})
    x = torch.tensor(x, requires_grad=True)
    frames = ours_pytorch.Frames.of(torch.tensor(valid))
    if packed:  # as on a GPU
        lengths = torch.tensor(valid.sum(1), dtype=torch.int64).clamp(min=1)
        frames = ours_pytorch.Frames(frames.valid, frames.order, lengths)
    y = layer(x, frames)
    (y * torch.tensor(g)).sum().backward()
    gradients = {name: p.grad.numpy() for name, p in layer.named_parameters()}
    return y.detach().numpy(), x.grad.numpy(), gradients


@functools.partial(jax.jit, static_argnums=0)
def jax_gradients(features, variables, x, valid, g):
    layer = ours_jax.LSTM(features)

    def total(variables, x):
        y = layer.apply({"params": variables}, x, valid)
        return (y * g).sum(), y

    return jax.grad(total, (0, 1), has_aux=True)(variables, x)


def run_jax(x, valid, g):
    arrays = map(jnp.asarray, (x, valid, g))
    (gradients, g_x), y = jax_gradients(H, weights(), *arrays)
    return jax.device_get((y, g_x, gradients))


def run_packed(x, valid, g):
    return run_pytorch(x, valid, g, packed=True)


def run_alone(x, valid, g):
    """Runs torch's own layer in float64 on the valid frames of each utterance alone."""
    layer = torch.nn.LSTM(D, H, batch_first=True, bidirectional=True)
    layer.load_state_dict({k: torch.from_numpy(v) for k, v in weights().items()})
    layer.double()
    y, g_x = np.zeros(g.shape), np.zeros(x.shape)
    for row, length in enumerate(valid.sum(1).astype(int)):
        if not length:
            continue
        inputs = torch.tensor(x[row : row + 1, :length]).double().requires_grad_()
        outputs, _ = layer(inputs)
        (outputs * torch.tensor(g[row : row + 1, :length])).sum().backward()
        y[row, :length] = outputs.detach().numpy()[0]
        g_x[row, :length] = inputs.grad.numpy()[0]
    gradients = {name: p.grad.numpy() for name, p in layer.named_parameters()}
    return y, g_x, gradients


RUNS = {"pytorch": run_pytorch, "packed": run_packed, "jax": run_jax}
EACH = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)


def close(ours, theirs, tolerance):
    """Compares outputs and gradients, relative to the largest entry of each array."""
    parts = [*zip(ours[:2], theirs[:2], strict=True)]
    assert set(ours[2]) == set(theirs[2])
    parts += [(ours[2][name], theirs[2][name]) for name in theirs[2]]
    for one, other in parts:
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max())


@EACH
def test_500_frames_of_ragged_utterances(run):
    arrays = batch([500, 0, 1, 2, 333, 499], 500)
    close(run(*arrays), run_alone(*arrays), 2e-5)


def test_frameworks_agree_over_500_frames():
    arrays = batch([500, 0, 1, 2, 333, 499], 500)
    close(run_jax(*arrays), run_pytorch(*arrays), 1e-4)


@EACH
@pytest.mark.parametrize("lengths", [[7, 7], [3], [0, 0], [1, 0]])
def test_equal_lengths_single_rows_and_empty_ones(run, lengths):
    arrays = batch(lengths, 7)
    if sum(lengths):
        close(run(*arrays), run_alone(*arrays), 1e-5)
        return
    y, g_x, gradients = run(*arrays)
    for zero in (y, g_x, *gradients.values()):
        np.testing.assert_array_equal(zero, 0)


@EACH
def test_padding_is_invisible(run):
    lengths = [9, 4, 0, 1]
    short = run(*batch(lengths, 9))
    x, valid, g = batch(lengths, 15, junk=50.0)
    x[:, :9][valid[:, :9] != 0] = batch(lengths, 9)[0][valid[:, :9] != 0]
    g[:, :9] = batch(lengths, 9)[2]
    y, g_x, gradients = run(x, valid, g)
    assert (y[valid == 0] == 0).all()
    assert (g_x[valid == 0] == 0).all()
    close((y[:, :9], g_x[:, :9], gradients), short, 1e-5)


def test_parameters_are_those_of_torch():
    shapes = {name: value.shape for name, value in weights().items()}
    layer = torch.nn.LSTM(D, H, bidirectional=True)
    assert {k: tuple(v.shape) for k, v in layer.state_dict().items()} == shapes
    tree = jax.eval_shape(
        ours_jax.LSTM(H).init, jax.random.key(0), jnp.ones((1, 2, D)), jnp.ones((1, 2))
    )
    assert {k: v.shape for k, v in tree["params"].items()} == shapes
