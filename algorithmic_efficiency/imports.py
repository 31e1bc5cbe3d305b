"""Imports a submission and the modules of its own, apart from everybody else's.

A file `utils.py` beside a submission is its `utils` and nobody else's: not that of
another submission in the process, and not that of a package which the harness uses.
Hence its modules are not found through `sys.path` and do not carry their plain names in
`sys.modules`; the import statements of its files come here instead, as Python looks
`__import__` up in the builtins of the importing module.
"""

import builtins
import hashlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from algorithmic_efficiency import removed_names, sources


class Importer:
    """Loads one submission; its modules live as long as their functions do."""

    def __init__(self, file: Path) -> None:
        self.tree = sources.Tree(file)
        digest = hashlib.blake2b(str(self.tree.file).encode(), digest_size=4)
        self._prefix = f"submission_{digest.hexdigest()}"
        self._modules: dict[Path, ModuleType] = {}
        self._builtins = {**vars(builtins), "__import__": self._import}

    def load(self) -> ModuleType:
        """Returns the submission's module; raises whatever the file raises."""
        sys.modules[self._prefix] = ModuleType(self._prefix)  # as pickle expects
        return self._module(self.tree.file)

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - as Python calls it
        locals: Mapping[str, Any] | None = None,  # noqa: A002 - likewise
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Does what the builtin `__import__` does, for the submission's own files."""
        items = list(fromlist or ())
        importer = Path((globals or {}).get("__file__") or self.tree.file)
        if level:
            root: Path | None = sources.folder_of(importer, level)
            return self._own(root, name, items, relative=True)
        name = sources.own_name(name)
        root = self.tree.own(name, items, importer)
        if root is not None:
            return self._own(root, name, items)
        removed_names.offer(name)
        try:
            return builtins.__import__(name, globals, locals, items, 0)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # the module is there, and lacks another one
        root = self.tree.fallback(name, items)
        return self._own(root, name, items)

    def _own(
        self,
        root: Path | None,
        name: str,
        items: Sequence[str],
        *,
        relative: bool = False,
    ) -> ModuleType:
        """Returns the module that the statement binds, with all on the way to it."""
        parts = name.split(".") if name else []
        if root is None or (parts and sources.find(root, parts, items) is None):
            raise ModuleNotFoundError(self._lost(root, name, relative), name=name)
        chain = [self._module(root)] if not parts else []
        for count in range(1, len(parts) + 1):
            chain.append(self._child(root.joinpath(*parts[:count])))
            if count > 1:
                setattr(chain[-2], parts[count - 1], chain[-1])
        last = chain[-1]
        if "*" in items:
            items = [*items, *getattr(last, "__all__", ())]
        for item in items:
            self._add_item(last, item)
        return last if items else chain[0]

    def _add_item(self, module: ModuleType, item: str) -> None:
        """Loads what is imported from a package, if that is a module in it."""
        if item == "*" or hasattr(module, item):
            return
        for folder in getattr(module, "__path__", ()):
            if sources.find(Path(folder), [item]) is not None:
                setattr(module, item, self._child(Path(folder, item)))

    def _child(self, stem: Path) -> ModuleType:
        """Returns the module of a path without its ending."""
        file = stem.with_name(f"{stem.name}.py")
        is_file = file.is_file() and not (stem / "__init__.py").is_file()
        return self._module(file if is_file else stem)

    def _module(self, path: Path) -> ModuleType:
        """Returns the module of a file or of a folder, loaded at its first use."""
        if path in self._modules:
            return self._modules[path]
        name = self._name(path)
        file = path / "__init__.py" if path.is_dir() else path
        if not file.is_file():  # a folder alone has nothing to run
            module = ModuleType(name)
            module.__path__ = [str(path)]
            self._modules[path] = sys.modules[name] = module
            return module
        folders = [str(path)] if path.is_dir() else None
        spec = importlib.util.spec_from_file_location(
            name, file, submodule_search_locations=folders
        )
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        vars(module)["__builtins__"] = self._builtins
        self._modules[path] = sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del self._modules[path]
            sys.modules.pop(name, None)
            raise
        return module

    def _name(self, path: Path) -> str:
        """Returns a name that no other file has."""
        inside = path.is_relative_to(self.tree.folder)
        plain = path.relative_to(self.tree.folder if inside else path.anchor)
        parts = [part.removesuffix(".py").replace(".", "_") for part in plain.parts]
        return ".".join((self._prefix, *parts))

    def _lost(self, root: Path | None, name: str, relative: bool) -> str:
        """Says what was looked for and where."""
        file = Path(*name.split("."))
        what = f"{file}.py and {file}/__init__.py"
        if relative and root is not None:
            return f"No module named {'.' + name!r}: there are no {what} in {root}"
        places = self.tree.places(name)
        shown = ", ".join(map(str, places))
        return (
            f"No module named {name!r}: it is not installed, and there are no {what} "
            f"in {shown}"
        )
