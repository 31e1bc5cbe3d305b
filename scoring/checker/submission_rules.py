"""The rules for submissions that can be seen in their source, one finding each.

A finding is certain where the code itself breaks a rule, and a suspicion where it does
so only if it is used that way.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping

from algorithmic_efficiency.submission import KEYWORDS, POSITIONAL, REQUIRED
from scoring.checker.fingerprints import (
    find_attributes,
    find_names,
    find_sizes,
    is_workload,
)
from scoring.checker.syntax import (
    Finding,
    aliases_of,
    dotted,
    parents_of,
    top_level_names,
)

OPTIONAL_ARGUMENTS = {"train_state"}
EVALUATION = {"eval_model", "_build_input_queue", "_eval_model_on_split", "_eval_iters"}
HARNESS = {"algorithmic_efficiency", "algoperf", "workloads", "workload", "time"}
# Start of a dotted name -> (rule, certain, what it does).
CALLS = {
    "os.environ.": ("environment", True, "changes the environment"),
    "os.putenv": ("environment", True, "changes the environment"),
    "os.unsetenv": ("environment", True, "changes the environment"),
    "os.chdir": ("environment", True, "changes the working folder"),
    "os.system": ("environment", True, "runs another program"),
    "os.popen": ("environment", True, "runs another program"),
    "subprocess.": ("environment", True, "runs another program"),
    "ctypes.": ("environment", False, "reaches behind Python"),
    "jax.config.update": ("environment", False, "changes the framework's settings"),
    "torch.set_": ("environment", False, "changes the framework's settings"),
    "sys.settrace": ("environment", True, "hooks into the interpreter"),
    "sys.setprofile": ("environment", True, "hooks into the interpreter"),
    "socket.": ("environment", True, "uses the network"),
    "requests.": ("environment", True, "uses the network"),
    "urllib.request.": ("environment", True, "uses the network"),
    "open": ("environment", False, "reads or writes files"),
    "torch.save": ("environment", False, "reads or writes files"),
    "torch.load": ("environment", False, "reads or writes files"),
    "numpy.save": ("environment", False, "reads or writes files"),
    "numpy.load": ("environment", False, "reads or writes files"),
    "threading.": ("background work", False, "may work outside the timed call"),
    "multiprocessing.": ("background work", False, "may work outside the timed call"),
    "torch.multiprocessing.": ("background work", False, "may work outside the call"),
    "concurrent.futures.": ("background work", False, "may work outside the call"),
    "asyncio.": ("background work", False, "may work outside the timed call"),
    "signal.": ("background work", False, "may work outside the timed call"),
    "atexit.register": ("background work", True, "leaves work for later"),
    "os.fork": ("background work", True, "leaves a process behind"),
    "time.time": ("determinism", False, "makes the run depend on the clock"),
    "time.perf_counter": ("determinism", False, "makes the run depend on the clock"),
    "time.monotonic": ("determinism", False, "makes the run depend on the clock"),
    "datetime.": ("determinism", False, "makes the run depend on the clock"),
    "os.urandom": ("determinism", True, "draws numbers that no seed repeats"),
    "secrets.": ("determinism", True, "draws numbers that no seed repeats"),
    "uuid.uuid": ("determinism", True, "draws numbers that no seed repeats"),
    "torch.seed": ("determinism", True, "draws a seed that cannot be repeated"),
    "random.": ("determinism", False, "draws numbers beside the given rng"),
    "numpy.random.": ("determinism", False, "draws numbers beside the given rng"),
}
# Ends of the names above that stand for all that begin with them.
PREFIXES = (".", "_", "uuid.uuid", "time.time", "numpy.save")
READS_ENVIRONMENT = {"os.environ.get", "os.environ.items", "os.environ.keys"}


def check_source(
    source: str, workloads: Collection[str], numbers: Mapping[float, str]
) -> list[Finding]:
    """Return all findings in a submission's source, in order of their lines.

    Raises SyntaxError if it is not Python. `workloads` are the names to look for, and
    `numbers` those that belong to one workload, with what they are.
    """
    tree = ast.parse(source)
    parents, aliases = parents_of(tree), aliases_of(tree)
    findings = list(_interface(tree, aliases))
    for node in ast.walk(tree):
        findings += find_names(node, parents, workloads)
        findings += find_attributes(node, parents)
        findings += find_sizes(node, parents, numbers)
        findings += _evaluation(node)
        findings += _calls(node, aliases)
        findings += _writes(node, aliases)
    return sorted(set(findings))


def _interface(tree: ast.Module, aliases: dict[str, str]) -> Iterator[Finding]:
    """Find missing functions, and functions that the harness cannot call."""
    functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    made = {name.id for name in top_level_names(tree)}
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


def _evaluation(node: ast.AST) -> Iterator[Finding]:
    """Find uses of what only the harness may call."""
    if not isinstance(node, ast.Attribute) or node.attr not in EVALUATION:
        return
    if is_workload(node.value):
        message = f"workload.{node.attr} belongs to the harness"
        yield Finding(node.lineno, "evaluation", True, message)


def _calls(node: ast.AST, aliases: dict[str, str]) -> Iterator[Finding]:
    """Find calls that change surroundings, work on the side or draw at random."""
    if not isinstance(node, ast.Call):
        return
    name = dotted(node.func, aliases)
    if name in READS_ENVIRONMENT:
        return
    for start, (rule, certain, what) in CALLS.items():
        if name == start or (start.endswith(PREFIXES) and name.startswith(start)):
            yield Finding(node.lineno, rule, certain, f"{name} {what}")


def _writes(node: ast.AST, aliases: dict[str, str]) -> Iterator[Finding]:
    """Find assignments to the environment, to modules and to the workload."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.Delete):
        targets = list(node.targets)
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    elif isinstance(node, ast.Call) and dotted(node.func, {}) == "setattr":
        targets = [ast.Attribute(node.args[0], "", ast.Store())] if node.args else []
    modules = {full.partition(".")[0] for full in aliases.values()} - {""}
    for target in targets:
        if not isinstance(target, ast.Attribute | ast.Subscript):
            continue
        line = getattr(node, "lineno", 1)
        owner = dotted(target.value, aliases)
        root = owner.partition(".")[0]
        if owner == "os.environ":
            yield Finding(line, "environment", True, "os.environ is changed")
        elif root == "workload":
            yield Finding(line, "evaluation", True, "the workload is changed")
        elif root in HARNESS & modules:
            yield Finding(line, "evaluation", True, f"{owner} is changed")
        elif root in modules:
            message = f"a setting of {owner} is changed"
            yield Finding(line, "environment", False, message)
