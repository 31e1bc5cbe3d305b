import subprocess
import sys

import numpy as np
import pytest

from algorithmic_efficiency import seeds


def test_values_are_fixed_for_ever():
    # blake2b of b"7/init_model", by Python's hashlib; little-endian 31-bit words.
    assert seeds.pair(7, "init_model") == (180295136, 1266901225)
    assert seeds.integer(7, "init_model") == 180295136


def test_pairs_are_in_range_and_use_all_of_it():
    values = np.array([seeds.pair(3, "step", step) for step in range(2000)])
    assert values.min() >= 0
    assert values.max() < 2**31
    for column in values.T:
        # Uniform on [0, 2**31): mean 1/2, standard error 0.29 / sqrt(2000) = 0.0065.
        assert abs(column.mean() / 2**31 - 0.5) < 0.03
        counts = np.bincount(column >> 28, minlength=8)
        assert counts.min() > 180  # 250 expected, standard deviation 15


def test_uses_trials_and_seeds_do_not_share_numbers():
    uses = [
        seeds.pair(seed, "study", study, "trial", trial, use, step)
        for seed in (0, 1, 2**31 - 1)
        for study in range(3)
        for trial in range(3)
        for use in ("update_params", "data_selection")
        for step in range(5)
    ]
    assert len({first for first, _ in uses}) == len(uses)
    assert len({second for _, second in uses}) == len(uses)


def test_the_path_matters_not_only_its_letters():
    paths = [(1, 2, 3), (1, 23), (12, 3), (123,), (1, 3, 2), (1, "2", "3x")]
    assert len({seeds.pair(*path) for path in paths}) == len(paths)


@pytest.mark.parametrize("names", [(), ("data",), ("study", 0, "trial", 0)])
def test_seed_zero_is_a_seed_like_any_other(names):
    assert seeds.pair(0, *names) == seeds.pair(0, *names)
    assert seeds.pair(0, *names) != seeds.pair(1, *names)


def test_streams_are_independent_and_reproducible():
    one = seeds.generator(5, "initial", "conv1.weight").standard_normal(4000)
    same = seeds.generator(5, "initial", "conv1.weight").standard_normal(4000)
    other = seeds.generator(5, "initial", "conv2.weight").standard_normal(4000)
    np.testing.assert_array_equal(one, same)
    # Correlation of independent samples: standard deviation 1 / sqrt(4000) = 0.016.
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.07
    assert abs(one.mean()) < 0.07


def test_a_stream_ignores_numpys_global_generator():
    np.random.seed(1)
    one = seeds.generator(5, "x").integers(1000, size=10)
    np.random.seed(2)
    np.testing.assert_array_equal(seeds.generator(5, "x").integers(1000, size=10), one)


def test_loading_grain_draws_nothing():
    code = (
        "import numpy as np; from algorithmic_efficiency.data import background;"
        "np.random.seed(3); background.grain(); print(np.random.rand())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    wanted = np.random.RandomState(3).rand()
    assert float(run.stdout) == wanted
