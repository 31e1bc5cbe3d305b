"""A submission's own files, and what their source tells without running it."""

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from algorithmic_efficiency.errors import SubmissionError

# Framework -> the modules whose import tells it, each with all that lies below.
_TELLING = {
    "pytorch": (
        "torch",
        "algorithmic_efficiency.pytorch_utils",
        "algorithmic_efficiency.adapters.pytorch",
    ),
    "jax": (
        "jax",
        "flax",
        "optax",
        "chex",
        "algorithmic_efficiency.jax_sharding_utils",
        "algorithmic_efficiency.adapters.jax",
    ),
}
_WORDS = {"pytorch": ("pytorch", "torch"), "jax": ("jax",)}  # in the name of a file
# Style of a JAX submission -> the functions, or modules of functions, that tell it.
_STYLES = {
    "pmap": (
        "jax.pmap",
        "jax.device_put_replicated",
        "jax.device_put_sharded",
        "flax.jax_utils.",
    ),
    "jit": ("algorithmic_efficiency.jax_sharding_utils.",),
}
PUBLIC_NAME = "algoperf"  # what the public project calls our package
PACKAGE = "algorithmic_efficiency"
# Names that always mean the package, whatever lies beside a submission: ours, and those
# that harness and frameworks stand on. So jax.py may import jax.
_NEVER_OWN = {
    *sys.stdlib_module_names,
    *(PUBLIC_NAME, PACKAGE, "scoring", "workloads"),
    *("absl", "chex", "cv2", "flax", "grain", "jax", "jaxlib", "matplotlib", "numpy"),
    *("optax", "pandas", "scipy", "torch", "torchvision", "triton"),
}


class Tree:
    """The files around a submission that its imports may mean.

    Attributes:
      file: the submission.
      folder: where it lies.
    """

    def __init__(self, file: Path) -> None:
        self.file = file.resolve()
        self.folder = self.file.parent

    def own(self, name: str, items: Sequence[str], importer: Path) -> Path | None:
        """Returns the folder below which a dotted name is one of the submission's own.

        These win over installed packages: what lies beside the submission, and dotted
        names that go through a folder which holds it, from the root of its tree.

        Args:
          name: of the module, absolute.
          items: names imported from it, which may be modules themselves.
          importer: the file that imports; no file means itself.
        """
        top = name.partition(".")[0]
        if top in _NEVER_OWN:
            return None
        above = [p.parent for p in (self.folder, *self.folder.parents) if p.name == top]
        for root in (self.folder, *above):
            target = find(root, name.split("."), items)
            if target is not None and target != importer:
                return root
        return None

    def fallback(self, name: str, items: Sequence[str]) -> Path | None:
        """Returns such a folder for a name that is not installed either."""
        if name.partition(".")[0] in _NEVER_OWN:
            return None
        places = self.places(name)
        found = (root for root in places if find(root, name.split("."), items))
        return next(found, None)

    def places(self, name: str) -> list[Path]:
        """Returns the folders in which a name is looked for.

        A dotted name may begin in any folder above the submission; another one only
        beside it or in the working folder, since /tmp/utils.py is nobody's own.
        """
        above = self.folder.parents if "." in name else ()
        return list(dict.fromkeys((self.folder, *above, Path.cwd())))

    def files(self) -> Iterator[Path]:
        """Yields the submission and its own files that it imports, directly or not.

        They come in the order of their distance. What is no Python is yielded as well.
        """
        seen = [self.file]
        for file in seen:
            yield file
            for name, items, level in _imported(parse(file)):
                seen += [
                    f
                    for f in self._own_files(file, name, items, level)
                    if f not in seen
                ]

    def _own_files(
        self, importer: Path, name: str, items: Sequence[str], level: int
    ) -> Iterator[Path]:
        """Yields the files of an import statement that are the submission's own."""
        if level:
            root: Path | None = folder_of(importer, level)
        else:
            root = self.own(name, items, importer) or self.fallback(name, items)
        if root is None:
            return
        parts = name.split(".") if name else []
        for path in (
            find(root, parts, items),
            *(find(root, [*parts, item]) for item in items),
        ):
            file = path / "__init__.py" if path is not None and path.is_dir() else path
            if file is not None and file.is_file():
                yield file


def folder_of(importer: Path, level: int) -> Path:
    """Returns the folder that so many dots mean in a file."""
    return importer.parents[level - 1]


def find(root: Path, parts: Sequence[str], items: Sequence[str] = ()) -> Path | None:
    """Returns the file or the folder of a module below a folder, None without one.

    A folder without `__init__.py` counts if one of `items` lies in it: any folder has
    a name, and few are packages.
    """
    folder = root.joinpath(*parts)
    if (folder / "__init__.py").is_file():
        return folder
    file = folder.with_name(f"{folder.name}.py")
    if parts and file.is_file():
        return file
    if folder.is_dir() and any(find(folder, [item]) for item in items):
        return folder
    return None


def framework_of(path: Path) -> str | None:
    """Returns the framework of a submission: by its imports, else by its file's name.

    Of the imports, those of the file itself count, or without any those of its own
    modules. None where nothing tells, or where the file is not there.
    """
    for file in Tree(path).files():
        tree = parse(file)
        for nodes in (tree.body, list(ast.walk(tree))):
            told = _frameworks(nodes)
            if len(told) == 1:
                return told.pop()
        if told:
            break
    words = re.split(r"[^a-z]+", path.stem.lower())
    named = [f for f, known in _WORDS.items() if set(known) & set(words)]
    return named[0] if len(named) == 1 else None


def _frameworks(nodes: Sequence[ast.AST]) -> set[str]:
    """Returns the frameworks that import statements tell."""
    names = {
        f"{name}.{item}." if name != item else f"{name}."
        for name, items, level in _imports_in(nodes)
        for item in (items or [name])
        if not level
    }
    return {
        framework
        for framework, modules in _TELLING.items()
        if any(own_name(name).startswith(f"{m}.") for name in names for m in modules)
    }


def style_of(path: Path) -> str:
    """Returns 'pmap' or 'jit', the style of a JAX submission, by what it calls.

    What the file itself calls counts, or without any of it what its own modules call.
    Without any at all the style is 'jit'.

    Raises:
      SubmissionError: it calls functions of both styles.
    """
    for file in Tree(path).files():
        used = _used(parse(file))
        told = {
            style: sorted(name for name in used if name.startswith(starts))
            for style, starts in _STYLES.items()
        }
        if told["pmap"] and told["jit"]:
            raise SubmissionError(
                f"{file} uses both {told['pmap'][0]} and {told['jit'][0]}: parameters "
                "and batches have a device axis in front for the one (pmap style), and "
                "none for the other (jit style). Use functions of one style only."
            )
        for style, names in told.items():
            if names:
                return style
    return "jit"


def _used(tree: ast.Module) -> set[str]:
    """Returns the dotted names that expressions use, imports resolved."""
    aliases = aliases_of(tree)
    names = (
        dotted(node, aliases)
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
    )
    return {own_name(name) for name in names}


def own_name(name: str) -> str:
    """Returns the dotted name with our package's name in place of the public one."""
    top, dot, rest = name.partition(".")
    return f"{PACKAGE}{dot}{rest}" if top == PUBLIC_NAME else name


def _imported(tree: ast.Module) -> Iterator[tuple[str, list[str], int]]:
    return _imports_in(list(ast.walk(tree)))


def _imports_in(nodes: Sequence[ast.AST]) -> Iterator[tuple[str, list[str], int]]:
    """Yields (module, names from it, dots) of every import statement."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for item in node.names:
                yield item.name, [], 0
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", [item.name for item in node.names], node.level


def parse(file: Path) -> ast.Module:
    """Returns the syntax tree of a file; an empty one of what is no Python."""
    try:
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ast.Module([], [])


def aliases_of(tree: ast.Module) -> dict[str, str]:
    """Returns name in the file -> full name, of everything that is imported."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                full = item.name if item.asname else item.name.partition(".")[0]
                found[item.asname or full] = full
        elif isinstance(node, ast.ImportFrom):
            for item in node.names:
                found[item.asname or item.name] = f"{node.module or ''}.{item.name}"
    return found


def dotted(node: ast.expr, aliases: dict[str, str]) -> str:
    """Returns 'a.b.c' of an expression, imports resolved; '' if it is none."""
    if isinstance(node, ast.Name):
        return aliases.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value, aliases)
        return f"{owner}.{node.attr}" if owner else ""
    return ""
