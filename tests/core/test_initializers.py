import math

import numpy as np
import pytest

from algorithmic_efficiency.initializers import (
    TRUNCATED_STDDEV,
    Constant,
    LecunNormal,
    Normal,
    Uniform,
    XavierUniform,
)

SHAPES = [(64, 32, 5, 5), (300, 200)]
CUT = 2.0 / TRUNCATED_STDDEV  # bound of the truncated law in its own deviations


def draw(law, shape, seed=0):
    return law(shape, np.random.default_rng(seed))


LAWS = [Constant(8.0), Normal(0.01), LecunNormal(), Uniform(0.1), XavierUniform()]


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_are_float32_of_the_shape_and_reproducible(law, shape):
    values = draw(law, shape)
    assert (values.dtype, values.shape) == (np.float32, shape)
    np.testing.assert_array_equal(values, draw(law, shape))


def test_constant_has_one_value_and_draws_nothing():
    random = np.random.default_rng(3)
    np.testing.assert_array_equal(Constant(8.0)((5,), random), [8.0] * 5)
    assert random.integers(1 << 30) == np.random.default_rng(3).integers(1 << 30)


def test_normal_has_its_deviation_and_normal_tails():
    values = draw(Normal(0.01), (1000, 200)) / 0.01
    error = 1.0 / math.sqrt(values.size)
    assert abs(values.mean()) < 4 * error
    assert abs(values.std() - 1.0) < 4 * error
    assert abs(np.mean(np.abs(values) > 2.0) - 0.0455) < 0.003
    assert np.abs(values).max() > 4.0


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_lecun_normal_is_truncated_and_has_variance_one_over_fan_in(shape):
    fan_in = math.prod(shape[1:])
    values = draw(LecunNormal(), shape) * math.sqrt(fan_in)
    error = 1.0 / math.sqrt(values.size)
    assert abs(values.mean()) < 4 * error
    assert abs(values.std() - 1.0) < 4 * error
    assert np.abs(values).max() <= CUT * (1 + 1e-6)
    assert np.abs(values).max() > 0.999 * CUT
    # P(|z| < 1) = 0.6827 of the parent normal, over the 0.9545 that were kept.
    inner = np.mean(np.abs(values) < 1.0 / TRUNCATED_STDDEV)
    assert abs(inner - 0.6827 / 0.9545) < 0.01


def test_uniform_fills_its_interval_evenly():
    values = draw(Uniform(0.25), (1000, 200)) / 0.25
    assert -1 <= values.min() < -0.9999
    assert 0.9999 < values.max() <= 1
    counts, _ = np.histogram(values, 20, (-1, 1))
    np.testing.assert_allclose(counts, 10_000, rtol=0.05)


# The limits are worked out by hand: sqrt(6 / (fan_in + fan_out)).
@pytest.mark.parametrize(
    ("shape", "limit"),
    [
        ((512, 512), math.sqrt(6 / 1024)),
        ((1024, 512), math.sqrt(6 / 1536)),
        ((512, 1, 3, 3), math.sqrt(6 / (9 + 4608))),
        ((512, 1, 5), math.sqrt(6 / (5 + 2560))),
    ],
)
def test_xavier_uniform_has_the_limit_of_its_fans(shape, limit):
    values = draw(XavierUniform(), shape)
    assert 0.99 * limit < np.abs(values).max() <= limit * (1 + 1e-6)
    assert values.std() == pytest.approx(limit / math.sqrt(3), rel=0.05)


def test_the_truncation_constant_is_the_laws_deviation():
    # Variance of N(0, 1) truncated to [-2, 2]: 1 - 4 phi(2) / (2 Phi(2) - 1).
    density = math.exp(-2.0) / math.sqrt(2 * math.pi)
    variance = 1.0 - 4.0 * density / math.erf(math.sqrt(2.0))
    assert math.sqrt(variance) == pytest.approx(TRUNCATED_STDDEV, rel=1e-12)


def test_equal_rows_are_one_object_to_a_definition():
    assert Normal(0.01) == Normal(0.01) != Normal(0.02)
    assert LecunNormal() == LecunNormal()
    assert hash(Constant(1.0)) == hash(Constant(1.0))
