"""Classes of a submission's objects: which can be saved, and how they are found again.

A checkpoint names classes and never brings any code. A class is looked up among the
modules that are loaded already, and an object is made without calling anything of it.
"""

import concurrent.futures
import functools
import io
import socket
import subprocess
import sys
import sysconfig
import threading
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

# Parts of libraries whose objects may appear in a state during training. Classes of a
# submission's own files, and of objects that it makes at its start, are found anyway.
_LIBRARIES = (
    "algorithmic_efficiency",
    "chex",
    "flax.core",
    "flax.struct",
    "jax.numpy",
    "optax",
    "torch.amp",
    "torch.nn.modules",
    "torch.optim",
)
_STANDARD = (
    "builtins:object",
    "collections:ChainMap",
    "collections:Counter",
    "collections:OrderedDict",
    "collections:UserDict",
    "collections:UserList",
    "types:SimpleNamespace",
)
# Their state is in the system; Python shows only a part of it.
OUTSIDE = (
    threading.Thread,
    io.IOBase,
    concurrent.futures.Executor,
    concurrent.futures.Future,
    subprocess.Popen,
    socket.socket,
)
_MADE_AT_START = (
    "make it in init_optimizer_state, where a resumed run makes it again, and keep "
    "it at that place"
)
_ADVICE: tuple[tuple[tuple[type, ...], str], ...] = (
    (
        (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType),
        "the position of a generator cannot be saved; keep a counter and make the "
        "generator again from it",
    ),
    (
        OUTSIDE,
        "it lives in the system and not in the state; keep it out of what "
        "init_optimizer_state and update_params return",
    ),
    ((types.FunctionType, types.BuiltinFunctionType), _MADE_AT_START),
)


def advice(cls: type) -> str:
    """Returns what to do about an object that cannot be saved."""
    for kinds, text in _ADVICE:
        if issubclass(cls, kinds):
            return text
    if hasattr(cls, "__next__"):
        return (
            _ADVICE[0][1]
            .replace("a generator", "an iterator", 1)
            .replace("the generator", "the iterator")
        )
    if "<locals>" in cls.__qualname__:
        return f"define its class at the top of the file, or {_MADE_AT_START}"
    return (
        "keep plain data, arrays or objects of your own classes instead, or "
        + _MADE_AT_START
    )


def described(cls: type) -> str:
    """Returns a class's name for people."""
    if cls.__module__ == "builtins":
        return cls.__qualname__
    return f"{cls.__module__}.{cls.__qualname__}"


def public_name(cls: type) -> str | None:
    """Returns the name by which `find` finds the class, or None."""
    name = f"{cls.__module__}:{cls.__qualname__}"
    return name if _look_up(name) is cls else None


def find(name: str) -> type:
    """Returns a class by its public name.

    Raises:
      LookupError: there is none, or objects of it are never made from a file.
    """
    cls = _look_up(name)
    if cls is None:
        raise LookupError(f"there is no class {name.replace(':', '.')}")
    return cls


def _look_up(name: str) -> type | None:
    module_name, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module_name)
    for part in qualname.split("."):
        if found is None:
            return None
        found = vars(found).get(part)
    if not isinstance(found, type) or not _allowed(found, module_name, name):
        return None
    return found


def _allowed(cls: type, module: str, name: str) -> bool:
    if name in _STANDARD:
        return True
    if module.partition(".")[0] in sys.stdlib_module_names and module != "__main__":
        return False
    if issubclass(cls, np.generic) or (
        issubclass(cls, tuple) and hasattr(cls, "_fields")
    ):
        return True
    if any(module == known or module.startswith(known + ".") for known in _LIBRARIES):
        return True
    return is_own_file(getattr(sys.modules[module], "__file__", None))


@functools.cache
def _library_folders() -> tuple[Path, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = sysconfig.get_paths()
    return (*(Path(paths[name]).resolve() for name in names), _package_folder())


def _package_folder() -> Path:
    return Path(__file__).resolve().parent.parent


@functools.cache
def is_own_file(file: str | None) -> bool:
    """Says whether a file of code is a submission's, and not a library's or ours."""
    if file is None or not file.endswith(".py"):
        return False
    path = Path(file).resolve()
    return not any(path.is_relative_to(folder) for folder in _library_folders())


def walkable(cls: Any, base: Any = object) -> bool:
    """Says whether an object's attributes are all of its state beyond `base`.

    A class written in C may keep more, which shows in the size of its objects.
    """
    size = base.__basicsize__ + 8 * sum(1 for _ in _slots(cls))
    for offset in ("__dictoffset__", "__weakrefoffset__"):
        # -1: outside of the object's own memory.
        if getattr(cls, offset) not in (0, -1) and getattr(base, offset) == 0:
            size += 8
    is_small = cls.__basicsize__ <= size and cls.__itemsize__ == base.__itemsize__
    return bool(is_small)


def attributes(value: Any) -> dict[str, Any]:
    """Returns an object's attributes, those in slots included.

    An object that carries a `__getstate__` of its own, as a batch norm does while a
    block holds it, says so what its copies are made from.
    """
    found = dict(getattr(value, "__dict__", {}))
    if callable(own := found.get("__getstate__")):  # it is lent out: see batch_norm
        found = dict(own())
    for name, slot in _slots(type(value)):
        try:
            found[name] = slot.__get__(value)
        except AttributeError:
            continue
    return found


def set_attributes(value: Any, wanted: Mapping[str, Any]) -> None:
    """Gives an object these attributes and no others, without calling its methods."""
    slots = dict(_slots(type(value)))
    own = getattr(value, "__dict__", None)
    if own is not None:
        for name in [name for name in own if name not in wanted]:
            del own[name]
        own.update({k: v for k, v in wanted.items() if k not in slots})
    for name, slot in slots.items():
        if name in wanted:
            slot.__set__(value, wanted[name])


def _slots(cls: type) -> Iterator[tuple[str, Any]]:
    """Gives (name, descriptor) of each slot of a class."""
    for base in cls.__mro__:
        names = base.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else tuple(names):
            if name in ("__dict__", "__weakref__"):
                continue
            private = name.startswith("__") and not name.endswith("__")
            key = f"_{base.__name__.lstrip('_')}{name}" if private else name
            slot = base.__dict__.get(key)
            if isinstance(slot, types.MemberDescriptorType):
                yield key, slot
