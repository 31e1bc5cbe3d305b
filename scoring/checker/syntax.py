"""What the rules for submissions share: findings, and questions to a syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from algorithmic_efficiency.sources import aliases_of as aliases_of
from algorithmic_efficiency.sources import dotted as dotted

BATCH_SIZE = ("get_batch_size", "get_eval_batch_size")  # may know the workload's name
Parents = dict[ast.AST, ast.AST]


@dataclass(frozen=True, order=True)
class Finding:
    """One place that breaks a rule, for certain or perhaps."""

    line: int
    rule: str
    certain: bool
    message: str

    def __str__(self) -> str:
        """Return the finding in a line."""
        kind = "breaks the rule" if self.certain else "suspicion"
        return f"line {self.line}: {kind} [{self.rule}] {self.message}"


def parents_of(tree: ast.Module) -> Parents:
    """Return the node above every node."""
    return {
        child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)
    }


def function_around(node: ast.AST, parents: Parents) -> str:
    """Return the name of the outermost function around a node, '' outside."""
    name = ""
    while node in parents:
        node = parents[node]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name = node.name
    return name


def top_level_names(tree: ast.Module) -> Iterator[ast.Name]:
    """Yield the names in all assignments at the top of the file."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            for part in ast.walk(statement):
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                    yield part


def serves_batch_sizes(node: ast.AST, parents: Parents) -> bool:
    """Tell whether a node stands where workloads may be named.

    That is in the functions for batch sizes, or in a table that only they read.
    """
    statement, tree = node, node
    while tree in parents:
        statement, tree = tree, parents[tree]
    functions = {*BATCH_SIZE, *_handed_over(tree)}
    if function_around(node, parents) in functions:
        return True
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return False
    targets = [t for t in ast.walk(statement) if isinstance(t, ast.Name)]
    names = {t.id for t in targets if isinstance(t.ctx, ast.Store)}
    readers = [
        function_around(use, parents)
        for use in ast.walk(tree)
        if isinstance(use, ast.Name) and use.id in names and use not in targets
    ]
    return bool(readers) and all(reader in functions for reader in readers)


def _handed_over(tree: ast.AST) -> Iterator[str]:
    """Yield the functions that are given to `from_optimizer` and used nowhere else."""
    uses = [n.id for n in ast.walk(tree) if isinstance(n, ast.Name)]
    for call in ast.walk(tree):
        named = isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        if not named or call.func.id != "from_optimizer":  # type: ignore[attr-defined]
            continue
        for keyword in call.keywords:  # type: ignore[attr-defined]
            given = keyword.value
            is_size = keyword.arg == "batch_size" and isinstance(given, ast.Name)
            if is_size and uses.count(given.id) == 1:
                yield given.id
