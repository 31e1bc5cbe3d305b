"""The public contract: enums, type names and the definition of a workload.

The names are those of the public AlgoPerf API, so that a submission written for it
runs here unmodified. Importing this module loads NumPy and nothing heavier.
"""

import dataclasses
import enum
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from algorithmic_efficiency.errors import TrainingCompleteError as TrainingCompleteError
from algorithmic_efficiency.initializers import Initializer


class LossType(enum.Enum):
    """The loss that a workload minimises."""

    SOFTMAX_CROSS_ENTROPY = 0
    SIGMOID_CROSS_ENTROPY = 1
    MEAN_SQUARED_ERROR = 2
    CTC_LOSS = 3
    MEAN_ABSOLUTE_ERROR = 4


class ForwardPassMode(enum.Enum):
    """Whether a forward pass trains (dropout, batch statistics) or evaluates."""

    TRAIN = 0
    EVAL = 1


class ParameterType(enum.Enum):
    """What a parameter is, for submissions that treat layers differently."""

    WEIGHT = 0
    BIAS = 1
    CONV_WEIGHT = 2
    BATCH_NORM_SCALE = 3
    BATCH_NORM_BIAS = 4
    LAYER_NORM_SCALE = 5
    LAYER_NORM_BIAS = 6
    EMBEDDING = 7
    ATTENTION_Q = 8
    ATTENTION_K = 9
    ATTENTION_V = 10
    ATTENTION_OUT = 11
    ATTENTION_QKV = 12
    ATTENTION_KV = 13
    ATTENTION_BIAS = 14


class ShapeTuple:
    """The shape of one parameter, a leaf in a tree of shapes."""

    def __init__(self, shape_tuple: tuple[int, ...]) -> None:
        self.shape_tuple = tuple(int(size) for size in shape_tuple)

    def __repr__(self) -> str:
        return f"ShapeTuple({self.shape_tuple})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShapeTuple) and self.shape_tuple == other.shape_tuple

    def __hash__(self) -> int:
        return hash(self.shape_tuple)


# The names that submissions use in their signatures. They stand for objects of two
# frameworks, hence Any.
Shape = tuple[int, ...]
Tensor = Any
RandomState = Any
ParameterContainer = Any
ParameterShapeTree = Any
ParameterTypeTree = Any
ParameterKey = str
ModelAuxiliaryState = Any
OptimizerState = Any
Hyperparameters = Any
Timing = float
Steps = int
UpdateReturn = tuple[OptimizerState, ParameterContainer, ModelAuxiliaryState]
DataSelectionFn = Callable[..., dict[str, Tensor]]
InitOptimizerFn = Callable[..., OptimizerState]
UpdateParamsFn = Callable[..., UpdateReturn]
InputQueue = Iterator[dict[str, Tensor]]


@dataclasses.dataclass(frozen=True)
class Field:
    """One entry of a batch.

    Attributes:
      shape: of one example, without the batch dimension.
      dtype: NumPy name.
      layout: '' or 'HWC'. JAX receives images as [B, H, W, C]; PyTorch receives the
        same memory as [B, C, H, W] in channels_last format.
    """

    shape: tuple[int, ...]
    dtype: str
    layout: str = ""

    @property
    def nbytes(self) -> int:
        """Bytes of this entry of one example."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclasses.dataclass(frozen=True)
class Definition:
    """A workload as data; both frameworks read the same row.

    Attributes:
      name: the registered name, for example 'imagenet_resnet_silu'.
      package: the folder with `jax.py` and `pytorch.py`, for example
        'workloads.imagenet_resnet'.
      data: the module that opens its splits, for example 'workloads._imagenet.data'.
      model: arguments of `Model` in both frameworks.
      initial: rows (pattern, initializer) over parameter names; the first that fits
        a name gives its initial values.
      output_layer: the name of the layer that gives the logits.
      fields: the entries of a batch, `inputs`, `targets` and what else there is; a
        tuple of fields where an entry is a tuple of tensors.
      data_arguments: what the data module needs beside the folders.
      metrics: names in `metrics.METRICS`, evaluated on every split.
      test_target_value: None where only the validation target counts.
      max_allowed_runtime_sec, eval_period_time_sec: seconds on the submission clock.
    """

    name: str
    package: str
    data: str
    model: Mapping[str, Any]
    initial: tuple[tuple[str, Initializer], ...]
    output_layer: str
    fields: Mapping[str, Field | tuple[Field, ...]]
    data_arguments: Mapping[str, Any]
    loss_type: LossType
    metrics: tuple[str, ...]
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
    default_batch_size: int = 128


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
        merged: dict[str, Any] = {
            key: {**getattr(base, key), **value}
            if isinstance(value, Mapping)
            else value
            for key, value in changes.items()
        }
        name = f"{base.name}_{suffix}"
        table[name] = dataclasses.replace(base, name=name, **merged)
    return table


def mini_twins(
    full: Mapping[str, Definition],
    changes: Mapping[str, Any],
    rows: Mapping[str, tuple[float, float, int]],
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
        own = dict(zip(fields, rows[name], strict=True))
        twin = f"{name}_mini"
        twins[twin] = variants(definition, {"mini": {**changes, **own}})[twin]
    return twins


def __getattr__(name: str) -> Any:
    """Returns `Workload`, which is defined in a module that needs this one."""
    if name == "Workload":
        from algorithmic_efficiency import public_workload  # noqa: PLC0415 - as above

        return public_workload.PublicWorkload
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
