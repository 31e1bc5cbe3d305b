"""One table of parameters: their types, and their names and layouts in JAX.

The canonical form is PyTorch's: flat names such as 'layer1.0.conv1.weight' and
PyTorch's layouts. A JAX model uses the same module names as path, so that a rule about
a layer's kind and its parameter is all that is needed to go from one to the other.
The kind of a layer is how its name starts ('conv1' is a 'conv'); a name that no rule
knows is an error, never a guess.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from algorithmic_efficiency import seeds
from algorithmic_efficiency.initializers import Initializer
from algorithmic_efficiency.spec import ParameterType

Flat = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Rule:
    """One row: the parameters `leaf` of layers whose name starts with `kind`.

    Attributes:
      jax_leaf: the parameter's name in the JAX tree.
      dense: True where JAX keeps the kernel as [*spatial, in, out] and PyTorch as
        [out, in, *spatial].
      transposed: True where PyTorch's is [in, out, *spatial], as of transposed
        convolutions.
    """

    kind: str
    leaf: str
    type: ParameterType
    jax_leaf: str
    dense: bool = False
    transposed: bool = False

    def to_jax(self, array: np.ndarray) -> np.ndarray:
        """Returns an array in JAX's layout."""
        return array.transpose(self._axes(array.ndim))

    def to_pytorch(self, array: np.ndarray) -> np.ndarray:
        """Returns an array in PyTorch's layout."""
        return array.transpose(np.argsort(self._axes(array.ndim)))

    def shape_in_jax(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape in JAX of a shape in PyTorch."""
        return tuple(shape[axis] for axis in self._axes(len(shape)))

    def shape_in_pytorch(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape in PyTorch of a shape in JAX."""
        axes = np.argsort(self._axes(len(shape)))
        return tuple(shape[axis] for axis in axes)

    def _axes(self, rank: int) -> tuple[int, ...]:
        """Returns where each of JAX's axes is in PyTorch."""
        if self.dense:
            return (*range(2, rank), 1, 0)
        return (*range(2, rank), 0, 1) if self.transposed else tuple(range(rank))


# Of one layer and direction; both frameworks keep these as [4 * hidden, in].
_LSTM = (
    ("weight_ih_l0", ParameterType.WEIGHT),
    ("weight_hh_l0", ParameterType.WEIGHT),
    ("bias_ih_l0", ParameterType.BIAS),
    ("bias_hh_l0", ParameterType.BIAS),
)
RULES = (
    Rule("conv", "weight", ParameterType.CONV_WEIGHT, "kernel", dense=True),
    Rule("conv", "bias", ParameterType.BIAS, "bias"),
    Rule("bn", "weight", ParameterType.BATCH_NORM_SCALE, "scale"),
    Rule("bn", "bias", ParameterType.BATCH_NORM_BIAS, "bias"),
    Rule("ln", "weight", ParameterType.LAYER_NORM_SCALE, "scale"),
    Rule("ln", "bias", ParameterType.LAYER_NORM_BIAS, "bias"),
    *(
        Rule(kind, *row)
        for kind in ("fc", "lin", "linear")
        for row in (
            ("weight", ParameterType.WEIGHT, "kernel", True),
            ("bias", ParameterType.BIAS, "bias"),
        )
    ),
    # Attention: four dense layers, and the learned scale of the queries.
    Rule("query", "weight", ParameterType.ATTENTION_Q, "kernel", dense=True),
    Rule("key", "weight", ParameterType.ATTENTION_K, "kernel", dense=True),
    Rule("value", "weight", ParameterType.ATTENTION_V, "kernel", dense=True),
    Rule("out", "weight", ParameterType.ATTENTION_OUT, "kernel", dense=True),
    *(
        Rule(kind, "bias", ParameterType.ATTENTION_BIAS, "bias")
        for kind in ("query", "key", "value", "out")
    ),
    Rule("qs", "weight", ParameterType.WEIGHT, "scale"),
    Rule("embedding", "weight", ParameterType.EMBEDDING, "embedding"),
    Rule("upconv", "weight", ParameterType.CONV_WEIGHT, "kernel", transposed=True),
    Rule("upconv", "bias", ParameterType.BIAS, "bias"),
    *(
        Rule("lstm", f"{leaf}{direction}", kind, f"{leaf}{direction}")
        for direction in ("", "_reverse")
        for leaf, kind in _LSTM
    ),
)
# Running statistics and counters: PyTorch's buffer -> the entry of JAX's `batch_stats`.
STATISTICS = {
    "running_mean": "mean",
    "running_var": "var",
    "num_batches_tracked": "count",
    # Of accumulated batch norm: what the present step has collected.
    "step_count": "step_count",
    "step_shift": "step_shift",
    "step_mean": "step_mean",
    "step_m2": "step_m2",
    "step_scale": "step_scale",
    "step_bias": "step_bias",
    "base_mean": "base_mean",
    "base_var": "base_var",
}
_ONES = ("running_var", "base_var")  # the others start at 0


def rule(name: str, rules: Sequence[Rule] = RULES) -> Rule:
    """Returns the row for a canonical name.

    Args:
      name: for example 'layer1.0.conv1.weight'.
      rules: the table; a definition's `all_rules` where a family adds rows.

    Raises:
      KeyError: no row knows the layer; the message says what to add.
    """
    *path, leaf = name.split(".")
    layer = next((part for part in reversed(path) if not part.isdigit()), "")
    for row in rules:
        if leaf == row.leaf and re.fullmatch(rf"{row.kind}(\d+|_\w+)?", layer):
            return row
    kinds = sorted({row.kind for row in rules})
    raise KeyError(
        f"No rule for parameter {name!r}: its layer should be named after its kind, "
        f"one of {kinds}, as in 'conv', 'conv1' and 'conv_patch'. Rename it, or add a "
        "row to `rules` in its workload.py."
    )


def parameter_type(name: str, rules: Sequence[Rule] = RULES) -> ParameterType:
    """Returns the type of the parameter with this canonical name."""
    return rule(name, rules).type


Laws = Sequence[tuple[str, Initializer]]


def initial(
    laws: Laws, shapes: Mapping[str, tuple[int, ...]], seed: tuple[int, int]
) -> Flat:
    """Returns the initial parameters, float32 NumPy in canonical form.

    Every parameter has a stream of its own, so that its values do not depend on the
    order of the layers or on the framework.

    Raises:
      KeyError: no law fits a name.
    """
    values = {}
    for name, shape in shapes.items():
        law = _law(laws, name)
        values[name] = law(shape, seeds.generator(seed[0], seed[1], "initial", name))
    return values


def _law(laws: Laws, name: str) -> Initializer:
    for pattern, law in laws:
        if re.fullmatch(pattern, name):
            return law
    raise KeyError(
        f"Nothing says what the initial value of {name!r} is: add a row to `initial` "
        "in its workload.py."
    )


def to_jax(flat: Mapping[str, Any], rules: Sequence[Rule] = RULES) -> dict[str, Any]:
    """Turns canonical parameters into a nested JAX tree of NumPy arrays."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        row = rule(name, rules)
        _insert(tree, name, row.jax_leaf, row.to_jax(np.asarray(value)))
    return tree


def shape_in_jax(
    name: str, shape: tuple[int, ...], rules: Sequence[Rule] = RULES
) -> tuple[int, ...]:
    """Returns the shape in JAX of the canonical parameter of this name and shape."""
    return rule(name, rules).shape_in_jax(shape)


def tree_like_jax(
    flat: Mapping[str, Any], rules: Sequence[Rule] = RULES
) -> dict[str, Any]:
    """Nests values of any kind as the JAX tree of parameters is nested."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        _insert(tree, name, rule(name, rules).jax_leaf, value)
    return tree


def initial_statistics(shapes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns running statistics before the first update: mean 0, variance 1.

    Args:
      shapes: the tree under `batch_stats`, its leaves having `shape` and `dtype`.
    """
    ones = [STATISTICS[name] for name in _ONES]
    tree: dict[str, Any] = {}
    for path, leaf in _leaves(shapes):
        fill = 1 if path[-1] in ones else 0
        _insert(tree, ".".join(path), path[-1], np.full(leaf.shape, fill, leaf.dtype))
    return tree


def statistics_to_jax(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turns PyTorch's running statistics into the tree under `batch_stats`."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        array = np.asarray(value)
        array = array.astype(np.int32) if array.dtype == np.int64 else array
        _insert(tree, name, STATISTICS[name.rpartition(".")[2]], array)
    return tree


def from_jax(tree: Mapping[str, Any], rules: Sequence[Rule] = RULES) -> Flat:
    """Turns a nested JAX tree of parameters into canonical form."""
    flat = {}
    for path, value in _leaves(tree):
        row = _row_of_path(path, rules)
        flat[".".join((*path[:-1], row.leaf))] = row.to_pytorch(np.asarray(value))
    return flat


def statistics_from_jax(tree: Mapping[str, Any]) -> Flat:
    """Turns the tree under `batch_stats` into PyTorch's names."""
    names = {jax_name: name for name, jax_name in STATISTICS.items()}
    return {
        ".".join((*path[:-1], names[path[-1]])): np.asarray(value)
        for path, value in _leaves(tree)
    }


def shapes_from_jax(
    tree: Mapping[str, Any], rules: Sequence[Rule] = RULES
) -> dict[str, tuple[int, ...]]:
    """Returns canonical names and PyTorch shapes of a tree of JAX shapes."""
    shapes = {}
    for path, value in _leaves(tree):
        row = _row_of_path(path, rules)
        shape = row.shape_in_pytorch(tuple(value.shape))
        shapes[".".join((*path[:-1], row.leaf))] = shape
    return shapes


def _row_of_path(path: tuple[str, ...], rules: Sequence[Rule]) -> Rule:
    for leaf in dict.fromkeys(row.leaf for row in rules if row.jax_leaf == path[-1]):
        try:
            row = rule(".".join((*path[:-1], leaf)), rules)
        except KeyError:
            continue
        if row.jax_leaf == path[-1]:
            return row
    return rule(".".join(path), rules)


def _insert(tree: dict[str, Any], name: str, leaf: str, value: Any) -> None:
    for part in name.split(".")[:-1]:
        tree = tree.setdefault(part, {})
    tree[leaf] = value


def _leaves(
    tree: Mapping[str, Any], path: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], Any]]:
    if not isinstance(tree, Mapping):
        return [(path, tree)]
    return [leaf for key in tree for leaf in _leaves(tree[key], (*path, key))]
