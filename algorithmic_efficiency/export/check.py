"""Runs an ONNX file beside our own forward pass, and reads its batch norms."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from algorithmic_efficiency.errors import StorageError
from algorithmic_efficiency.nn.batch_norm.interchange import Norm, read

LARGEST_DIFFERENCE = 1e-3


def run(path: Path, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the outputs of a file by name, computed by ONNX Runtime on the CPU.

    Args:
      path: of the file.
      feeds: by the names of inputs; those that the file does not have are left out.
    """
    import onnxruntime  # noqa: PLC0415 - only where it is needed

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
    known = {value.name for value in session.get_inputs()}
    outputs = session.run(None, {k: v for k, v in feeds.items() if k in known})
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, outputs, strict=True))


def largest_difference(
    found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]
) -> float:
    """Returns the largest difference, relative to each array's largest value.

    The scale is 1 at least. It is inf where a name or a shape differs, or a value is
    not finite in one of the two only.
    """
    if found.keys() != wanted.keys():
        return float("inf")
    worst = 0.0
    for name, value in wanted.items():
        ours, theirs = (np.asarray(x, np.float64) for x in (value, found[name]))
        if ours.shape != theirs.shape:
            return float("inf")
        same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
        if bool(np.all(same)):
            continue
        gaps = np.abs(np.where(same, 0.0, ours - theirs))
        scale = max(1.0, float(np.max(np.abs(ours[np.isfinite(ours)]), initial=0.0)))
        gap = float(np.max(gaps)) / scale
        worst = max(worst, gap if np.isfinite(gap) else float("inf"))
    return worst


def batch_norms(path: Path) -> dict[str, Norm]:
    """Returns each batch norm in a file by the layer's name, in our convention."""
    import onnx  # noqa: PLC0415 - only where it is needed
    from onnx import numpy_helper  # noqa: PLC0415

    graph = onnx.load(str(path)).graph
    arrays = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    inputs = ("scale", "B", "input_mean", "input_var")
    found = {}
    for node in graph.node:
        if node.op_type == "BatchNormalization":
            given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            named = dict(zip(inputs, node.input[1:], strict=True))
            layer = named["input_mean"].removesuffix(".running_mean")
            found[layer] = read(
                "onnx",
                {name: arrays[value] for name, value in named.items()},
                momentum=given.get("momentum", 0.9),
                epsilon=given.get("epsilon", 1e-5),
            )
    return found


def check_batch_norms(
    found: Mapping[str, Norm], layers: Mapping[str, Any], path: Path
) -> None:
    """Raises StorageError unless a file's batch norms are those of the model.

    Args:
      found: what `batch_norms` has read.
      layers: name -> our PyTorch layer.
      path: of the file, for the error.
    """
    for name, layer in layers.items():
        norm = found.get(name)
        wanted = {
            "momentum": 0.1 if layer.momentum is None else layer.momentum,
            "epsilon": layer.eps,
        }
        for what, value in wanted.items():
            told = None if norm is None else getattr(norm, what)
            if told is None or not np.isclose(told, value, rtol=1e-5, atol=1e-7):
                raise StorageError(
                    f"Found {what} {told} of the batch norm {name} in {path}, expected "
                    f"{value}; the file was not kept. This is a fault of the exporter: "
                    "please report it."
                )
