"""The formulations for XLA's CPU give the native operations' values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic_efficiency.nn import jax as layers
from algorithmic_efficiency.nn import jax_cpu


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def native(monkeypatch, function, *arguments):
    """What `function` of nn.jax computes where the backend is not the CPU."""
    with monkeypatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: "gpu")
        return jax.vjp(function, *arguments)


def assert_close(actual, expected):
    scale = float(jnp.abs(expected).max())
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-6 * scale)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 2)])
@pytest.mark.parametrize("channels", [(3, 16), (16, 3)])
def test_1x1_convolution_equals_native(monkeypatch, stride, size, channels):
    x, kernel = normal(0, 3, *size, channels[0]), normal(1, 1, 1, *channels)

    def conv(x, kernel):
        return layers.conv2d(x, kernel, stride)

    expected, expected_vjp = native(monkeypatch, conv, x, kernel)
    actual, vjp = jax.vjp(conv, x, kernel)
    assert_close(actual, expected)
    g = normal(2, *expected.shape)
    for gradient, reference in zip(vjp(g), expected_vjp(g), strict=True):
        assert_close(gradient, reference)


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (2, 1), (1, 6)])
@pytest.mark.parametrize("values", ["distinct", "ties", "negative"])
def test_max_pool_equals_native(monkeypatch, size, values):
    x = normal(3, 2, *size, 4)
    if values == "ties":  # the gradient goes to the first of equal values
        x = jnp.round(x)
    if values == "negative":  # the padding must not win
        x = -jnp.exp(x)
    expected, expected_vjp = native(monkeypatch, layers.max_pool, x)
    actual, vjp = jax.vjp(layers.max_pool, x)
    np.testing.assert_array_equal(actual, expected)
    g = normal(4, *expected.shape)
    assert_close(vjp(g)[0], expected_vjp(g)[0])


def test_max_pool_passes_on_nan():
    x = normal(5, 1, 8, 8, 1).at[0, 3, 3, 0].set(jnp.nan)
    y = layers.max_pool(x)
    expected = np.zeros((4, 4), bool)
    expected[1:3, 1:3] = True  # the four windows that the pixel is in
    np.testing.assert_array_equal(np.isnan(y[0, :, :, 0]), expected)


@pytest.mark.parametrize("backend", ["cpu", "gpu", "tpu"])
def test_the_platform_selects_the_formulation(monkeypatch, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    x, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((1, 1, 2, 3))
    conv = str(jax.make_jaxpr(lambda: layers.conv2d(x, kernel, 1))())
    pool = str(jax.make_jaxpr(lambda: layers.max_pool(x))())
    assert ("conv_general_dilated" in conv) == (backend != "cpu")
    assert ("reduce_window" in pool) == (backend != "cpu")


def test_3x3_stride_2_pads_both_sides():
    """PyTorch's windows, not those of JAX's SAME."""
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    y = layers.conv2d(x, jnp.ones((3, 3, 1, 1)), 2)
    np.testing.assert_array_equal(y[0, :, :, 0], [[10, 24], [51, 90]])


def test_matmul_gradient_under_vmap_and_jit():
    x, w, g = normal(6, 2, 9, 4), normal(7, 4, 5), normal(8, 2, 9, 5)

    def gradient(x, g):
        return jax.vjp(jax_cpu.matmul, x, w)[1](g)[1]

    batched = jax.jit(jax.vmap(gradient))(x, g)
    assert_close(batched, jnp.einsum("bnc,bnf->bcf", x, g))
