"""Writes a PyTorch model as an ONNX program; each batch norm becomes one node of ONNX.

PyTorch's own exporter does the rest. It would write batch norm as whatever operations
our layer consists of; here the node is written by us, so that its `momentum` is ONNX's,
the weight of the old value, and its statistics keep their canonical names.
"""

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from algorithmic_efficiency.backends.base import import_model
from algorithmic_efficiency.backends.pytorch import PyTorchBackend
from algorithmic_efficiency.errors import UsageError
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm

OPSET = 20  # its BatchNormalization is that of opset 15
_ROOT = "model."
UPDATED = "updated."  # leads the names of the new running statistics
_STATISTICS = ("running_mean", "running_var")


class OnnxBatchNorm(nn.Module):
    """A layer of ours as the operator BatchNormalization, to be traced and not run.

    Its parameters and buffers have the layer's names; its weight is the factor, so
    1 + weight of a layer with a zero-centred scale.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, layer: BatchNorm, *, training: bool) -> None:
        super().__init__()
        if layer.momentum is None and training:
            raise UsageError(
                "Found momentum None, a cumulative average, which ONNX does not have. "
                "Export without --training."
            )
        self.on_axis_1 = layer.on_axis_1
        self.by_batch, self.eps = training, layer.eps
        self.momentum, self.variance = layer.momentum, layer.variance
        factor = layer.weight + layer.zero_centered_scale
        self.weight = nn.Parameter(factor.detach(), requires_grad=False)
        self.bias = nn.Parameter(layer.bias.detach(), requires_grad=False)
        for name in _STATISTICS:
            self.register_buffer(name, getattr(layer, name).detach().clone())
        self.updated: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Returns x normalised, 0 where it is not valid; see `BatchNorm.forward`."""
        z, valid = self.on_axis_1(x, mask)
        if valid is None:
            return self._node(z).reshape(x.shape)
        if self.by_batch:
            raise UsageError(
                "Found a batch norm that leaves padding out, which ONNX's operator "
                "cannot do in training mode. Export without --training."
            )
        y = self._node(torch.where(valid, z, 0))
        return torch.where(valid, y, 0).reshape(x.shape)

    def _node(self, z: Tensor) -> Tensor:
        """Returns y of the node, and keeps what the running statistics become.

        It is in training mode either way, lest the exporter melts it into convolutions;
        `_settle` sets what was asked for.
        """
        old = 0.9 if self.momentum is None else 1 - self.momentum
        y, mean, var = torch.onnx.ops.symbolic_multi_out(
            "BatchNormalization",
            [z, self.weight, self.bias, self.running_mean, self.running_var],
            {"epsilon": self.eps, "momentum": old, "training_mode": 1},
            dtypes=[z.dtype, torch.float32, torch.float32],
            shapes=[z.shape, self.running_mean.shape, self.running_var.shape],
            version=15,
        )
        if self.variance == "unbiased":
            # ONNX's share of the batch is the population variance's; ours is n / (n-1)
            # times that, so 1 / (n-1) of it is added.
            share = var - old * self.running_var
            var = var + share / max(z.numel() // z.shape[1] - 1, 1)
        self.updated = (mean, var)
        return y


class _Traced(nn.Module):
    """The model as a function of plain tensors: what is traced.

    Args:
      model: with its batch norms replaced.
      structure: the batch, its tensors replaced by their numbers.
      training: whether the new statistics are outputs.
    """

    def __init__(self, model: nn.Module, structure: Any, *, training: bool) -> None:
        super().__init__()
        self.model, self.structure, self.by_batch = model, structure, training

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Returns the outputs, then mean and variance of each batch norm."""
        batch = {
            key: tuple(tensors[n] for n in numbers)
            if isinstance(numbers, tuple)
            else tensors[numbers]
            for key, numbers in self.structure.items()
        }
        outputs = [tensor for _, tensor in named("outputs", self.model(batch))]
        if self.by_batch:
            for _, node in _nodes(self.model):
                outputs += node.updated or ()
        return tuple(outputs)


def load(
    definition: Any, canonical: Mapping[str, Any], batch: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Any]]:
    """Returns (the model with these values, the batch as its tensors), on the CPU.

    Args:
      definition: of the workload.
      canonical: parameters and running statistics, NumPy, of either framework.
      batch: NumPy.
    """
    backend = PyTorchBackend(torch.device("cpu"), compile_models=False)
    module: nn.Module = import_model(definition, "pytorch")(**definition.model)
    module.load_state_dict(
        {name: torch.from_numpy(np.array(x)) for name, x in canonical.items()}
    )
    return module.eval(), dict(backend.place(batch, definition.fields))


def layers(model: nn.Module) -> dict[str, BatchNorm]:
    """Returns our batch norms by name."""
    return {n: m for n, m in model.named_modules() if type(m) is BatchNorm}


def named(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yields (name, tensor) of a tensor, or of those in a tuple or dict."""
    if isinstance(value, tuple | list):
        for i, item in enumerate(value):
            yield from named(f"{name}_{i}", item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from named(f"{name}_{key}", item)
    elif value is not None:
        yield name, value


def export(
    model: nn.Module, batch: Mapping[str, Any], *, training: bool, notes: dict[str, str]
) -> Any:
    """Returns the ONNX program of a model; `save(path)` writes it.

    Its inputs are the entries of the batch that the model reads, with any batch size
    where the model allows it; its outputs are called `outputs`. In training mode batch
    norm takes the statistics of the batch, the running ones are inputs that need not be
    given, and outputs `updated.NAME` are their new values. Dropout is off either way.

    Args:
      model: of this project, on the CPU.
      batch: tensors [B, ...] or tuples of them, B at least 2.
      training: the mode of batch norm.
      notes: what the file says about itself.

    Raises:
      UsageError: the exporter or ONNX cannot express the model.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    _replace(model, training=training)
    structure, tensors, names = _taken_apart(batch)
    traced = _Traced(model, structure, training=training).eval()
    program = _traced_program(traced, tensors, names)
    _settle(program.model, names, training=training)
    if training:
        _name_statistics(program.model, [name for name, _ in _nodes(model)])
    program.model.metadata_props.update(notes)
    return program


def _replace(model: nn.Module, *, training: bool) -> None:
    """Puts an `OnnxBatchNorm` in the place of each batch norm of ours."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is BatchNorm:
                setattr(parent, name, OnnxBatchNorm(child, training=training))
            elif training and isinstance(child, BatchNorm):
                raise UsageError(
                    f"Found a {type(child).__name__}; ONNX's operator has no other "
                    "training mode than plain batch norm's. Export without --training."
                )


def _nodes(model: nn.Module) -> list[tuple[str, OnnxBatchNorm]]:
    return [(n, m) for n, m in model.named_modules() if isinstance(m, OnnxBatchNorm)]


def _taken_apart(batch: Mapping[str, Any]) -> tuple[Any, list[Tensor], list[str]]:
    """Returns the batch's structure, its tensors, and the names of these."""
    structure: dict[str, Any] = {}
    tensors: list[Tensor] = []
    names: list[str] = []
    for key, value in batch.items():
        found = list(named(key, value))
        numbers = tuple(range(len(tensors), len(tensors) + len(found)))
        structure[key] = numbers if isinstance(value, tuple) else numbers[0]
        names += [name for name, _ in found]
        tensors += [tensor.contiguous() for _, tensor in found]
    return structure, tensors, names


def _traced_program(traced: nn.Module, tensors: list[Tensor], names: list[str]) -> Any:
    """Returns the exporter's program, for any batch size where that can be."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    batch = {0: torch.export.Dim("batch")}
    reasons = []
    for shapes in ({"tensors": tuple(batch for _ in tensors)}, None):
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")  # of the exporter's own parts
                return torch.onnx.export(
                    traced,
                    tuple(tensors),
                    input_names=names,
                    dynamo=True,
                    verbose=False,
                    opset_version=OPSET,
                    dynamic_shapes=shapes,
                )
        except UsageError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever an exporter may raise
            if isinstance(error.__cause__, UsageError):
                raise error.__cause__ from error
            reasons.append(_first_line(error))
    raise UsageError(
        f"PyTorch's exporter cannot express this model in ONNX: {reasons[-1]}"
    )


def _first_line(error: BaseException) -> str:
    cause = error.__cause__ or error
    lines = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {lines[0] if lines else ''}"[:300]


def _settle(model: Any, names: list[str], *, training: bool) -> None:
    """Gives the program its mode and its names, and takes out what is not the model's.

    The exporter notes in each node from which line of which file it comes.
    """
    graph = model.graph
    for node in graph:
        node.metadata_props.clear()
        node.doc_string = None
        if node.op_type == "BatchNormalization" and not training:
            del node.attributes["training_mode"]  # 0 where it is not given
            node.resize_outputs(1)
    for value in list(graph.initializers.values()):
        value.name = value.name.removeprefix(_ROOT)
    for value in list(graph.inputs):
        if value.name in names and not value.uses():
            graph.inputs.remove(value)
    rest = [value for value in graph.outputs if value.name not in names]
    count = len(rest) - 2 * sum(n.op_type == "BatchNormalization" for n in graph)
    outputs = rest[: count if training else None]
    for i, value in enumerate(outputs):
        value.name = "outputs" if len(outputs) == 1 else f"outputs_{i}"


def _name_statistics(model: Any, layers: list[str]) -> None:
    """Names the new statistics, and makes the old ones inputs with a default."""
    graph = model.graph
    names = [f"{layer}.{name}" for layer in layers for name in _STATISTICS]
    for value, name in zip(graph.outputs[-len(names) :], names, strict=True):
        value.name = f"{UPDATED}{name}"
        graph.inputs.append(graph.initializers[name])
