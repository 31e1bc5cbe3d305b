"""Keys of the public API: PyTorch's have the public values, JAX's are jax.random's."""

import jax
import numpy as np
from submission_source import GOOD

from algorithmic_efficiency import random_utils, submission
from algorithmic_efficiency.backends import base


def test_keys_of_pytorch_have_the_published_values():
    base.make("pytorch", compile_models=False)
    key = random_utils.PRNGKey(0)
    assert key.tolist() == [209652396, 398764591]
    assert key.dtype == np.int32
    assert random_utils.split(key, 4).tolist() == [
        [1490491116, 1775704360],
        [1052448728, 939031488],
        [1442483404, 1069925208],
        [369176984, 744606817],
    ]
    folded = random_utils.fold_in(key, 7)
    assert folded[1] == 7
    # Its first number is the first that such a generator draws.
    assert folded[0] == random_utils.split(key, 1)[0, 0]
    assert random_utils.split(key).shape == (2, 2)
    negative = random_utils.split(np.array([-5, 3], np.int32), 2)  # as v0.5 made them
    assert (negative >= 0).all()


def test_keys_of_jax_are_those_of_jax(make_submission):
    base.make("jax")
    source = f"from algoperf import random_utils as prng\nKEY = prng.PRNGKey(3)\n{GOOD}"
    key = submission.load(make_submission(source)).update_params.__globals__["KEY"]
    np.testing.assert_array_equal(key, jax.random.PRNGKey(3))
    split = random_utils.split(key, 3)
    np.testing.assert_array_equal(split, jax.random.split(key, 3))
    folded = random_utils.fold_in(key, 5)
    np.testing.assert_array_equal(folded, jax.random.fold_in(key, 5))
    base.make("pytorch", compile_models=False)
