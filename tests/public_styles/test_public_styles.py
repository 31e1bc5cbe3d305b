"""Submissions in the public styles run on every mini workload as they are.

Each trains for a few steps and is evaluated once, on splits of a few examples, by the
runner's own trial loop and in this process. `styles/` holds the submissions; what is
put there is run, and so is every new workload.
"""

import dataclasses
import functools
import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from algorithmic_efficiency import registry, submission
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.data import Dataset, Folders, Subset
from algorithmic_efficiency.runner import tuning
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.trainer import Trainer
from algorithmic_efficiency.runner.trial import Progress, Rules, run_trial
from algorithmic_efficiency.spec import Definition
from algorithmic_efficiency.workload import Workload

STYLES = Path(__file__).parent / "styles"
SUBMISSIONS = sorted(
    p for p in (*STYLES.glob("*_*.py"), *STYLES.glob("*/submission.py"))
)
FEW = 4
STEPS = 2


@pytest.fixture(autouse=True)
def quick_compilation() -> Iterator[None]:
    """Lets XLA optimise little: each step runs twice, and compiling is the work."""
    import jax  # noqa: PLC0415 - the other framework's tests need none

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def base_minis() -> list[str]:
    """Returns the mini workload of every package, without its variants."""
    first: dict[str, str] = {}
    for name, definition in registry.definitions().items():
        if registry.is_mini(name):
            first.setdefault(definition.package, name)
    return list(first.values())


class Small(Workload):
    """A mini workload whose evaluations look at a few examples of each split."""

    def __init__(self, name: str, backend: base.Backend, folders: Folders) -> None:
        self.whole = registry.get(name)
        sizes = {
            f"num_{split}_examples": FEW
            for split in ("eval_train", "validation", "test")
            if getattr(self.whole, f"num_{split}_examples") is not None
        }
        cut = dataclasses.replace(self.whole, eval_batch_size=FEW, **sizes)
        super().__init__(cut, backend, folders)

    def _open(self, folders: Folders, split: str) -> Dataset:
        opened = open_whole(self.whole.name, folders, split)
        if split == "train":
            return opened
        few = Subset(opened.examples, FEW, seed=1)
        return dataclasses.replace(opened, examples=few)


@functools.cache
def open_whole(name: str, folders: Folders, split: str) -> Dataset:
    definition: Definition = registry.get(name)
    return importlib.import_module(definition.data).open_split(
        definition, folders, split
    )


def trained(path: Path, name: str, folders: Folders) -> tuple[Trainer, Progress, Any]:
    """Returns a trainer after its trial, the progress, and its first parameters."""
    framework = submission.framework_of(path)
    assert framework is not None
    options = {"compile_models": False} if framework == "pytorch" else {}
    backend = base.make(framework, submission=path, **options)
    loaded = submission.load(path)
    point = loaded.update_params.__globals__["HPARAMS"]
    hyperparameters = tuning.namedtuple(point) if point else None
    workload = Small(name, backend, folders)
    trainer = Trainer(workload, loaded, backend, hyperparameters, seed=1)
    start = canonical(trainer)
    trainer.open_data(0)
    progress = Progress()
    rules = Rules(math.inf, math.inf, max_global_steps=STEPS + (point is None))
    try:
        run_trial(trainer, Clock(), rules, progress)
    finally:
        trainer.close()
    return trainer, progress, start


def canonical(trainer: Trainer) -> dict[str, np.ndarray]:
    state = trainer.backend.canonical(
        trainer.state["params"], trainer.state["model_state"]
    )
    return {name: np.array(value) for name, value in state.items()}


def test_there_are_enough_of_both_frameworks() -> None:
    told = [submission.framework_of(path) for path in SUBMISSIONS]
    assert len(told) >= 12
    assert told.count("jax") >= 5 and told.count("pytorch") >= 7


@pytest.mark.parametrize("name", base_minis())
@pytest.mark.parametrize("path", SUBMISSIONS, ids=lambda p: str(p.relative_to(STYLES)))
def test_a_public_style_runs(path: Path, name: str, folders: Folders) -> None:
    trainer, progress, start = trained(path, name, folders)
    assert len(progress.evals) == 1
    _, result = progress.evals[0]
    assert progress.diverged is None
    for split in ("train", "validation", "test"):
        assert result[f"{split}/num_examples"] == FEW
        for metric in trainer.workload.definition.metrics:
            assert math.isfinite(result[f"{split}/{metric}"])
    end = canonical(trainer)
    assert {n: v.shape for n, v in end.items()} == {
        n: v.shape for n, v in start.items()
    }
    moved = [n for n in end if not np.array_equal(end[n], start[n])]
    assert len(moved) > len(end) / 2
