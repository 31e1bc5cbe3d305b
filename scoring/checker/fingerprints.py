"""Ways of telling workloads apart, none of them allowed: names, sizes, types."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from algorithmic_efficiency import registry
from algorithmic_efficiency.definition import DEFAULT_EDITION, EDITIONS
from scoring.checker.syntax import (
    BATCH_SIZE,
    Finding,
    Parents,
    function_around,
    serves_batch_sizes,
)
from scoring.reading.benchmark import load

# What identifies a workload when it is compared: sizes, targets, types.
ATTRIBUTES = {
    "num_train_examples",
    "num_eval_train_examples",
    "num_validation_examples",
    "num_test_examples",
    "eval_batch_size",
    "step_hint",
    "train_mean",
    "train_stddev",
    "validation_target_value",
    "test_target_value",
    "target_metric_name",
    "max_allowed_runtime_sec",
    "eval_period_time_sec",
    "param_shapes",
    "definition",
    "__class__",
    "name",
}
NUMBERS = (
    "num_train_examples",
    "num_eval_train_examples",
    "num_validation_examples",
    "num_test_examples",
    "step_hint",
    "max_allowed_runtime_sec",
    "validation_target_value",
    "test_target_value",
)
SHAPES = {"shape", "shape_tuple", "size", "numel"}
LARGEST_PLAIN_SIZE = 16  # comparing a size with 1, 2, 3 channels, ... tells nothing


def telltale_numbers() -> dict[float, str]:
    """Return number -> what it is, of sizes and targets that mean nothing else."""
    found: dict[float, str] = {}
    for version in (DEFAULT_EDITION, *EDITIONS):
        for name, definition in registry.definitions().items():
            constants = definition.in_edition(version)
            for field in NUMBERS:
                _note(found, getattr(constants, field), f"{field} of {name}")
        for name, workload in load(version).definitions.items():
            _note(found, workload.validation, f"the validation target of {name}")
            _note(found, workload.test, f"the test target of {name}")
            _note(found, workload.budget_seconds, f"the budget of {name} in seconds")
    return found


def find_names(
    node: ast.AST, parents: Parents, workloads: Collection[str]
) -> Iterator[Finding]:
    """Find names of workloads outside the functions that may know them."""
    inside = function_around(node, parents)
    if isinstance(node, ast.Global | ast.Nonlocal) and inside in BATCH_SIZE:
        message = f"{inside} keeps {', '.join(node.names)}; it may not pass the name on"
        yield Finding(node.lineno, "workload names", False, message)
    if not isinstance(node, ast.Constant) or node.value not in workloads:
        return
    if serves_batch_sizes(node, parents):
        return
    parent = parents[node]
    while isinstance(parent, ast.Tuple | ast.List | ast.Set):
        parent = parents[parent]
    used = ast.Compare | ast.Dict | ast.Subscript | ast.MatchValue
    certain = isinstance(parent, used)
    message = f"treats the workload {node.value!r} in a way of its own"
    yield Finding(node.lineno, "workload names", certain, message)


def find_attributes(node: ast.AST, parents: Parents) -> Iterator[Finding]:
    """Find decisions on what the workload object says of itself."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        first = node.args[0] if node.args else None
        if node.func.id in ("type", "isinstance") and is_workload(first):
            message = f"{node.func.id}(workload) tells workloads apart"
            yield Finding(node.lineno, "fingerprint", False, message)
    if not isinstance(node, ast.Attribute) or not is_workload(node.value):
        return
    if node.attr in ATTRIBUTES and _decides(node, parents):
        message = f"a decision on workload.{node.attr} may tell workloads apart"
        yield Finding(node.lineno, "fingerprint", False, message)


def find_sizes(
    node: ast.AST, parents: Parents, numbers: Mapping[float, str]
) -> Iterator[Finding]:
    """Find numbers that belong to one workload, and shapes compared with numbers."""
    value = node.value if isinstance(node, ast.Constant) else None
    known = numbers.get(value) if isinstance(value, int | float) else None
    if known and not serves_batch_sizes(node, parents):
        yield Finding(_line(node), "fingerprint", False, f"{value!r} is {known}")
    if not isinstance(node, ast.Compare):
        return
    if not all(
        isinstance(o, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for o in node.ops
    ):
        return
    sides = [node.left, *node.comparators]
    largest = max((_largest(side) for side in sides), default=0)
    if largest > LARGEST_PLAIN_SIZE and any(map(_is_size, sides)):
        message = f"a size compared with {largest} may tell workloads apart"
        yield Finding(node.lineno, "fingerprint", False, message)


def is_workload(node: ast.AST | None) -> bool:
    """Tell whether an expression is the argument `workload`."""
    return isinstance(node, ast.Name) and node.id == "workload"


def _decides(node: ast.AST, parents: Parents) -> bool:
    """Tell whether a value is compared, matched, or picks an entry of a table."""
    while node in parents and not isinstance(node, ast.stmt):
        above = parents[node]
        if isinstance(above, ast.Compare | ast.Match):
            return True
        if isinstance(above, ast.Subscript) and above.slice is node:
            return True
        node = above
    return False


def _line(node: ast.AST) -> int:
    """Return the line of a node."""
    return int(getattr(node, "lineno", 1))


def _is_size(node: ast.expr) -> bool:
    """Tell whether an expression holds a shape, a length or a number of elements."""
    return any(
        (isinstance(part, ast.Attribute) and part.attr in SHAPES)
        or (isinstance(part, ast.Name) and part.id == "len")
        for part in ast.walk(node)
    )


def _largest(node: ast.expr) -> int:
    """Return the largest integer written in an expression, 0 without any."""
    values: list[Any] = [p.value for p in ast.walk(node) if isinstance(p, ast.Constant)]
    return max((value for value in values if type(value) is int), default=0)


def _note(found: dict[float, str], value: float | None, what: str) -> None:
    """Keep a number of at least four digits, which nobody would write by chance."""
    digits = f"{value or 0:.10g}".replace(".", "").strip("0")
    if value is not None and len(digits) >= 4:
        found.setdefault(value, what)
