"""The public contract: enums and type names.

The names are those of the public AlgoPerf API, so that a submission written for it
runs here unmodified. Importing this module loads nothing heavier than the standard
library.
"""

import enum
from collections.abc import Callable, Iterator
from typing import Any

from algorithmic_efficiency.errors import TrainingCompleteError as TrainingCompleteError


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


def __getattr__(name: str) -> Any:
    """Returns `Workload`, which is defined in a module that needs this one."""
    if name == "Workload":
        from algorithmic_efficiency import public_workload  # noqa: PLC0415 - as above

        return public_workload.PublicWorkload
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
