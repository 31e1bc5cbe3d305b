"""Workloads that lie anywhere: a folder with the files of `workloads/<name>/`.

Such a folder is imported as a package of its own below this module, under a name that
is made of its path, so its `data.py` is nobody else's. The name alone says where the
files are: whoever unpickles an object of it, a process that reads data or that runs a
trial, imports this module first, and that is all there is to set up.

In the files of the folder `import` statements of `workloads.<its name>` mean its own
modules, as they will once it lies in the project.
"""

import builtins
import dataclasses
import importlib
import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from algorithmic_efficiency.definition import Definition
from algorithmic_efficiency.errors import UsageError

FILES = ("workload.py", "pytorch.py", "jax.py")

__path__: list[str] = []  # so that it may have submodules, which `_Finder` finds


def package_of(folder: Path) -> str:
    """Returns the name under which a folder is imported."""
    text = str(folder.resolve())
    encoded = re.sub("[^A-Za-z0-9]", lambda m: _escaped(m.group()), text)
    return f"{__name__}.{encoded}"


def folder_of(package: str) -> Path:
    """Returns the folder of such a name; inverse of `package_of`."""
    encoded = package.removeprefix(f"{__name__}.")
    raw = re.sub("_([0-9a-f]{2})", lambda m: chr(int(m.group(1), 16)), encoded)
    return Path(raw.encode("latin-1").decode())


def _escaped(character: str) -> str:
    return "".join(f"_{byte:02x}" for byte in character.encode())


def read(folder: Path) -> dict[str, Definition]:
    """Returns the definitions in a folder's `workload.py`, by name.

    Names of modules in them that begin with `workloads.<name of the folder>` are those
    under which the folder is imported.

    Raises:
      UsageError: it is no folder of a workload, or its `workload.py` cannot be read.
    """
    if not (folder / FILES[0]).is_file():
        raise UsageError(
            f"There is no workload in {folder}: expected a folder with the files "
            f"{', '.join(FILES)}. `algoperf new-workload NAME` makes one that runs."
        )
    package = package_of(folder)
    try:
        table = importlib.import_module(f"{package}.workload").WORKLOADS
    except Exception as error:  # whatever a user's file raises
        raise UsageError(
            f"{folder / FILES[0]} raised {type(error).__name__} while it was read: "
            f"{error}. It should end with a table WORKLOADS of name -> Definition."
        ) from error
    own = _own_name(folder)
    for name, row in table.items():
        if not isinstance(row, Definition) or row.name != name:
            raise UsageError(
                f"{folder / FILES[0]}: WORKLOADS[{name!r}] is {_shown(row)}, expected "
                "a Definition of that name."
            )
        if _renamed(row.package, own, package) != package:
            raise UsageError(
                f"{folder / FILES[0]}: the package of {name!r} is {row.package!r}, "
                f"expected {own!r}. `package=__package__` is always right."
            )
    return {name: _renamed(row, own, package) for name, row in table.items()}


def _own_name(folder: Path) -> str:
    """Returns the package's name once the folder lies in the project."""
    return f"workloads.{folder.resolve().name}"


def _shown(row: Any) -> str:
    return f"that of {row.name!r}" if isinstance(row, Definition) else repr(row)


def _renamed(value: Any, own: str, package: str) -> Any:
    """Returns a value with the names of modules in it that begin with `own` changed."""
    if isinstance(value, str):
        return (
            package + value[len(own) :] if f"{value}.".startswith(f"{own}.") else value
        )
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(_renamed(item, own, package) for item in value)
    if isinstance(value, dict):
        return {key: _renamed(item, own, package) for key, item in value.items()}
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    found = {
        f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init
    }
    changed = {
        name: new
        for name, item in found.items()
        if (new := _renamed(item, own, package)) != item
    }
    return dataclasses.replace(value, **changed) if changed else value


class _Finder:
    """Finds a folder's package and the modules in it."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Returns where a module's file is; None for all modules of others."""
        del path, target
        if not name.startswith(f"{__name__}."):
            return None
        encoded, *inner = name.removeprefix(f"{__name__}.").split(".")
        place = folder_of(encoded).joinpath(*inner)
        if (file := place.with_name(f"{place.name}.py")).is_file() and inner:
            return importlib.util.spec_from_file_location(
                name, file, loader=_Loader(name, str(file))
            )
        if (file := place / "__init__.py").is_file():
            return importlib.util.spec_from_file_location(
                name,
                file,
                loader=_Loader(name, str(file)),
                submodule_search_locations=[str(place)],
            )
        if not place.is_dir():
            return None
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(place)]
        return spec


class _Loader(SourceFileLoader):
    """Runs a module's file; its import statements know the folder by both names."""

    def exec_module(self, module: ModuleType) -> None:
        """Runs the file, with an `__import__` of its own among the builtins."""
        importer = _Importer(module.__name__)
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": importer}
        super().exec_module(module)


class _Importer:
    """What `__import__` is to the modules of one folder."""

    def __init__(self, module: str) -> None:
        encoded = module.removeprefix(f"{__name__}.").partition(".")[0]
        self.package = f"{__name__}.{encoded}"
        self.own = _own_name(folder_of(encoded))

    def __call__(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - as Python calls it
        locals: Mapping[str, Any] | None = None,  # noqa: A002 - likewise
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Imports a module; one of `workloads.<name>` is the folder's own."""
        items = tuple(fromlist or ())
        last = self.own.rpartition(".")[2]
        if level == 0 and f"{name}.".startswith(f"{self.own}."):
            own = self.package + name[len(self.own) :]
            importlib.import_module(own)
            if items:
                return builtins.__import__(own, globals, locals, items)
        elif level or name != "workloads" or last not in items:
            return builtins.__import__(name, globals, locals, items, level)
        return _Workloads(last, importlib.import_module(self.package))


class _Workloads(ModuleType):
    """The project's `workloads`, with one folder more."""

    def __init__(self, name: str, package: ModuleType) -> None:
        super().__init__("workloads")
        setattr(self, name, package)

    def __getattr__(self, name: str) -> Any:
        """Returns a package of the project."""
        return importlib.import_module(f"workloads.{name}")


sys.meta_path.insert(0, _Finder)  # before the one that would load files as they are
