"""Writes a PyTorch model as an ONNX program; each batch norm becomes one node of ONNX.

PyTorch's own exporter does the rest; `pytorch_nodes` has the layer that is traced in
the place of ours.
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
from algorithmic_efficiency.export.pytorch_nodes import STATISTICS, nodes, replace
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm

OPSET = 20  # its BatchNormalization is that of opset 15
_ROOT = "model."
UPDATED = "updated."  # leads the names of the new running statistics


class _Traced(nn.Module):
    """The model as a function of plain tensors: what is traced.

    Args:
      model: with its batch norms replaced.
      structure: the batch, its tensors replaced by their numbers.
    """

    def __init__(self, model: nn.Module, structure: Any) -> None:
        super().__init__()
        self.model, self.structure = model, structure

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Returns the outputs, then mean and variance of each batch norm.

        Args:
          tensors: those of the batch, then mean and variance of each batch norm.
        """
        batch = {
            key: tuple(tensors[n] for n in numbers)
            if isinstance(numbers, tuple)
            else tensors[numbers]
            for key, numbers in self.structure.items()
        }
        found = [node for _, node in nodes(self.model)]
        for i, node in enumerate(reversed(found)):
            node.old = tensors[len(tensors) - 2 * i - 2 : len(tensors) - 2 * i]
        outputs = [tensor for _, tensor in named("outputs", self.model(batch))]
        return (*outputs, *(tensor for node in found for tensor in node.new))


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


@torch.no_grad()
def values_per_channel(model: nn.Module, batch: Mapping[str, Any]) -> dict[str, int]:
    """Returns how many values per channel each of our batch norms sees in a batch."""
    found = {}
    hooks = []
    for name, layer in layers(model).items():

        def note(layer: Any, inputs: Any, name: str = name) -> None:
            found[name] = inputs[0].numel() // layer.num_features

        hooks.append(layer.register_forward_pre_hook(note))
    model(dict(batch))
    for hook in hooks:
        hook.remove()
    return found


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
    given, and outputs `updated.NAME` are their new values, with ONNX's estimator of the
    variance, the population's. Dropout is off either way.

    Args:
      model: of this project, on the CPU.
      batch: tensors [B, ...] or tuples of them, B at least 2.
      training: the mode of batch norm.
      notes: what the file says about itself.

    Raises:
      UsageError: the exporter or ONNX cannot express the model.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    batch = _read_by(model, batch)
    replace(model, training=training)
    structure, tensors, names = _taken_apart(batch)
    old = {
        f"{name}.{key}": value
        for name, node in nodes(model)
        for key, value in zip(STATISTICS, node.old, strict=True)
    }
    traced = _Traced(model, structure).eval()
    program = _traced_program(traced, {**dict(zip(names, tensors, strict=True)), **old})
    _settle(program.model.graph, old, training=training)
    program.model.metadata_props.update(notes)
    return program


class _Noting(dict[str, Any]):
    """A batch that notes which of its entries are looked at."""

    def __init__(self, batch: Mapping[str, Any]) -> None:
        super().__init__(batch)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Returns the entry, or the default."""
        self.read.add(key)
        return super().get(key, default)


@torch.no_grad()
def _read_by(model: nn.Module, batch: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entries of a batch that a forward pass reads."""
    noting = _Noting(batch)
    model(noting)
    return {key: value for key, value in batch.items() if key in noting.read}


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


def _traced_program(traced: nn.Module, inputs: dict[str, Tensor]) -> Any:
    """Returns the exporter's program, for any batch size where that can be.

    Args:
      traced: the function.
      inputs: by the names that they shall have; statistics have a dot in it.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    batch = {0: torch.export.Dim("batch")}
    sizes = tuple(None if "." in name else batch for name in inputs)
    reasons = []
    for shapes in ({"tensors": sizes}, None):
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")  # of the exporter's own parts
                return torch.onnx.export(
                    traced,
                    tuple(inputs.values()),
                    input_names=list(inputs),
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


def _settle(graph: Any, old: Mapping[str, Tensor], *, training: bool) -> None:
    """Names a graph's values, gives it the statistics, and takes out what is not it.

    The exporter notes in each node from which line of which file it comes.
    """
    import onnx_ir  # noqa: PLC0415 - where it is missing, the rest can be imported

    for value in list(graph.initializers.values()):
        value.name = value.name.removeprefix(_ROOT)
    for value in list(graph.inputs):
        if value.name in old:
            value.const_value = onnx_ir.tensor(old[value.name].numpy(), name=value.name)
            graph.register_initializer(value)
            if not training:  # else it is an input with a default
                graph.inputs.remove(value)
    new = [f"{UPDATED}{name}" for name in old] if training else []
    count = len(graph.outputs) - len(new)
    outputs = ["outputs"] if count == 1 else [f"outputs_{i}" for i in range(count)]
    for value, name in zip(graph.outputs, outputs + new, strict=True):
        value.name = name
    for node in graph:
        node.metadata_props.clear()
        node.doc_string = None
