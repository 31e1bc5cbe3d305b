"""The pmap style: chosen by what is called; its numbers are those of the jit style."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import jax_utils
from test_public_styles import small

from algorithmic_efficiency import (
    jax_sharding_utils,
    registry,
    sources,
    spec,
    submission,
)
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.errors import SubmissionError
from algorithmic_efficiency.runner import checkpoint
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.trainer import Trainer
from algorithmic_efficiency.runner.trial import Progress

NAME = "imagenet_resnet_mini"
MODEL = {"stage_sizes": (1,), "width": 8}  # compiles in a fifth of the time
PIECES = """
import functools
import jax
from flax import jax_utils
from jax import lax
from algoperf import spec

def get_batch_size(workload_name):
    return 8

def data_selection(workload, input_queue, *rest):
    batch = next(input_queue)
    weights = batch["weights"]
    hidden = weights.reshape(-1).at[3].set(0.0)
    return {**batch, "weights": hidden.reshape(weights.shape)}

TRACES = []

def step(workload, steps, params, state, batch, rng, total):
    TRACES.append(1)
    def loss(params):
        logits, new = workload.model_fn(
            params, batch, state, spec.ForwardPassMode.TRAIN, rng, True
        )
        d = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
        return d["summed"], (d["n_valid_examples"], new)

    (_, (n, new)), grads = jax.value_and_grad(loss, has_aux=True)(params)
    n, grads = total((n, grads))
    return steps + 1, jax.tree.map(lambda p, g: p - 0.1 * g / n, params, grads), new
"""
PMAP = f"""{PIECES}
def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    return jax_utils.replicate(jax.numpy.zeros(())), None

@functools.partial(
    jax.pmap, axis_name="AXIS", in_axes=(None, 0, 0, 0, 0, 0),
    static_broadcasted_argnums=0,
)
def pmapped(workload, steps, params, state, batch, rng):
    total = lambda x: lax.psum(x, "AXIS")
    return step(workload, steps, params, state, batch, rng, total)

def update_params(workload, current_param_container, model_state, batch, rng,
                  optimizer_state, **_):
    rngs = jax.random.split(rng, jax.local_device_count())
    steps, params, state = pmapped(
        workload, optimizer_state[0], current_param_container, model_state, batch, rngs
    )
    return (steps, None), params, state
"""
JIT = f"""{PIECES}
def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    return jax.numpy.zeros(()), None

jitted = jax.jit(step, static_argnames=("workload", "total"))

def update_params(workload, current_param_container, model_state, batch, rng,
                  optimizer_state, **_):
    steps, params, state = jitted(
        workload, optimizer_state[0], current_param_container, model_state, batch, rng,
        total=identity,
    )
    return (steps, None), params, state

def identity(x):
    return x
"""


def opened(path: Path, data_dir: Path, seed: int = 1) -> Trainer:
    backend = base.make("jax", submission=path)
    workload = small(NAME, backend, Folders(data_dir), **MODEL)
    trainer = Trainer(workload, submission.load(path), backend, None, seed)
    trainer.open_data(0, evals=False)
    return trainer


def canonical(trainer: Trainer) -> dict[str, np.ndarray]:
    state = trainer.state
    return trainer.backend.canonical(state["params"], state["model_state"])


def steps(trainer: Trainer, count: int, first: int = 0) -> None:
    for step in range(first, first + count):
        trainer.step(Progress(step=step), {})


def numbers(path: Path, data_dir: Path) -> dict[str, np.ndarray]:
    """Returns all parameters, statistics and metrics after three steps."""
    trainer = opened(path, data_dir)
    try:
        steps(trainer, 3)
        return {**canonical(trainer), **trainer.evaluate(Progress(step=3))}
    finally:
        trainer.close()


def traces(trainer: Trainer) -> int:
    """Returns how often the step was traced, which is before each compilation."""
    return len(trainer.submission.update_params.__globals__["TRACES"])


def written(tmp_path: Path, name: str, source: str) -> Path:
    path = tmp_path / name
    path.write_text(source)
    return path


def test_pmap_on_two_devices_and_on_one_equals_jit(tmp_path, folders):
    assert jax.local_device_count() == 2
    pmap = written(tmp_path, "pmap_style.py", PMAP.replace("AXIS", "devices"))
    jit = numbers(written(tmp_path, "jit_style.py", JIT), folders.data_dir)
    two = numbers(pmap, folders.data_dir)
    program = (
        "import sys; from pathlib import Path; import numpy as np; "
        "from test_pmap_style import numbers; "
        "np.savez(sys.argv[3], **numbers(Path(sys.argv[1]), Path(sys.argv[2])))"
    )
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=1",
        "PYTHONPATH": os.pathsep.join(map(str, (registry.ROOT, here))),
    }
    out = tmp_path / "one.npz"
    subprocess.run(
        [sys.executable, "-c", program, pmap, folders.data_dir, out],
        env=environment,
        cwd=registry.ROOT,
        check=True,
    )
    one = np.load(out)
    assert set(one) == set(two) == set(jit)
    for name, value in jit.items():
        # The statistics are those of the whole batch, whatever the number of devices.
        np.testing.assert_allclose(two[name], value, rtol=2e-4, atol=2e-5, err_msg=name)
        np.testing.assert_allclose(one[name], value, rtol=2e-4, atol=2e-5, err_msg=name)


def test_a_checkpoint_goes_on_as_if_nothing_had_happened(tmp_path, folders):
    path = written(tmp_path, "pmap_style.py", PMAP.replace("AXIS", "batch"))
    whole = opened(path, folders.data_dir)
    steps(whole, 2)
    writer = checkpoint.Writer(
        tmp_path, whole.backend, whole.origin, keep_all=True, tell=pytest.fail
    )
    saved = writer.save(whole.state, checkpoint.describe(Progress(step=2), Clock()))
    position = whole.position
    steps(whole, 1, first=2)
    assert traces(whole) == 1
    whole.close()
    other = opened(path, folders.data_dir)
    other.close()
    other.state, _ = checkpoint.load(saved, other.backend, other.state, other.origin)
    other.open_data(0, position, evals=False)
    steps(other, 1, first=2)
    other.close()
    for name, value in canonical(whole).items():
        np.testing.assert_array_equal(canonical(other)[name], value)
    count = jax.local_device_count()
    leaves = jax.tree.leaves(other.state["params"])
    assert all(len(x) == count and len(x.sharding.device_set) == count for x in leaves)
    assert other.state["optimizer_state"][0].tolist() == [3.0] * count
    assert other.diverged(None) is None
    broken = jax.tree.map(lambda x: x.at[1].set(np.nan), other.state["params"])
    assert other.backend.nonfinite(broken) is not None


def test_the_second_step_of_the_jit_style_compiles_nothing(tmp_path, folders):
    trainer = opened(written(tmp_path, "jit_style.py", JIT), folders.data_dir)
    steps(trainer, 2)
    trainer.close()
    assert traces(trainer) == 1


def test_what_such_a_submission_sees(tmp_path, folders):
    path = written(tmp_path, "pmap_style.py", PMAP)
    trainer = opened(path, folders.data_dir)
    batch = next(trainer.queue)
    trainer.close()
    assert batch["inputs"].shape == (2, 4, 48, 48, 3)
    assert batch["weights"].shape == batch["targets"].shape == (2, 4)
    params, state = trainer.state["params"], trainer.state["model_state"]
    shapes = jax.tree.map(lambda s: s.shape_tuple, trainer.workload.param_shapes)
    alone = jax_utils.unreplicate(params)
    assert jax.tree.map(lambda x: x.shape, alone) == shapes
    assert jax.tree.map(lambda x: x.shape[1:], params) == shapes
    moved = trainer.workload.recalibrate(params, state, [batch, batch])
    assert jax.tree.map(lambda x: x.shape, moved) == jax.tree.map(
        lambda x: x.shape, state
    )
    plain = base.make("jax")
    workload = small(NAME, plain, folders, **MODEL)
    workload.init_model_fn(plain.make_rng((1, 2)))
    merged = {k: v.reshape(-1, *v.shape[2:]) for k, v in batch.items()}
    alone = jax_sharding_utils.replicate((alone, jax_utils.unreplicate(state)))
    exact = workload.recalibrate(*alone, [merged, merged])
    for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(a[0], b, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(a[0], a[1])
    with pytest.raises(SubmissionError, match=r"outside of jax\.pmap"):
        trainer.workload.model_fn(
            params, merged, state, spec.ForwardPassMode.EVAL, None, False
        )


CALLS = {
    "jit": "import jax\nf = jax.jit(lambda x: x)",
    "pmap": "import jax\nf = jax.pmap(lambda x: x)",
    "pmap, partial": "import functools, jax\nf = functools.partial(jax.pmap)",
    "pmap, decorator": "import jax as j\n@j.pmap\ndef f(x): pass",
    "pmap, from": "from jax import pmap as p\nf = p(len)",
    "pmap, replicate": "from flax import jax_utils as u\ndef f(x): u.replicate(x)",
    "pmap, unreplicate": "from flax.jax_utils import unreplicate\nunreplicate(1)",
    "jit, only imported": "import jax\nfrom flax import jax_utils\nf = jax.jit(len)",
    "jit, helper": "from algoperf import jax_sharding_utils as s\ns.replicate(1)",
    "jit, own name": "def pmap(f): return f\n@pmap\ndef f(): pass",
    "pmap, of a helper": "from helper import go\ngo()",
    "jit, helper unused": "from algoperf import jax_sharding_utils as s\n"
    "import helper\ns.replicate(1)",
}


@pytest.mark.parametrize("name", CALLS)
def test_the_style_is_that_of_the_calls(tmp_path, name):
    written(tmp_path, "helper.py", "import jax\ngo = jax.pmap(len)")
    path = written(tmp_path, "mine.py", CALLS[name])
    assert sources.style_of(path) == name.partition(",")[0]


def test_every_submission_of_the_project_has_the_jit_style():
    paths = submission.example_paths(), submission.example_paths("submissions")
    for path in (*paths[0], *paths[1]):
        assert sources.style_of(path) == "jit"


MIXED = """
import jax
from flax import jax_utils
from algoperf import jax_sharding_utils
f = jax.pmap(len)
def g(x): return jax_sharding_utils.replicate(x)
"""


def test_a_mixture_is_one_sentence(tmp_path):
    path = written(tmp_path, "mine.py", MIXED)
    words = r"mine\.py uses both jax\.pmap and .*jax_sharding_utils\.replicate: .*style"
    with pytest.raises(SubmissionError, match=words) as caught:
        base.make("jax", submission=path)
    assert "\n" not in str(caught.value)
    base.make("pytorch", submission=path, compile_models=False)  # not its concern


def test_the_checker_says_so_too(tmp_path, capsys):
    from scoring import check_submission

    path = written(tmp_path, "mine.py", MIXED)
    with pytest.raises(SubmissionError, match="uses both"):
        check_submission.main([str(path)])
    capsys.readouterr()
