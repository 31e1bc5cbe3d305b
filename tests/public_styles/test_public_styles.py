"""Submissions in the public styles run on every mini workload as they are.

Each trains for a few steps and is evaluated once, on splits of a few examples, by the
runner's own trial loop and in this process. `styles/` holds the submissions; what is
put there is run, and so is every new workload.
"""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from algorithmic_efficiency import registry, submission
from algorithmic_efficiency import state as states
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.data import Dataset, Folders, Subset
from algorithmic_efficiency.data.splits import Splits
from algorithmic_efficiency.runner import tuning
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.trainer import Trainer
from algorithmic_efficiency.runner.trial import NoRecords, Progress, Rules, run_trial
from algorithmic_efficiency.workload import Workload

STYLES = Path(__file__).parent / "styles"
SUBMISSIONS = sorted(
    p for p in (*STYLES.glob("*_*.py"), *STYLES.glob("*/submission.py"))
)
FEW = 4
STEPS = 2


def base_minis() -> list[str]:
    """Returns the mini workload of every package, without its variants."""
    first: dict[str, str] = {}
    for name, definition in registry.definitions().items():
        if registry.is_mini(name):
            first.setdefault(definition.package, name)
    return list(first.values())


class FewOfEach(Splits):
    """Splits of a few examples, but for training."""

    def open(self, split: str, folders: Folders | None = None) -> Dataset:
        opened = open_whole(self.definition.name, folders or self.folders, split)
        if split == "train":
            return opened
        few = Subset(opened.examples, FEW, seed=1)
        return dataclasses.replace(opened, examples=few)


@functools.cache
def open_whole(name: str, folders: Folders, split: str) -> Dataset:
    return Splits(registry.get(name), folders).open(split)


def small(name: str, backend: base.Backend, folders: Folders, **model: Any) -> Workload:
    """Returns a workload whose evaluations look at a few examples of each split.

    `model` are arguments of the model in place of its own.
    """
    whole = registry.get(name)
    counts: dict[str, Any] = {"model": {**whole.model, **model}}
    for split in ("eval_train", "validation", "test"):
        if getattr(whole, f"num_{split}_examples") is not None:
            counts[f"num_{split}_examples"] = FEW
    cut = dataclasses.replace(whole, eval_batch_size=FEW, **counts)
    workload = Workload(cut, backend, folders)
    workload._splits = FewOfEach(cut, folders)
    return workload


def trained(path: Path, name: str, folders: Folders) -> tuple[Trainer, Progress, Any]:
    """Returns a trainer after its trial, the progress, and its first parameters."""
    framework = submission.framework_of(path)
    assert framework is not None
    options = {"compile_models": False} if framework == "pytorch" else {}
    backend = base.make(framework, submission=path, **options)
    loaded = submission.load(path)
    point = loaded.update_params.__globals__["HPARAMS"]
    hyperparameters = tuning.namedtuple(point) if point else None
    workload = small(name, backend, folders)
    trainer = Trainer(workload, loaded, backend, hyperparameters, seed=1)
    start = canonical(trainer)
    trainer.open_data(0)
    progress = Progress()
    rules = Rules(math.inf, math.inf, max_global_steps=STEPS + (point is None))
    try:
        run_trial(trainer, NoRecords(), Clock(), rules, progress)
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
    target = trainer.workload.definition.target_metric_name
    for split in ("train", "validation", "test"):
        assert result[f"{split}/num_examples"] == FEW
        assert f"{split}/{target}" in result
    assert all(map(math.isfinite, result.values()))
    end = canonical(trainer)
    assert {n: v.shape for n, v in end.items()} == {
        n: v.shape for n, v in start.items()
    }
    counters = {int(v) for n, v in end.items() if n.endswith("num_batches_tracked")}
    assert counters in ({STEPS}, set())  # frozen passes are not counted
    moved = [n for n in end if not np.array_equal(end[n], start[n])]
    assert len(moved) >= len(end) / 2
    _, _, lost = states.encode(trainer.state, trainer.origin)
    assert lost == []  # so a resume is possible
