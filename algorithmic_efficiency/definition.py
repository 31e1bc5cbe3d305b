"""A workload as data: what both frameworks, the data and the runner read.

Every `workloads/<name>/workload.py` is made of these; importing it loads NumPy and
nothing heavier.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from algorithmic_efficiency import losses
from algorithmic_efficiency.initializers import Initializer
from algorithmic_efficiency.params import RULES, Rule
from algorithmic_efficiency.spec import LossType

# The published editions of the constants. A definition's own values are those of the
# default; its `editions` says what the others change.
EDITIONS = ("0.5", "0.6", "2026")
DEFAULT_EDITION = "0.6"
SCALES = ("full", "mini")


@dataclasses.dataclass(frozen=True)
class Field:
    """One entry of a batch.

    Attributes:
      shape: of one example, without the batch dimension.
      dtype: NumPy name.
      layout: '' or 'HWC'. JAX receives images as [B, H, W, C]; PyTorch receives the
        same memory as [B, C, H, W] in channels_last format.
      rows: entries of the first axis for each example of a batch, where examples of
        any size are laid end to end and share a budget: the shape in a batch of B is
        [B * rows, *shape].
    """

    shape: tuple[int, ...]
    dtype: str
    layout: str = ""
    rows: int = 1

    @property
    def nbytes(self) -> int:
        """Bytes of this entry for one example."""
        return self.rows * math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """One pass over the splits of an evaluation.

    Attributes:
      metrics: rows of `metrics.METRICS`, or dotted names of a `metrics.Metric` such as
        'workloads.toy.metrics.wer', whose name in results is the last part.
      how: '' for the outputs of the model, or the name of a function in the model files
        that runs on the device and returns less: `how(model, batch)` in PyTorch,
        `how(model, variables, batch)` in JAX, where it is jitted.
      splits: prefixes of results; a metric that a split does not have is absent there.
    """

    metrics: tuple[str, ...]
    how: str = ""
    splits: tuple[str, ...] = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Definition:
    """A workload as data; both frameworks read the same row.

    Attributes:
      name: the registered name, for example 'toy_silu'.
      package: the folder with `jax.py` and `pytorch.py`, for example
        'workloads.toy'.
      data: the module that opens its splits, for example 'workloads.toy.data'.
      model: arguments of `Model` in both frameworks.
      initial: rows (pattern, initializer) over parameter names; the first that fits
        a name gives its initial values.
      output_layer: the name of the layer that gives the outputs; a tied embedding too.
      fields: the entries of a batch in an evaluation, `inputs`, `targets` and what else
        there is; a tuple of fields where an entry is a tuple of tensors. `weights` is
        added unless the reader gives it.
      data_arguments: what the data module needs beside the folders.
      loss: a row of `losses.LOSSES`, or the dotted name of a `losses.Loss`.
      evaluations: passes over each split; one of their metrics is the target's.
      test_target_value: None where only the validation target counts.
      num_test_examples: None where there is no such split.
      max_allowed_runtime_sec, eval_period_time_sec: seconds on the submission clock.
      num_parameters: the published number, which is checked, or None.
      reference_batch_size: of the reference algorithms; a submission has its own.
      base: the workload of which this is a variant or the mini twin; '' for none.
      scale: 'full', or 'mini' at laptop size.
      rules: rows of this family for parameters that `params.RULES` does not know.
      editions: edition -> the constants that it changes.

    Raises:
      ValueError: it contradicts itself; the message says where.
    """

    name: str
    package: str
    data: str
    model: Mapping[str, Any]
    initial: tuple[tuple[str, Initializer], ...]
    output_layer: str
    fields: Mapping[str, Field | tuple[Field, ...]]
    data_arguments: Mapping[str, Any]
    loss: str
    evaluations: tuple[Evaluate, ...]
    target_metric_name: str
    validation_target_value: float
    test_target_value: float | None
    num_train_examples: int
    num_eval_train_examples: int
    num_validation_examples: int
    num_test_examples: int | None
    eval_batch_size: int
    max_allowed_runtime_sec: int
    eval_period_time_sec: int
    step_hint: int
    train_mean: tuple[float, ...] = ()
    train_stddev: tuple[float, ...] = ()
    num_parameters: int | None = None
    reference_batch_size: int = 128
    base: str = ""
    scale: str = "full"
    rules: tuple[Rule, ...] = ()
    editions: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for fault in _faults(self):
            raise ValueError(f"The definition of {self.name!r} {fault}.")

    @property
    def loss_type(self) -> LossType:
        """What submissions are told of the loss."""
        return losses.find(self.loss).type

    @property
    def all_rules(self) -> tuple[Rule, ...]:
        """The rows for its parameters, its own ones first."""
        return self.rules + RULES

    def in_edition(self, edition: str) -> "Definition":
        """Returns the workload with the constants of an edition, one of `EDITIONS`."""
        return dataclasses.replace(self, **self.editions.get(edition, {}))


def parts(field: Field | tuple[Field, ...]) -> tuple[Field, ...]:
    """Returns the fields of an entry that may be a tuple of them."""
    return field if isinstance(field, tuple) else (field,)


def _faults(row: Definition) -> Iterator[str]:
    """Yields what is wrong with a definition."""
    for name, entry in row.fields.items():
        if not all(isinstance(field, Field) for field in parts(entry)):
            yield (
                f"has {type(entry).__name__} as field {name!r}; an entry of a batch is "
                "a Field or a tuple of Fields. Give each array a name of its own"
            )
    if "." not in row.loss and row.loss not in losses.LOSSES:
        yield (
            f"names the loss {row.loss!r}; there are {', '.join(losses.LOSSES)}, and "
            "dotted names of a losses.Loss elsewhere"
        )
    known = [name for one in row.evaluations for name in one.metrics]
    if row.target_metric_name not in [name.rpartition(".")[2] for name in known]:
        yield (
            f"has the target metric {row.target_metric_name!r}, which none of its "
            f"evaluations computes; they compute {', '.join(known) or 'nothing'}"
        )
    if row.scale not in SCALES:
        yield f"has the scale {row.scale!r}; use one of {', '.join(SCALES)}"
    if unknown := set(row.editions) - set(EDITIONS):
        yield f"has constants of the edition {min(unknown)}; use {', '.join(EDITIONS)}"


def variants(
    base: Definition, rows: Mapping[str, Mapping[str, Any]]
) -> dict[str, Definition]:
    """Returns `base` and one definition per row, keyed by name.

    Args:
      base: the definition that the rows change.
      rows: suffix -> changed fields. A mapping given for a field that is a mapping
        is merged into it, so that a row names only what differs.
    """
    table = {base.name: base}
    for suffix, changes in rows.items():
        name = f"{base.name}_{suffix}"
        table[name] = _changed(base, {"name": name, "base": base.name, **changes})
    return table


def mini_twins(
    full: Mapping[str, Definition],
    changes: Mapping[str, Any],
    rows: Mapping[str, tuple[float, float | None, int]],
) -> dict[str, Definition]:
    """Returns the twin '<name>_mini' of every definition.

    Args:
      full: name -> definition.
      changes: as a row of `variants`, the same for all twins.
      rows: name -> (validation target, test target, step hint) of its twin; targets are
        set by runs of 3/4 of the step hint.
    """
    fields = ("validation_target_value", "test_target_value", "step_hint")
    twins = {}
    for name, definition in full.items():
        own: dict[str, Any] = dict(zip(fields, rows[name], strict=True))
        own |= {"name": f"{name}_mini", "base": name, "scale": "mini"}
        twin = dataclasses.replace(definition, editions={}, num_parameters=None)
        twins[f"{name}_mini"] = _changed(twin, {**changes, **own})
    return twins


def _changed(row: Definition, changes: Mapping[str, Any]) -> Definition:
    merged: dict[str, Any] = {
        key: {**getattr(row, key), **value} if isinstance(value, Mapping) else value
        for key, value in changes.items()
    }
    return dataclasses.replace(row, **merged)
