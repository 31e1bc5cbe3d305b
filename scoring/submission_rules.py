"""The rules for submissions that can be seen in their source, one finding each.

A finding is certain where the code itself breaks a rule, and a suspicion where it does
so only if it is used that way.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from algorithmic_efficiency.submission import KEYWORDS, POSITIONAL, REQUIRED

BATCH_SIZE = ("get_batch_size", "get_eval_batch_size")  # may know the workload's name
OPTIONAL_ARGUMENTS = {"train_state"}
# What identifies a workload when it is compared: sizes, targets, types.
FINGERPRINTS = {
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
    "__class__",
    "name",
}
EVALUATION = {"eval_model", "_build_input_queue", "_eval_model_on_split", "_eval_iters"}
# Start of a dotted name -> (rule, certain, what it does).
CALLS = {
    "os.environ.": ("environment", True, "changes the environment"),
    "os.putenv": ("environment", True, "changes the environment"),
    "os.unsetenv": ("environment", True, "changes the environment"),
    "os.system": ("environment", True, "runs another program"),
    "subprocess.": ("environment", True, "runs another program"),
    "ctypes.": ("environment", False, "reaches behind Python"),
    "jax.config.update": ("environment", False, "changes the framework's settings"),
    "sys.settrace": ("environment", True, "hooks into the interpreter"),
    "socket.": ("environment", True, "uses the network"),
    "requests.": ("environment", True, "uses the network"),
    "urllib.request.": ("environment", True, "uses the network"),
    "open": ("environment", False, "reads or writes files"),
    "threading.": ("background work", False, "may work outside the timed call"),
    "multiprocessing.": ("background work", False, "may work outside the timed call"),
    "concurrent.futures.": ("background work", False, "may work outside the call"),
    "asyncio.": ("background work", False, "may work outside the timed call"),
    "atexit.register": ("background work", True, "leaves work for later"),
    "os.fork": ("background work", True, "leaves a process behind"),
    "time.time": ("determinism", False, "makes the run depend on the clock"),
    "datetime.": ("determinism", False, "makes the run depend on the clock"),
    "os.urandom": ("determinism", True, "draws numbers that no seed repeats"),
    "secrets.": ("determinism", True, "draws numbers that no seed repeats"),
    "uuid.uuid": ("determinism", True, "draws numbers that no seed repeats"),
    "torch.seed": ("determinism", True, "draws a seed that cannot be repeated"),
    "random.": ("determinism", False, "draws numbers beside the given rng"),
    "numpy.random.": ("determinism", False, "draws numbers beside the given rng"),
}
READS_ENVIRONMENT = {"os.environ.get", "os.environ.items", "os.environ.keys"}


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


def check_source(source: str, workloads: Collection[str]) -> list[Finding]:
    """Return all findings in a submission's source, in order of their lines.

    Raises SyntaxError if it is not Python. `workloads` are the names to look for.
    """
    tree = ast.parse(source)
    parents = {
        child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)
    }
    aliases = dict(_aliases(tree))
    findings = list(_interface(tree, aliases))
    for node in ast.walk(tree):
        findings += _names(node, parents, workloads)
        findings += _workload(node, parents)
        findings += _calls(node, aliases)
        findings += _writes(node, aliases)
    return sorted(set(findings))


def _interface(tree: ast.Module, aliases: dict[str, str]) -> Iterator[Finding]:
    """Find missing functions, and functions that the harness cannot call."""
    functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    made = {name.id for name in _top_level(tree)}
    for name in REQUIRED:
        if not {name, "*"} & {*functions, *aliases, *made}:
            yield Finding(1, "interface", True, f"there is no function {name}")
    for name, function in functions.items():
        arguments = function.args
        given = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
        needed = given[: len(given) - len(arguments.defaults)]
        if name in POSITIONAL:
            count = len(POSITIONAL[name])
            fits = len(needed) <= count and (count <= len(given) or arguments.vararg)
            wanted = POSITIONAL[name]
        elif name in KEYWORDS:
            wanted = KEYWORDS[name]
            known = {*given, *(a.arg for a in arguments.kwonlyargs)}
            fits = not set(needed) - {*wanted, *OPTIONAL_ARGUMENTS} and (
                set(wanted) <= known or arguments.kwarg
            )
        else:
            continue
        if not fits:
            message = f"{name} must take the arguments {', '.join(wanted)}"
            yield Finding(function.lineno, "interface", True, message)


def _names(
    node: ast.AST, parents: dict[ast.AST, ast.AST], workloads: Collection[str]
) -> Iterator[Finding]:
    """Find names of workloads outside the functions that may know them."""
    inside = _function(node, parents)
    if isinstance(node, ast.Global | ast.Nonlocal) and inside in BATCH_SIZE:
        message = f"{inside} keeps {', '.join(node.names)}; it may not pass the name on"
        yield Finding(node.lineno, "workload names", False, message)
    if not isinstance(node, ast.Constant) or node.value not in workloads:
        return
    if inside in BATCH_SIZE or _is_batch_table(node, parents):
        return
    parent = parents[node]
    while isinstance(parent, ast.Tuple | ast.List | ast.Set):
        parent = parents[parent]
    used = ast.Compare | ast.Dict | ast.Subscript | ast.MatchValue
    certain = isinstance(parent, used)
    message = f"treats the workload {node.value!r} in a way of its own"
    yield Finding(node.lineno, "workload names", certain, message)


def _workload(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> Iterator[Finding]:
    """Find uses of the workload object beyond what a submission may know."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        first = node.args[0] if node.args else None
        if node.func.id in ("type", "isinstance") and _is_workload(first):
            message = f"{node.func.id}(workload) tells workloads apart"
            yield Finding(node.lineno, "fingerprint", False, message)
    if not isinstance(node, ast.Attribute) or not _is_workload(node.value):
        return
    if node.attr in EVALUATION:
        message = f"workload.{node.attr} belongs to the harness"
        yield Finding(node.lineno, "evaluation", True, message)
    elif node.attr in FINGERPRINTS and _decides(node, parents):
        message = f"a decision on workload.{node.attr} may tell workloads apart"
        yield Finding(node.lineno, "fingerprint", False, message)


def _calls(node: ast.AST, aliases: dict[str, str]) -> Iterator[Finding]:
    """Find calls that change surroundings, work on the side or draw at random."""
    if not isinstance(node, ast.Call):
        return
    name = _dotted(node.func, aliases)
    if name in READS_ENVIRONMENT:
        return
    for start, (rule, certain, what) in CALLS.items():
        if name == start or (start.endswith(".") and name.startswith(start)):
            yield Finding(node.lineno, rule, certain, f"{name} {what}")


def _writes(node: ast.AST, aliases: dict[str, str]) -> Iterator[Finding]:
    """Find assignments to the environment, to modules and to the workload."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.Delete):
        targets = list(node.targets)
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    elif isinstance(node, ast.Call) and _dotted(node.func, {}) == "setattr":
        targets = [ast.Attribute(node.args[0], "", ast.Store())] if node.args else []
    for target in targets:
        if isinstance(target, ast.Subscript):
            if _dotted(target.value, aliases) == "os.environ":
                message = "os.environ is changed"
                yield Finding(target.lineno, "environment", True, message)
            continue
        if not isinstance(target, ast.Attribute):
            continue
        line = getattr(node, "lineno", 1)
        owner = _dotted(target.value, aliases)
        root = owner.partition(".")[0]
        if root == "workload":
            yield Finding(line, "evaluation", True, "the workload is changed")
        elif root in {full.partition(".")[0] for full in aliases.values()}:
            message = f"a setting of {owner} is changed"
            yield Finding(line, "environment", False, message)


def _aliases(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield (name in the file, full name) of everything that is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                full = item.name if item.asname else item.name.partition(".")[0]
                yield item.asname or full, full
        elif isinstance(node, ast.ImportFrom):
            for item in node.names:
                yield item.asname or item.name, f"{node.module or ''}.{item.name}"


def _dotted(node: ast.expr, aliases: dict[str, str]) -> str:
    """Return 'a.b.c' of an expression, imports resolved; '' if it is none."""
    if isinstance(node, ast.Name):
        return aliases.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value, aliases)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def _function(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> str:
    """Return the name of the outermost function around a node, '' outside."""
    name = ""
    while node in parents:
        node = parents[node]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name = node.name
    return name


def _top_level(tree: ast.Module) -> Iterator[ast.Name]:
    """Yield the names in all assignments at the top of the file."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            for part in ast.walk(statement):
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                    yield part


def _is_batch_table(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Tell whether a constant stands in a table that only batch sizes read."""
    statement, tree = node, node
    while tree in parents:
        statement, tree = tree, parents[tree]
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return False
    targets = [t for t in ast.walk(statement) if isinstance(t, ast.Name)]
    names = {t.id for t in targets if isinstance(t.ctx, ast.Store)}
    readers = [
        _function(use, parents)
        for use in ast.walk(tree)
        if isinstance(use, ast.Name) and use.id in names and use not in targets
    ]
    return bool(readers) and all(reader in BATCH_SIZE for reader in readers)


def _decides(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Tell whether a value is compared, matched, or picks an entry of a table."""
    while node in parents and not isinstance(node, ast.stmt):
        above = parents[node]
        if isinstance(above, ast.Compare | ast.Match):
            return True
        if isinstance(above, ast.Subscript) and above.slice is node:
            return True
        node = above
    return False


def _is_workload(node: ast.AST | None) -> bool:
    """Tell whether an expression is the argument `workload`."""
    return isinstance(node, ast.Name) and node.id == "workload"
