"""Imports inside the package run downwards: no ring, and every room on its floor."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from algorithmic_efficiency import registry

PACKAGE = "algorithmic_efficiency"
# Floors from the ground up: a module imports from its own floor and those below. A
# floor holds modules and all that lies in a folder of that name; what is on none, as
# `errors` and `text`, is checked for rings only.
FLOORS = (
    ("spec", "losses", "params"),
    ("definition",),
    ("data", "state", "nn"),
    ("backends",),
    ("metrics", "evaluation"),
    ("workload",),
    ("runner",),
    ("cli",),
)


def modules(root: Path) -> dict[str, Path]:
    """Returns name -> file of every module of the package in this folder."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def is_typing(node: ast.AST) -> bool:
    """Says whether a block is read by a type checker alone."""
    test = node.test if isinstance(node, ast.If) else None
    name = getattr(test, "id", getattr(test, "attr", ""))
    return name == "TYPE_CHECKING"


def statements(nodes: Iterable[ast.AST]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yields the imports in these nodes, those in functions too."""
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        else:
            inside = node.orelse if is_typing(node) else ast.iter_child_nodes(node)
            yield from statements(inside)


def targets(name: str, tree: ast.Module, known: Mapping[str, Path]) -> set[str]:
    """Returns the modules of the package that a module imports."""
    found = set()
    for node in statements(tree.body):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            assert node.level == 0, f"{name} imports by a relative path"
            # `from folder import module` needs the module; the folder's own file
            # where a name is of that.
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names | ({str(node.module)} if names - known.keys() else set())
    return (found & known.keys()) - {name}


def graph(root: Path) -> dict[str, set[str]]:
    """Returns module -> the modules that it imports."""
    known = modules(root)
    return {
        name: targets(name, ast.parse(path.read_text()), known)
        for name, path in known.items()
    }


def ring(edges: Mapping[str, set[str]]) -> list[str]:
    """Returns modules of which each imports the next and the last the first, or []."""
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for target in sorted(edges[name]):
            if found := visit(target, [*way, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(edges) if (found := visit(name, []))), [])


def floor(name: str) -> int | None:
    """Returns the number of the floor on which a module is, or None."""
    head = name.removeprefix(f"{PACKAGE}.").split(".")[0]
    return next((n for n, rooms in enumerate(FLOORS) if head in rooms), None)


def climbs(edges: Mapping[str, set[str]]) -> list[str]:
    """Returns the imports that lead upwards."""
    found = []
    for name, below in edges.items():
        for target in sorted(below):
            here, there = floor(name), floor(target)
            if here is not None and there is not None and there > here:
                found.append(f"{name} imports {target}")
    return found


EDGES = graph(registry.ROOT)


def test_there_is_no_ring() -> None:
    assert " -> ".join(ring(EDGES)) == ""


def test_imports_lead_downwards() -> None:
    assert climbs(EDGES) == []


def test_every_name_of_a_floor_is_there() -> None:
    rooms = {name.removeprefix(f"{PACKAGE}.").split(".")[0] for name in EDGES}
    assert {room for rooms in FLOORS for room in rooms} <= rooms


def test_rings_and_climbs_are_found(tmp_path: Path) -> None:
    files = {
        "__init__": "",
        "spec": "",
        "data/__init__": "from algorithmic_efficiency.data import read\n",
        "data/read": "if 1:\n    import algorithmic_efficiency.losses\n",
        "losses": "def f():\n    from algorithmic_efficiency import spec, workload\n",
        "workload": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
        "    from algorithmic_efficiency import cli\nelse:\n"
        "    from algorithmic_efficiency import definition\n",
        "definition": "",
        "cli": "from algorithmic_efficiency.data.read import x\n",
    }

    def found(**changes: str) -> dict[str, set[str]]:
        for name, text in {**files, **changes}.items():
            path = tmp_path / PACKAGE / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return graph(tmp_path)

    plain = found()
    assert ring(plain) == []
    assert climbs(plain) == [f"{PACKAGE}.losses imports {PACKAGE}.workload"]
    assert plain[f"{PACKAGE}.workload"] == {f"{PACKAGE}.definition"}
    assert plain[f"{PACKAGE}.data.read"] == {f"{PACKAGE}.losses"}
    back = (
        "class C:\n    def f(self):\n        from algorithmic_efficiency.data import x"
    )
    way = [f"{PACKAGE}.{name}" for name in ("data", "data.read", "losses")]
    assert set(ring(found(losses=back))) == set(way)
