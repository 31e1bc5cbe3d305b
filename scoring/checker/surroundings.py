"""What a submission must leave as it is: the harness's code and objects, settings.

Every function returns name -> value; `watch.Watch` compares them before and after.
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

PACKAGES = ("algorithmic_efficiency", "workloads")
GRACE_SECONDS = 0.05  # work that is done may need a moment to say so
LAZY = {"_shapes", "_types", "metrics_logger"}  # of a workload, set by the harness


def harness_code() -> dict[str, Any]:
    """Return every function, class, method and table of the harness, and the clocks."""
    found: dict[str, Any] = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in PACKAGES or module is None:
            continue
        for key, value in list(vars(module).items()):
            found.update(_code(f"{name}.{key}", value))
            if inspect.isclass(value) and value.__module__ == name:
                for attribute, member in list(vars(value).items()):
                    found.update(_code(f"{name}.{key}.{attribute}", member))
    for key, value in vars(time).items():
        found.update(_code(f"time.{key}", value))
    return found


def own_values(owner: Any, name: str) -> dict[str, Any]:
    """Return the attributes of an object of the harness, and what hides its class's."""
    values = vars(owner)
    hidden = sorted(key for key in values if hasattr(type(owner), key))
    kept = {f"{name}.{k}": v for k, v in values.items() if k not in LAZY}
    return {**kept, f"a method of {name}": ", ".join(hidden)}


def forwards(model: Any) -> dict[str, Any]:
    """Return which modules of a PyTorch model have a forward pass of their own."""
    return {
        f"the forward pass of {name or 'the model'}": vars(module).get("forward")
        for name, module in _modules(model)
    }


def hooks(model: Any) -> dict[str, Any]:
    """Return the numbers of hooks on the modules of a PyTorch model."""
    return {
        f"the hooks of {name or 'the model'}": len(module._forward_hooks)
        + len(module._forward_pre_hooks)
        for name, module in _modules(model)
    }


def settings(framework: str) -> dict[str, Any]:
    """Return the framework's and NumPy's settings for the whole process."""
    errors = {f"numpy.seterr {key}": value for key, value in np.geterr().items()}
    return {**errors, **(_of_jax() if framework == "jax" else _of_pytorch())}


def _code(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what can be replaced of a function, a class or a table."""
    if isinstance(value, Mapping):
        yield from ((f"{name}[{key!r}]", item) for key, item in value.items())
    elif callable(value) or isinstance(value, property | staticmethod | classmethod):
        yield name, value
        if inspect.isfunction(value):
            yield f"{name}.__code__", value.__code__


def _modules(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield names and modules of a PyTorch model; a Flax module keeps nothing."""
    if hasattr(model, "named_modules"):
        yield from model.named_modules()


def _of_pytorch() -> dict[str, Any]:
    import torch

    return {
        "torch's default dtype": str(torch.get_default_dtype()),
        "torch's number of threads": torch.get_num_threads(),
        "torch's precision of products": torch.get_float32_matmul_precision(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
        **{
            f"torch.backends.cudnn.{name}": getattr(torch.backends.cudnn, name)
            for name in ("benchmark", "deterministic", "allow_tf32")
        },
    }


def _of_jax() -> dict[str, Any]:
    import jax

    return {f"jax.config.{name}": value for name, value in jax.config.values.items()}
