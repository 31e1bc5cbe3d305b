"""Batch norm layers from and to the layouts of other projects, as NumPy arrays.

Projects differ in names, in what momentum is the weight of, in the variance that enters
the running one, and in whether the scale is the parameter or 1 + parameter.
`layouts.LAYOUTS` has a row for each; `read` and `write` do the rest:

    norm = read("linen", {"params": {...}, "batch_stats": {...}}, momentum=0.9)
    arrays, settings = write("torch", norm, values=32 * 7 * 7)

No project is imported here, so none has to be installed.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithmic_efficiency.nn.batch_norm import check_variance, momentum_from
from algorithmic_efficiency.nn.batch_norm.layouts import LAYOUTS, Layout

_DEFAULT: Any = object()


@dataclasses.dataclass(frozen=True)
class Norm:
    """A layer in our convention; arrays are float32 [C].

    Attributes:
      scale, bias: y = (x - M) / sqrt(V + epsilon) * scale + bias; None: there is none.
      mean, var: the running statistics.
      momentum: the weight of the new batch; None is cumulative.
      variance: 'unbiased' or 'population', what has entered `var`.
      count: the number of updates; None: not known.
      start: the weight that mean 0 and variance 1, before the first update, still have
        in the statistics; None: not known.
    """

    scale: np.ndarray | None
    bias: np.ndarray | None
    mean: np.ndarray
    var: np.ndarray
    momentum: float | None
    epsilon: float
    variance: str
    count: int | None
    start: float | None

    def with_variance(self, variance: str, values: float | None = None) -> "Norm":
        """Returns the layer with the other estimator in its running variance.

        After K updates from 1 by batches of n values per channel each, with
        s = (1 - momentum)^K the weight of that 1:

            population - s = (unbiased - s) * (n - 1) / n

        With another n in each batch there is no exact way.

        Args:
          variance: 'unbiased' or 'population'.
          values: n, batch size times positions; math.inf leaves the values alone.

        Raises:
          ValueError: the estimators differ and n or the number of updates is missing.
        """
        check_variance(variance)
        if variance == self.variance:
            return self
        if values is None or not values > 1:
            raise ValueError(
                f"Found values={values}; the running variance is {self.variance} and "
                f"is to be {variance}, so expected the number of values per channel of "
                "a batch, above 1. Pass math.inf to keep the variance as it is."
            )
        factor = 1 - 1 / values
        if factor < 1 and self.start is None:
            raise ValueError(
                "Found no number of updates, which the exact conversion of the running "
                "variance needs. Pass count=... to read, or values=math.inf here to "
                "keep the variance as it is."
            )
        start = self.start or 0.0
        ratio = factor if variance == "population" else 1 / factor
        var = _float32((np.float64(self.var) - start) * ratio + start)
        return dataclasses.replace(self, var=var, variance=variance)

    def debiased(self, *, as_equinox: bool = False) -> "Norm":
        """Returns the layer with statistics that its start has no part in.

        These are weighted means of the batches alone: mean / (1 - s) and
        (var - s) / (1 - s), s being the weight of the start.

        Args:
          as_equinox: what Equinox's mode 'batch' normalises with at inference,
            var / (1 - s), though its variance starts at 1; equal outputs need this.

        Raises:
          ValueError: the number of updates is not known.
        """
        if self.start is None:
            raise ValueError(
                "Found no number of updates, so the weight of the start is not known. "
                "Pass count=... to read."
            )
        if self.start == 1:  # no update yet, or none that moves anything
            return self
        rest = 1 - self.start
        var = np.float64(self.var) - (0.0 if as_equinox else self.start)
        mean = np.float64(self.mean) / rest
        return dataclasses.replace(
            self, mean=_float32(mean), var=_float32(var / rest), start=0.0
        )


def read(
    project: str,
    arrays: Mapping[str, Any],
    *,
    momentum: float | None = _DEFAULT,
    epsilon: float = 1e-5,
    variance: str | None = None,
    zero_centered_scale: bool = False,
    count: int | None = None,
) -> Norm:
    """Returns a layer of a project in our convention.

    Args:
      project: a key of `LAYOUTS`.
      arrays: under the names and in the nesting of that project; scale and bias may be
        missing. Arrays of any framework on the CPU.
      momentum: the layer's setting in that project's meaning; its default where left
        out.
      epsilon: the layer's setting.
      variance: of our own layers only, 'unbiased' where left out.
      zero_centered_scale: the parameter is the scale minus 1.
      count: the number of updates, for projects that do not keep it.

    Raises:
      ValueError: a name is missing or a shape differs.
    """
    layout, flat = _layout(project), _flat(arrays)
    ours = momentum_from(
        layout.convention, layout.momentum if momentum is _DEFAULT else momentum
    )
    mean, var = (_needed(project, flat, name) for name in (layout.mean, layout.var))
    scale, bias = flat.get(layout.scale), flat.get(layout.bias)
    for name, value in (("scale", scale), ("bias", bias), ("var", var)):
        if value is not None and value.shape != mean.shape:
            raise ValueError(
                f"Found {name} of shape {value.shape} beside a mean of shape "
                f"{mean.shape}; expected the same, one value per channel."
            )
    if layout.count in flat:
        count = int(flat[layout.count])
    start = _start(ours, count)
    if layout.first is not None:
        if _needed(project, flat, layout.first):  # the arrays hold no values yet
            mean, var, count = np.zeros_like(mean), np.ones_like(var), 0
        start = 1.0 if count == 0 else 0.0
    if scale is not None:
        scale = _float32(scale + zero_centered_scale)
    estimator = layout.variance or variance or "unbiased"
    check_variance(estimator)
    return Norm(scale, bias, mean, var, ours, epsilon, estimator, count, start)


def write(
    project: str,
    norm: Norm,
    *,
    variance: str | None = None,
    zero_centered_scale: bool = False,
    values: float | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns (arrays, settings) of a layer for a project; the inverse of `read`.

    Args:
      project: a key of `LAYOUTS`.
      norm: the layer.
      variance: for our own layers only, the layer's where left out.
      zero_centered_scale: the parameter is to be the scale minus 1.
      values: see `Norm.with_variance`.

    Raises:
      ValueError: the project cannot express the layer, or something is not known.
    """
    layout = _layout(project)
    norm = norm.with_variance(layout.variance or variance or norm.variance, values)
    if norm.momentum is None and layout.convention != "pytorch":
        raise ValueError(
            f"Found momentum None, which is cumulative; {project} has no such setting. "
            "Expected a number: use dataclasses.replace(norm, momentum=...)."
        )
    scale, bias = norm.scale, norm.bias
    if project == "onnx":  # both are inputs that cannot be left out
        scale = np.ones_like(norm.mean) if scale is None else scale
        bias = np.zeros_like(norm.mean) if bias is None else bias
    if scale is not None:
        scale = _float32(scale - zero_centered_scale)
    named = {layout.scale: scale, layout.bias: bias}
    named |= {layout.mean: norm.mean, layout.var: norm.var}
    if layout.count is not None:
        if norm.count is None:
            raise ValueError(
                f"Found no number of updates; {project} keeps it. Expected it in the "
                "layer: pass count=... to read."
            )
        dtype = np.int64 if layout.count == "num_batches_tracked" else np.int32
        named[layout.count] = np.array(norm.count, dtype)
    if layout.first is not None:
        named[layout.first] = np.array(norm.count == 0)
    settings: dict[str, Any] = {
        "momentum": _setting(layout, norm.momentum),
        layout.epsilon: norm.epsilon,
    }
    if layout.variance is None:
        settings["variance"] = norm.variance
    if zero_centered_scale and layout.variance is None:
        settings["zero_centered_scale"] = True
    return _nested({k: v for k, v in named.items() if v is not None}), settings


def _setting(layout: Layout, momentum: float | None) -> float | None:
    """Returns a project's setting for our momentum: 1 - m undoes 1 - m."""
    return momentum_from(layout.convention, momentum)


def _start(momentum: float | None, count: int | None) -> float | None:
    """Returns the weight of the start after `count` updates."""
    if count is None:
        return None
    if momentum is None:
        return 0.0 if count else 1.0
    return float((1.0 - momentum) ** count)


def _layout(project: str) -> Layout:
    if project not in LAYOUTS:
        raise ValueError(
            f"Found project {project!r}; known are {', '.join(sorted(LAYOUTS))}."
        )
    return LAYOUTS[project]


def _needed(project: str, flat: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in flat:
        raise ValueError(
            f"Found no {name!r} among {sorted(flat)}, which {project} keeps; pass the "
            f"arrays as {project} names and nests them."
        )
    return flat[name]


def _flat(arrays: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Returns nested arrays by dotted names, floating-point ones as float32."""
    flat: dict[str, np.ndarray] = {}
    for key, value in arrays.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{name}.")
        elif value is not None:
            flat[name] = _array(value)
    return flat


def _array(value: Any) -> np.ndarray:
    detach = getattr(value, "detach", None)  # PyTorch's, out of the gradient's graph
    if detach is not None:
        value = detach().float() if value.is_floating_point() else detach()
    array = np.asarray(value)
    is_number = array.dtype.kind in "iub"
    return array.copy() if is_number else array.astype(np.float32)


def _float32(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32)


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *path, leaf = name.split(".")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[leaf] = value
    return tree
