from pathlib import Path

import pytest
from submission_source import GOOD

from algorithmic_efficiency import submission
from algorithmic_efficiency.errors import SubmissionError

# Batch sizes.


def returning(size):
    return GOOD.replace("return 8", f"return {size}")


def test_batch_size_must_be_a_positive_int_that_the_devices_can_share(make_submission):
    good = submission.load(make_submission(GOOD))
    assert [good.batch_size("imagenet_resnet", n) for n in (1, 2, 4, 8)] == [8] * 4
    for size, devices, words in [
        ("0", 1, "returned 0; a batch size should be an int of at least 1"),
        ("-8", 1, "returned -8;"),
        ("8.0", 1, "returned 8.0;"),
        ("True", 1, "returned True;"),
        ("None", 1, "returned None;"),
        ("'8'", 1, "returned '8';"),
        (
            "8",
            3,
            "8, which cannot be shared equally among 3 devices; return a multiple",
        ),
    ]:
        loaded = submission.load(
            make_submission(returning(size), f"s{abs(hash(size))}.py")
        )
        with pytest.raises(SubmissionError, match=words) as caught:
            loaded.batch_size("imagenet_resnet", devices)
        assert "get_batch_size" in str(caught.value)


def knowing(*names, function="get_batch_size"):
    """Returns source whose function knows these workloads only: 16, 32, ..."""
    sizes = {name: 16 * 2**i for i, name in enumerate(names)}
    return f"""
def {function}(workload_name):
    sizes = {sizes}
    if workload_name not in sizes:
        raise ValueError(f'Unsupported workload name: {{workload_name}}.')
    return sizes[workload_name]
"""


@pytest.mark.parametrize(
    ("known", "workload", "size"),
    [
        (["imagenet_resnet"], "imagenet_resnet", 16),
        (["imagenet_resnet"], "imagenet_resnet_silu", 16),
        (["imagenet_resnet"], "imagenet_resnet_silu_mini", 16),
        (["imagenet_resnet", "imagenet_resnet_silu"], "imagenet_resnet_silu_mini", 32),
        (["imagenet_resnet", "imagenet_resnet_mini"], "imagenet_resnet_mini", 32),
    ],
)
def test_a_variant_falls_back_to_the_nearest_base_name(
    make_submission, known, workload, size
):
    loaded = submission.load(make_submission(GOOD + knowing(*known)))
    assert loaded.batch_size(workload, 1) == size


def test_a_workload_that_nobody_knows_is_a_sentence(make_submission):
    loaded = submission.load(make_submission(GOOD + knowing("wmt")))
    words = "get_batch_size knows none of imagenet_resnet_silu, imagenet_resnet"
    with pytest.raises(SubmissionError, match=words):
        loaded.batch_size("imagenet_resnet_silu", 1)


@pytest.mark.parametrize(
    ("asked", "limit", "devices", "size"),
    [
        (None, 250, 1, 250),
        (None, 250, 4, 248),  # the largest multiple of the devices
        (None, 3, 4, 4),  # but one example per device at least
        (64, 250, 2, 64),
        (250, 250, 1, 250),
        (1024, 250, 1, 250),  # never above the workload's own
        (1024, 250, 4, 248),
    ],
)
def test_eval_batch_size_only_goes_down(make_submission, asked, limit, devices, size):
    source = f"\ndef get_eval_batch_size(workload_name):\n    return {asked}"
    loaded = submission.load(make_submission(GOOD + (source if asked else "")))
    assert loaded.eval_batch_size("imagenet_resnet", limit, devices) == size


@pytest.mark.parametrize("asked", ["0", "7", "2.0", "None"])
def test_bad_eval_batch_size_is_a_sentence(make_submission, asked):
    source = f"\ndef get_eval_batch_size(workload_name):\n    return {asked}"
    loaded = submission.load(make_submission(GOOD + source))
    with pytest.raises(SubmissionError, match=f"get_eval_batch_size returned {asked}"):
        loaded.eval_batch_size("imagenet_resnet", 250, 2)


def test_eval_batch_size_of_a_variant_falls_back_too(make_submission):
    # Or no submission with this function could run at mini scale.
    source = GOOD + knowing("imagenet_resnet", function="get_eval_batch_size")
    loaded = submission.load(make_submission(source))
    assert loaded.eval_batch_size("imagenet_resnet_mini", 250, 1) == 16


# Which framework.


@pytest.mark.parametrize(
    ("name", "source", "framework"),
    [
        ("pytorch.py", "", "pytorch"),
        ("jax.py", "import torch", "pytorch"),  # imports are stronger than the name
        ("torch_and_jax/jax.py", "import torch\nimport jax", "jax"),
        ("nadamw_jax.py", "", "jax"),
        ("torch_lion.py", "", "pytorch"),
        ("jax-experiments/submission.py", "", None),  # folders tell nothing
        ("jax-experiments/submission.py", "import torch", "pytorch"),
        ("pytorch/deep/submission.py", "", None),
        ("jax/pytorch.py", "", "pytorch"),
        ("mine.py", "import torch", "pytorch"),
        ("mine.py", "from torch import nn", "pytorch"),
        ("mine.py", "import torch.nn.functional as F", "pytorch"),
        ("mine.py", "import numpy\nimport jax.numpy as jnp", "jax"),
        ("mine.py", "from jax import lax", "jax"),
        ("mine.py", "def f():\n    import jax", "jax"),
        ("mine.py", "import torch\nimport jax", None),
        ("mine.py", "import numpy", None),
        ("mine.py", "import torchvision\nimport jaxtyping", None),
        ("mine.py", "# import jax", None),
        ("mine.py", "'''\\nimport jax\\n'''", None),
        ("mine.py", "import optax", "jax"),
        ("mine.py", "from flax import jax_utils", "jax"),
        ("mine.py", "from algoperf.pytorch_utils import pytorch_setup", "pytorch"),
        ("mine.py", "from algoperf import spec, jax_sharding_utils", "jax"),
        ("mine.py", "from algoperf.adapters.jax import from_optimizer", "jax"),
        ("mine.py", "import torch\ndef f():\n    import jax", "pytorch"),
        ("jax.py", "def f(:", "jax"),  # what is no Python tells nothing
        ("ajax.py", "", None),  # a word, not some letters
        ("jax_or_pytorch.py", "", None),
        ("jax_or_pytorch.py", "import jax", "jax"),
    ],
)
def test_framework_of(make_submission, monkeypatch, name, source, framework):
    path = make_submission(source, name)
    monkeypatch.chdir(path.parents[name.count("/")])
    assert submission.framework_of(path.relative_to(Path.cwd())) == framework


def test_framework_of_a_file_without_one_is_that_of_its_own_modules(make_submission):
    path = make_submission("from optim.soap import step", "jax-tries/mine.py")
    assert submission.framework_of(path) is None
    make_submission("from . import parts", "jax-tries/optim/soap.py")
    make_submission("import torch", "jax-tries/optim/parts.py")
    assert submission.framework_of(path) == "pytorch"
    path.write_text("import jax\nfrom optim.soap import step")
    assert submission.framework_of(path) == "jax"


def test_framework_of_a_file_that_is_not_there_is_told_by_its_name(tmp_path):
    assert submission.framework_of(tmp_path / "sub" / "jax.py") == "jax"
    assert submission.framework_of(tmp_path / "sub" / "mine.py") is None


def test_every_example_tells_its_framework():
    paths = submission.example_paths()
    assert len(paths) >= 8
    for path in paths:
        assert submission.framework_of(path) == path.stem
