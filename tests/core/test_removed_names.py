"""Names that JAX and optax removed are there again, and do what they did."""

import subprocess
import sys
import warnings

import pytest
from submission_source import GOOD

from algorithmic_efficiency import registry, removed_names, submission

PLACES = [(m, name) for m, names in removed_names.MOVED.items() for name in names]


@pytest.mark.parametrize(("module", "name"), PLACES)
def test_every_name_can_be_imported_by_a_submission(make_submission, module, name):
    source = f"from {module} import {name}\nGOT = {name}\n{GOOD}"
    got = submission.load(make_submission(source)).update_params.__globals__["GOT"]
    assert got is not None


def test_the_page_on_submissions_lists_them_all():
    page = (registry.ROOT / "docs" / "submissions.md").read_text()
    for module, names in removed_names.MOVED.items():
        row = next(x for x in page.splitlines() if x.startswith(f"| `{module}` |"))
        assert all(f"`{name}`" in row for name in names)


def test_they_are_there_while_it_is_loaded_and_when_it_is_called(make_submission):
    source = f"""
import jax
import jax.numpy as jnp
AT_LOADING = jax.tree_map(lambda x: x + 1, {{"a": 1}})
KEY: jax.random.KeyArray = None

def later():
    config = __import__("jax.config", fromlist=["config"]).config
    ones = jax.tree_map(jnp.ones_like, {{"a": jnp.zeros(2)}})
    leaves, structure = jax.tree_flatten(ones)
    return jax.tree_unflatten(structure, leaves)["a"], config is jax.config
{GOOD}"""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module = submission.load(make_submission(source)).update_params.__globals__
        ones, same = module["later"]()
    assert module["AT_LOADING"] == {"a": 2}
    assert ones.tolist() == [1, 1]
    assert same


def test_the_former_keywords_of_clip(make_submission):
    source = f"""
import jax
import jax.numpy as jnp
X = jnp.arange(5)
CLIPPED = [
    jnp.clip(X, a_min=1, a_max=3), jnp.clip(a=X, a_min=1, a_max=3),
    jnp.clip(X, 1, 3), jnp.clip(X, min=1, max=3), jnp.clip(arr=X, min=1, max=3),
    jax.jit(lambda x, low: jnp.clip(x, a_min=low, a_max=3))(X, 1),
]
OPEN = jnp.clip(X, a_max=3), jnp.clip(X, a_min=1, a_max=None)
{GOOD}"""
    module = submission.load(make_submission(source)).update_params.__globals__
    assert all(x.tolist() == [1, 1, 2, 3, 3] for x in module["CLIPPED"])
    assert [x.tolist() for x in module["OPEN"]] == [[0, 1, 2, 3, 3], [1, 1, 2, 3, 4]]


def test_arrays_are_put_on_every_device(make_submission):
    source = f"""
import jax
import jax.numpy as jnp
DEVICES = jax.local_devices()
X = {{"a": jnp.arange(3.0)}}
COPIES = jax.device_put_replicated(X, DEVICES)["a"]
SHARDS = jax.device_put_sharded([jnp.full(2, i) for i in range(len(DEVICES))], DEVICES)
IN = jnp.in1d(jnp.array([[1, 2], [3, 4]]), jnp.array([2, 3]))
{GOOD}"""
    module = submission.load(make_submission(source)).update_params.__globals__
    count = len(module["DEVICES"])
    assert module["COPIES"].tolist() == [[0, 1, 2]] * count
    assert module["SHARDS"].tolist() == [[i, i] for i in range(count)]
    for array in (module["COPIES"], module["SHARDS"]):
        assert len(array.sharding.device_set) == count
    assert module["IN"].tolist() == [False, True, True, False]


def test_a_pytorch_submission_does_not_load_jax(make_submission):
    path = make_submission(f"import torch\n{GOOD}")
    program = (
        "import sys; from pathlib import Path; from algorithmic_efficiency import "
        f"submission; submission.load(Path({str(path)!r})); print('jax' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=registry.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
