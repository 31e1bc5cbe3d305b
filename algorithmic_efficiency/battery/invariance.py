"""What is padded is invisible, and no metric depends on how an evaluation is made."""

import dataclasses
from typing import Any

import jax
import numpy as np

from algorithmic_efficiency.battery import NotChecked, Unmet
from algorithmic_efficiency.battery.agreement import (
    PADDING,
    SIZE,
    close,
    close_gradients,
    is_plain,
)
from algorithmic_efficiency.battery.pair import (
    FRAMEWORKS,
    Pair,
    forward_backward,
    padded,
)
from algorithmic_efficiency.data import Dataset, Folders, Subset, eval_batches
from algorithmic_efficiency.data.splits import Splits
from algorithmic_efficiency.definition import parts
from algorithmic_efficiency.evaluation import splits
from algorithmic_efficiency.workload import Workload

FEW = 37  # examples of each split: no multiple of a batch
SUMS = 1e-5  # largest relative difference of a sum or a metric that is made in two ways


def data(pair: Pair) -> str:
    """Checks that batches have the declared entries, and can be made again."""
    batch = pair.batch(SIZE)
    definition = pair.definition
    for name, entry in definition.fields.items():
        if name not in batch:
            raise Unmet(f"a batch has no {name!r}; it has {', '.join(batch)}")
        found = batch[name] if isinstance(batch[name], tuple) else (batch[name],)
        for field, array in zip(parts(entry), found, strict=True):
            expected = (SIZE * field.rows, *field.shape)
            if (array.shape, array.dtype.name) != (expected, field.dtype):
                raise Unmet(
                    f"{name!r} is {array.dtype} {array.shape} in a batch of {SIZE}; "
                    f"`fields` says {field.dtype} {expected}"
                )
    made = pair.workloads["jax"]
    here, apart = (
        made.train_queue(SIZE, 3),
        made.train_queue(SIZE, 3, workers=1, start=1),
    )
    try:
        _, one, other = next(here), next(here), next(apart)
    finally:
        here.close()
        apart.close()
    if not _equal(one, other):
        raise Unmet("a batch is another one when a process reads it from the middle")
    return "entries as declared, the same from another process"


def _equal(one: Any, other: Any) -> bool:
    leaves = zip(jax.tree.leaves(dict(one)), jax.tree.leaves(dict(other)), strict=True)
    return all(np.array_equal(a, b) for a, b in leaves)


def padding(pair: Pair) -> str:
    """Checks that examples of weight 0 change nothing, whatever they hold.

    That they may be left out is shown in PyTorch, with which JAX agrees: in JAX a batch
    of another size is compiled anew.
    """
    if not is_plain(pair):
        raise NotChecked("the reader pads by itself: examples share arrays")
    batch = pair.batch(SIZE)
    alone = jax.tree.map(lambda value: value[:-PADDING], batch)
    for framework in FRAMEWORKS:
        batches = [padded(batch, PADDING, fill) for fill in (None, 0.0, 100.0)]
        batches += [alone] * (framework == "pytorch")
        first, *others = (
            forward_backward(*pair.with_weights(framework), one) for one in batches
        )
        for other in others:
            for key in ("summed", "n_valid_examples"):
                close(f"the loss's {key}", first["loss"][key], other["loss"][key], SUMS)
            close_gradients(first["gradients"], other["gradients"], 2e-3)
            for name, value in first["statistics"].items():
                close(name, value, other["statistics"][name], 1e-3)
    return "losses, gradients and statistics do not see it"


def metrics(pair: Pair) -> str:
    """Checks that metrics depend on no batch size, no worker and no framework."""
    results: dict[tuple[str, int], dict[str, float]] = {}
    for framework in FRAMEWORKS:
        made, parameters, state = pair.with_weights(framework)
        cut = few_of_each(made)
        for size in (16, 10):
            results[framework, size] = cut.eval_model(size, parameters, state)
    (first, expected), *others = results.items()
    for key, found in others:
        limit = SUMS if key[0] == first[0] else 1e-3
        for name, value in expected.items():
            if not np.isclose(found[name], value, limit, limit, equal_nan=True):
                raise Unmet(
                    f"{name} is {value:.6g} in {first[0]} with batches of {first[1]}, "
                    f"and {found[name]:.6g} in {key[0]} with batches of {key[1]}"
                )
    opened = cut._splits.open("validation")
    here, apart = (eval_batches(opened, 10, workers=workers) for workers in (0, 1))
    if not all(_equal(one, other) for one, other in zip(here, apart, strict=True)):
        raise Unmet("an evaluation reads other batches in a process of its own")
    names = sorted({name.partition("/")[2] for name in expected} - {"num_examples"})
    return f"{', '.join(names)}: the same for any batch size, worker and framework"


class _FewOfEach(Splits):
    """The first examples of each split, but for training and for planned batches."""

    def open(self, split: str, folders: Folders | None = None) -> Dataset:
        opened = super().open(split, folders)
        count = getattr(self.definition, f"num_{split}_examples")
        if split == "train" or len(opened.examples) <= count:
            return opened
        few = Subset(opened.examples, count, seed=1)
        return dataclasses.replace(opened, examples=few)


def few_of_each(made: Workload) -> Workload:
    """Returns the workload with evaluations that look at a few examples of a split.

    Its model and parameters are those of `made`; where batches are planned, all
    examples count.
    """
    counts: dict[str, Any] = {}
    for split, count in splits(made.definition).values():
        planned = made._splits.open(split).plan is not None
        counts[f"num_{split}_examples"] = count if planned else min(FEW, count)
    small = dataclasses.replace(made.definition, **counts)
    cut = Workload(small, made._backend, made.folders)
    cut._splits = _FewOfEach(small, made.folders)
    cut._model = made._model
    return cut
