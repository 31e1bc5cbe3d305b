"""The ONNX operators against their vectors, onnx's own evaluator and ONNX Runtime."""

import functools

import bn_onnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bn_layers import golden

from algorithmic_efficiency.nn.batch_norm.onnx import jax as onnx_jax
from algorithmic_efficiency.nn.batch_norm.onnx import pytorch as onnx_pytorch

CASES = ["op14_nc_m09", "op15_nchw_m09", "op14_nchw_m05", "op15_ncl_m05"]
NAMES = ("y", "running_mean", "running_var", "saved_mean", "saved_inv_std")


class InPyTorch:
    def training(self, *arrays, momentum, eps=1e-5, **saved):
        tensors = map(torch.tensor, arrays)
        result = onnx_pytorch.batch_norm_training(*tensors, momentum, eps, **saved)
        return [value.numpy() for value in result]

    def gradient(self, *arrays, eps=1e-5, **saved):
        tensors = map(torch.tensor, arrays)
        result = onnx_pytorch.batch_norm_gradient(*tensors, eps, **saved)
        return [value.numpy() for value in result]

    def differentiated(self, dy, *arrays, momentum):
        """Returns the gradients of all five inputs, 0 where there is none."""
        inputs = [torch.tensor(value, requires_grad=True) for value in arrays]
        y, *state = onnx_pytorch.batch_norm_training(*inputs, momentum)
        assert not any(value.requires_grad for value in state)
        grads = torch.autograd.grad(y, inputs, torch.tensor(dy), allow_unused=True)
        return [0 if grad is None else grad.numpy() for grad in grads]


class InJax:
    def training(self, *arrays, momentum, eps=1e-5, saved="inv_std"):
        arrays = map(jnp.asarray, arrays)
        return list(map(np.asarray, _jax_training(*arrays, momentum, eps, saved=saved)))

    def gradient(self, *arrays, eps=1e-5, saved="inv_std"):
        arrays = map(jnp.asarray, arrays)
        return list(map(np.asarray, _jax_gradient(*arrays, eps, saved=saved)))

    def differentiated(self, dy, *arrays, momentum):
        """Returns the gradients of all five inputs of sum(y dy) + all the rest."""

        def total(*inputs):
            y, *state = onnx_jax.batch_norm_training(*inputs, momentum)
            return (y * dy).sum() + sum(value.sum() for value in state)

        grads = jax.jit(jax.grad(total, argnums=range(5)))(*map(jnp.asarray, arrays))
        return list(map(np.asarray, grads))


_jax_training = jax.jit(onnx_jax.batch_norm_training, static_argnames="saved")
_jax_gradient = jax.jit(onnx_jax.batch_norm_gradient, static_argnames="saved")
FRAMEWORKS = {"pytorch": InPyTorch(), "jax": InJax()}
both = pytest.mark.parametrize("framework", FRAMEWORKS.values(), ids=FRAMEWORKS)


@both
@pytest.mark.parametrize("case", CASES)
def test_four_steps_of_the_vectors_and_their_gradients(framework, case):
    arrays, config = golden(f"onnx/{case}")
    state = arrays["rm_init"], arrays["rv_init"]
    for step in range(4):
        at = {k[4:]: v for k, v in arrays.items() if k.startswith(f"t{step:02}/")}
        found = framework.training(
            at["x"], arrays["w"], arrays["b"], *state, momentum=config["momentum"]
        )
        wanted = [at[k] for k in ("ort_y_train", "ort_rm", "ort_rv", "saved_mean")] + [
            at["saved_inv_std"]
        ]
        for name, ours, theirs in zip(NAMES, found, wanted, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-5, rtol=0, err_msg=name)
        for ours, theirs in zip(found, ("y_train", "rm", "rv"), strict=False):
            np.testing.assert_allclose(ours, at[theirs], atol=2e-5, rtol=0)
        grads = framework.gradient(at["dy"], at["x"], arrays["w"], *found[3:])
        for ours, theirs in zip(grads, ("dx", "dw", "db"), strict=True):
            np.testing.assert_allclose(ours, at[theirs], atol=1e-5, rtol=1e-5)
        state = found[1:3]
    assert step == 3


def draw(shape, *, seed=0, dtype=np.float32, offset=2.0):
    """Returns x, scale, bias, mean and var; only x has the dtype."""
    rng = np.random.default_rng(seed)
    c = shape[1]
    return (
        np.asarray(rng.normal(offset, 3, shape), dtype),
        *(np.float32(rng.normal(1, 1, c)) for _ in range(3)),
        np.float32(rng.uniform(0.5, 2, c)),
    )


@both
@pytest.mark.parametrize(
    ("shape", "momentum"),
    [((6, 3), 0.9), ((1, 2, 5), 0.25), ((3, 4, 2, 3), 1.0), ((2, 3, 2, 1, 2), 0.0)],
)
def test_equal_to_the_reference_evaluator_and_the_runtime(framework, shape, momentum):
    inputs = draw(shape)
    found = framework.training(*inputs, momentum=momentum)
    for opset in (14, 15):
        model = bn_onnx.model(opset, shape, momentum)
        for theirs in (bn_onnx.evaluate(model, inputs), bn_onnx.run(model, inputs)):
            assert len(theirs) == 3
            for name, a, b in zip(NAMES, found, theirs, strict=False):
                np.testing.assert_allclose(a, b, atol=2e-5, rtol=0, err_msg=name)


@both
@pytest.mark.parametrize("scale_dtype", ["float16", "float32"])
def test_a_float16_input_keeps_float32_statistics(framework, scale_dtype):
    shape = (8, 3, 4, 4)
    x, scale, bias, mean, var = draw(shape, dtype=np.float16, offset=200.0)
    inputs = x, scale.astype(scale_dtype), bias.astype(scale_dtype), mean, var
    y, running_mean, running_var, *saved = framework.training(*inputs, momentum=0.75)
    assert y.dtype == np.float16
    assert {value.dtype for value in (running_mean, running_var, *saved)} == {
        np.dtype("float32")
    }
    wide = [np.float32(value) for value in inputs]
    exact = framework.training(*wide, momentum=0.75)
    for ours, full in zip((running_mean, running_var, *saved), exact[1:], strict=True):
        np.testing.assert_allclose(ours, full, rtol=1e-6)
    model = bn_onnx.model(15, shape, 0.75, x="float16", scale=scale_dtype)
    theirs = bn_onnx.run(model, inputs)
    np.testing.assert_allclose(running_mean, theirs[1], rtol=2e-5)
    np.testing.assert_allclose(running_var, theirs[2], rtol=2e-5)
    # Both round to float16, whose neighbours are 1e-3 apart.
    np.testing.assert_allclose(y, theirs[0], rtol=2e-3, atol=2e-3)
    # The reference evaluator rounds its statistics to float16, which is its own fault.
    reference = bn_onnx.evaluate(model, inputs)
    np.testing.assert_allclose(running_mean, reference[1], rtol=2e-3)
    np.testing.assert_allclose(running_var, reference[2], rtol=2e-3)


@both
def test_momentum_is_the_weight_of_the_old_value(framework):
    x, scale, bias, mean, var = inputs = draw((5, 3, 4))
    _, new_mean, new_var, *_ = framework.training(*inputs, momentum=0.8)
    axes = (0, 2)
    np.testing.assert_allclose(new_mean, 0.8 * mean + 0.2 * x.mean(axes), rtol=1e-5)
    np.testing.assert_allclose(new_var, 0.8 * var + 0.2 * x.var(axes), rtol=1e-5)


@both
def test_gradients_are_those_of_autograd(framework):
    inputs = draw((5, 3, 4, 2), seed=3)
    dy = np.random.default_rng(4).normal(size=(5, 3, 4, 2)).astype(np.float32)
    leaves = [torch.tensor(v, requires_grad=True) for v in inputs[:3]]
    y = F.batch_norm(leaves[0], None, None, *leaves[1:], training=True, eps=1e-3)
    wanted = [grad.numpy() for grad in torch.autograd.grad(y, leaves, torch.tensor(dy))]
    for saved in ("inv_std", "variance"):
        result = framework.training(*inputs, momentum=0.9, eps=1e-3, saved=saved)
        args = (dy, inputs[0], inputs[1], *result[3:])
        found = framework.gradient(*args, eps=1e-3, saved=saved)
        for ours, theirs in zip(found, wanted, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-5)


@both
def test_no_gradient_reaches_the_statistics_and_that_of_y_is_the_operator_s(framework):
    inputs = draw((5, 3, 4))
    dy = np.random.default_rng(5).normal(size=(5, 3, 4)).astype(np.float32)
    *found, mean, var = framework.differentiated(dy, *inputs, momentum=0.9)
    saved = framework.training(*inputs, momentum=0.9)[3:]
    operator = framework.gradient(dy, inputs[0], inputs[1], *saved)
    for ours, theirs in zip(found, operator, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-5)
    assert not np.any(mean) and not np.any(var)


@both
def test_the_two_meanings_of_the_saved_output(framework):
    inputs = draw((6, 3))
    run = functools.partial(framework.training, *inputs, momentum=0.9, eps=1e-3)
    *_, saved_mean, variance = run(saved="variance")
    *_, same_mean, inv_std = run(saved="inv_std")
    np.testing.assert_array_equal(saved_mean, same_mean)
    np.testing.assert_allclose(variance, inputs[0].var(0), rtol=1e-5)
    np.testing.assert_allclose(inv_std, (inputs[0].var(0) + 1e-3) ** -0.5, rtol=1e-5)


@both
def test_one_value_per_channel_has_no_variance(framework):
    x, scale, bias, mean, var = draw((1, 3))
    y, new_mean, new_var, saved_mean, inv_std = framework.training(
        x, scale, bias, mean, var, momentum=0.9
    )
    np.testing.assert_array_equal(y[0], bias)
    np.testing.assert_allclose(new_mean, 0.9 * mean + 0.1 * x[0], atol=1e-6)
    np.testing.assert_allclose(new_var, 0.9 * var, rtol=1e-6)
    np.testing.assert_allclose(inv_std, 1e-5**-0.5, rtol=1e-6)


@both
def test_a_large_offset_costs_no_accuracy(framework):
    x, *rest = draw((16, 3, 8), seed=7, offset=1e4)
    y, _, new_var, *_ = framework.training(x, *rest, momentum=0.0)
    exact = np.float64(x).var((0, 2))
    np.testing.assert_allclose(new_var, exact, rtol=1e-5)
    assert np.isfinite(y).all()


@both
def test_what_does_not_fit_is_named(framework):
    x, scale, bias, mean, var = draw((6, 3))
    with pytest.raises(ValueError, match="Found saved='std'; expected one of"):
        framework.training(x, scale, bias, mean, var, momentum=0.9, saved="std")
    with pytest.raises(
        ValueError, match=r"Found bias of shape \(2,\); expected \(3,\)"
    ):
        framework.training(x, scale, bias[:2], mean, var, momentum=0.9)
    with pytest.raises(ValueError, match="at least one value per channel"):
        framework.training(x[:0], scale, bias, mean, var, momentum=0.9)
    with pytest.raises(ValueError, match="Found saved_mean of shape"):
        framework.gradient(x, x, scale, mean[:1], var)
