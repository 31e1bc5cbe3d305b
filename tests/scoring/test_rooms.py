"""Imports within scoring run downwards, those inside functions too."""

import ast
import graphlib
from pathlib import Path

import scoring

ROOT = Path(scoring.__file__).parents[1]
BELOW = {
    "reading": set(),
    "rules": {"reading"},
    "report": {"reading", "rules"},
    "checker": {"reading"},
}


def modules() -> dict[str, Path]:
    paths = sorted((ROOT / "scoring").rglob("*.py"))
    return {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in paths}


def imported(path: Path, known) -> set[str]:
    """Return the modules of scoring that a file imports; names of a package count."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            found |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    return found & set(known)


def test_rooms_import_only_what_is_below_them():
    known = modules()
    rooms = {name.split(".")[1] for name in known if name.count(".") == 2}
    assert rooms == set(BELOW)
    for name, path in known.items():
        if name.count(".") != 2:
            continue
        room = name.split(".")[1]
        for other in imported(path, known):
            assert other.count(".") == 2, f"{name} imports {other}, which is above it"
            assert other.split(".")[1] in {room, *BELOW[room]}, (name, other)


def test_there_is_no_ring():
    known = modules()
    graph = {name: imported(path, known) for name, path in known.items()}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert set(order) == set(known)
    assert sum(map(len, graph.values())) > len(known)  # it has seen the imports
