"""PyTorch: one device, images in channels_last memory, parameters contiguous."""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from algorithmic_efficiency import params as parameters
from algorithmic_efficiency.backends.base import (
    EVALUATION,
    Pass,
    import_model,
)
from algorithmic_efficiency.backends.compilation_caches import TorchCaches
from algorithmic_efficiency.backends.pytorch_ops import TorchOps as TorchOps
from algorithmic_efficiency.backends.pytorch_weights import RealWeights
from algorithmic_efficiency.definition import Definition
from algorithmic_efficiency.nn import pytorch_cpu
from algorithmic_efficiency.nn.batch_norm.moments import recalibrate
from algorithmic_efficiency.nn.batch_norm.pytorch import batch_norm_mode
from algorithmic_efficiency.state import kinds
from algorithmic_efficiency.state import pytorch as state


def make(*, compile_models: bool | None = None) -> "PyTorchBackend":
    """Returns the backend on the first GPU, or on the CPU where there is none.

    Args:
      compile_models: whether to use torch.compile; None means on a GPU only, since on
        a CPU it takes minutes to compile and then gains nothing (docs/performance.md).
    """
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda:0" if on_gpu else "cpu")
    return PyTorchBackend(device, on_gpu if compile_models is None else compile_models)


class PyTorchBackend:
    """See `backends.base.Backend`."""

    name = "pytorch"
    device_count = 1
    kinds = kinds(state.ARRAYS, state.CODE)

    def __init__(self, device: torch.device, compile_models: bool) -> None:
        self.ops = TorchOps()
        self.device = device
        self.compiles = compile_models
        self._caches = TorchCaches()
        self._real = RealWeights()

    def build(self, definition: Definition) -> Any:
        """Returns what `init` needs to make the module: nothing is allocated yet."""
        return import_model(definition, self.name)

    def shapes(self, model: Any, definition: Definition) -> dict[str, tuple[int, ...]]:
        """Returns names and shapes, from a module without memory."""
        with torch.device("meta"):
            module = model(**definition.model)
        return {name: tuple(p.shape) for name, p in module.named_parameters()}

    def init(self, model: Any, definition: Definition, seed: tuple[int, int]) -> Any:
        """Returns (module on the device, None)."""
        module: nn.Module = model(**definition.model)
        shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
        values = parameters.initial(definition.initial, shapes, seed)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter.copy_(torch.from_numpy(values[name]))
        module.to(self.device)
        return torch.compile(module) if self.compiles else module, None

    def tree(self, function: Any, shapes: Mapping[str, Any]) -> Any:
        """Returns {name: function(name, shape)}."""
        return {name: function(name, shape) for name, shape in shapes.items()}

    def adopt(self, optimizer_state: Any) -> Any:
        """Returns the state as it is."""
        return optimizer_state

    def forward(
        self, model: Any, params: Any, batch: Any, model_state: Any, how: Pass
    ) -> tuple[Any, Any]:
        """Returns (outputs, None); the running statistics are the module's buffers."""
        del model
        params.train(how.train)
        with (
            contextlib.nullcontext() if how.train else torch.no_grad(),
            batch_norm_mode(
                params,
                update=how.update,
                use_running_average=how.use_running_average,
            ),
        ):
            options = {key: float(value) for key, value in how.options.items()}
            return params(self._seen(batch), **options), model_state

    def _seen(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the batch as models see it: no weights where nothing is padded."""
        return {**batch, "weights": self._real.mask(batch.get("weights"))}

    def recalibrate(
        self, model: Any, params: Any, model_state: Any, batches: Iterable[Any]
    ) -> Any:
        """Puts exact running statistics over the batches into the module's buffers."""
        del model
        recalibrate(
            params,
            batches,
            lambda batch: params(self._seen(batch)),
        )
        return model_state

    def predict(
        self,
        model: Any,
        params: Any,
        model_state: Any,
        batch: Any,
        how: Callable[..., Any] | None = None,
    ) -> Any:
        """Returns the outputs with running statistics, or what `how` returns."""
        if how is None:
            outputs, _ = self.forward(model, params, batch, model_state, EVALUATION)
            return _to_numpy(outputs)
        params.eval()
        with (
            torch.no_grad(),
            batch_norm_mode(params, update=False, use_running_average=True),
        ):
            return _to_numpy(how(params, batch))

    def place(self, batch: Mapping[str, Any], fields: Mapping[str, Any]) -> Any:
        """Returns the batch on the device, images as channels_last [B, C, H, W].

        Integer targets become int64, PyTorch's index type. `weights` without padding
        is remembered, so that batch norm need not ask the device.
        """
        placed = {
            key: self._tensor(value, fields.get(key)) for key, value in batch.items()
        }
        if "weights" in batch and np.all(batch["weights"] != 0):
            self._real.remember(placed["weights"])
        return placed

    def _tensor(self, value: Any, field: Any) -> Any:
        if isinstance(value, tuple):
            fields = field or (None,) * len(value)
            return tuple(map(self._tensor, value, fields))
        if value.dtype == np.int32:
            value = value.astype(np.int64)
        tensor = torch.from_numpy(value)
        if field is not None and field.layout == "HWC":
            tensor = tensor.permute(0, 3, 1, 2)
        return tensor.to(self.device, non_blocking=True)

    def make_rng(self, pair: tuple[int, int]) -> np.ndarray:
        """Returns two int32, as in the public API; seed generators with rng[0]."""
        return np.array(pair, np.int32)

    def seed_from(self, rng: Any) -> tuple[int, int]:
        """Returns the pair of integers in `rng`."""
        first, second = np.asarray(rng).reshape(-1)[-2:]
        return int(first), int(second)

    def seed_globals(self, pair: tuple[int, int]) -> None:
        """Seeds PyTorch's generators on all devices."""
        torch.manual_seed((pair[0] << 31) | pair[1])

    def wait(self) -> None:
        """Waits for all streams of all GPUs; a CPU has finished when a call returns."""
        if self.device.type == "cuda":
            for number in range(torch.cuda.device_count()):
                # Another GPU where nobody has memory is not woken up.
                if number == self.device.index or torch.cuda.memory_reserved(number):
                    torch.cuda.synchronize(number)

    def keep_settings(self) -> None:
        """Keeps torch.compile away from what earlier runs have compiled."""
        self._caches.keep()

    def nonfinite(self, params: Any) -> str | None:
        """Returns the name of a parameter that holds NaN or inf, or None."""
        named = list(_unwrap(params).named_parameters())
        finite = torch.stack([torch.isfinite(p.detach()).all() for _, p in named])
        bad = (~finite).nonzero().flatten().tolist()
        return named[bad[0]][0] if bad else None

    def canonical(self, params: Any, model_state: Any) -> dict[str, Any]:
        """Returns parameters and running statistics as NumPy arrays."""
        del model_state
        state = _unwrap(params).state_dict()
        return {name: value.cpu().numpy() for name, value in state.items()}

    def generators(self) -> dict[str, torch.Tensor]:
        """Returns the states of PyTorch's own generators."""
        states = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.device)
        return states

    def set_generators(self, states: Any) -> None:
        """Sets the states that `generators` has returned."""
        torch.set_rng_state(states["cpu"])
        if self.device.type == "cuda" and "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"], self.device)

    def describe(self) -> dict[str, Any]:
        """Returns versions, devices, and who multiplies in dense layers on a CPU."""
        on_gpu = self.device.type == "cuda"
        name = torch.cuda.get_device_name(self.device) if on_gpu else "cpu"
        return {
            "torch": torch.__version__,
            "devices": [name],
            "threads": torch.get_num_threads(),
            "dense_layers": "the GPU" if on_gpu else pytorch_cpu.describe(),
        }


def _to_numpy(tree: Any) -> Any:
    """Returns a tensor, or those in a tuple or dict, on the host."""
    if isinstance(tree, tuple):
        return tuple(map(_to_numpy, tree))
    if isinstance(tree, dict):
        return {key: _to_numpy(value) for key, value in tree.items()}
    # NumPy has no bfloat16.
    return (tree.float() if tree.is_floating_point() else tree).cpu().numpy()


def _unwrap(module: Any) -> nn.Module:
    """Returns the module inside torch.compile or DistributedDataParallel."""
    for wrapper in ("_orig_mod", "module"):
        module = getattr(module, wrapper, module)
    return module  # type: ignore[no-any-return]
