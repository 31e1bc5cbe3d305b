"""Importing loads no framework and touches nothing; one process sees it all."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from algorithmic_efficiency import registry

HEAVY = (
    "torch",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "grain",
    "cv2",
    "scipy",
    "matplotlib.pyplot",
    "tensorflow",
    "tensorboard",
    "wandb",
)
# Framework-specific files; whoever imports them wants their framework.
BOUND = {
    "jax",
    "pytorch",
    "jax_cpu",
    "jax_ops",
    "jax_waiting",
    "jax_pmap",
    "pytorch_cpu",
    "pytorch_nodes",
    "pytorch_ops",
    "pytorch_weights",
    "rows",
    "switch",
    "moments",
    "accumulated",
    "chunks",
    "disguise",
    "ema",
    "family",
    "ghost",
    "jax_accumulated",
    "jax_ema",
    "jax_family",
    "jax_ghost",
    "jax_moments",
    "lockstep",
    "sums",
    "blocks",
    "agreement",
    "invariance",
    "pair",
    "promises",
    "pytorch_utils",
    "jax_sharding_utils",
}
PROBE = """
import importlib, json, os, random, sys, threading
import numpy as np
np.random.seed(3); random.seed(3)
numpy_state, python_state = str(np.random.get_state()), random.getstate()
environment, folder, path = dict(os.environ), os.getcwd(), list(sys.path)
files = set(os.listdir("."))
found = {}
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
    found[name] = [heavy for heavy in json.loads(sys.argv[2]) if heavy in sys.modules]
print(json.dumps({
    "heavy": found,
    "environment": dict(os.environ) == environment,
    "folder": os.getcwd() == folder,
    "path": sys.path == path,
    "threads": threading.active_count() == 1,
    "numpy": str(np.random.get_state()) == numpy_state,
    "random": random.getstate() == python_state,
    "new files": sorted(set(os.listdir(".")) - files),
}))
"""


def modules():
    """Returns every module of the project that is not bound to a framework."""
    paths = [
        path
        for folder in ("algorithmic_efficiency", "scoring", "workloads")
        for path in sorted((registry.ROOT / folder).rglob("*.py"))
        if path.stem not in BOUND and path.parts[-2] not in ("_images", "_imagenet")
    ]
    return [_module(path) for path in paths]


def _module(path):
    parts = path.relative_to(registry.ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.fixture(scope="module")
def report():
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROBE, json.dumps(modules()), json.dumps(HEAVY)],
        capture_output=True,
        text=True,
        cwd=registry.ROOT,
        check=True,
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_the_list_has_what_matters():
    names = set(modules())
    assert {
        "algorithmic_efficiency.cli",
        "algorithmic_efficiency.spec",
        "algorithmic_efficiency.registry",
        "algorithmic_efficiency.data",
        "algorithmic_efficiency.workload",
        "algorithmic_efficiency.runner.study",
        "algorithmic_efficiency.runner.trial",
        "algorithmic_efficiency.backends.base",
        "workloads.imagenet_resnet.workload",
        "scoring.score_submissions",
    } <= names
    assert sum(name.endswith(".workload") for name in names) == 1 + len(
        list(Path(registry.ROOT / "workloads").glob("*/workload.py"))
    )


@pytest.mark.parametrize("name", modules())
def test_import_loads_nothing_heavy(report, name):
    assert report["heavy"][name] == []


@pytest.mark.parametrize(
    "what", ["environment", "folder", "path", "threads", "numpy", "random"]
)
def test_import_leaves_the_process_alone(report, what):
    assert report[what] is True


def test_import_writes_no_file(report):
    assert report["new files"] == []


def test_reading_the_registry_loads_nothing_heavy():
    program = (
        "import sys; from algorithmic_efficiency import cli; cli.listing();"
        "cli.usage();"
        f"print([heavy for heavy in {HEAVY} if heavy in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        capture_output=True,
        text=True,
        cwd=registry.ROOT,
        check=True,
    )
    assert done.stdout.strip() == "[]"
