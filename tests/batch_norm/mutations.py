"""Breaks the core of batch norm line by line and shows which test notices.

    python tests/batch_norm/mutations.py

Works on a copy in a temporary folder. Prints one row of a table per mutation, and
exits with 1 if one survives or no longer fits the code.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = "algorithmic_efficiency/nn/batch_norm"
COPIED = ("algorithmic_efficiency", "tests/batch_norm", "tests/data/batch_norm")
TESTS = (
    "freezing",
    "conventions",
    "inputs",
    "gradients",
    "jax",
    "layer_kinds",
    "devices",
)
FROZEN = "            return F.batch_norm(x, None, None,"

# what, file, the code, the broken code
MUTATIONS = [
    ("momentum inverted", "pytorch", "momentum * (count", "(1 - momentum) * (count"),
    (
        "momentum inverted",
        "jax",
        "(1 - a) * running.value + a *",
        "a * running.value + (1 - a) *",
    ),
    (
        "biased and unbiased swapped",
        "pytorch",
        'self.variance == "population"',
        'self.variance != "population"',
    ),
    (
        "biased and unbiased swapped",
        "jax",
        'n - (self.variance == "unbiased")',
        'n - (self.variance != "unbiased")',
    ),
    ("mask forgotten", "pytorch", "if mask is None:", "if True:"),
    ("mask forgotten", "jax", "if mask is None:", "if True:"),
    (
        "counter moved while frozen",
        "pytorch",
        FROZEN,
        f"            self.num_batches_tracked += 1\n{FROZEN}",
    ),
    (
        "counter moved while frozen",
        "switch",
        'flags["track_running_stats"] = False\n        for',
        'flags["momentum"] = 0.0\n        for',
    ),
    ("counter moved by nothing", "jax", "count.value + (n > 0)", "count.value + 1"),
    (
        "restore skipped",
        "blocks",
        "            _put(attributes, name, value)\n        for",
        "            pass\n        for",
    ),
    ("epsilon doubled", "pytorch", "self.eps)", "2 * self.eps)"),
    ("epsilon doubled", "jax", "v + self.epsilon", "v + 2 * self.epsilon"),
    ("padding not selected away", "sums", "torch.where(valid, x, 0)", "x * valid"),
    ("padding not selected away", "jax", "jnp.where(valid, x, 0)", "x * valid"),
    ("update by nothing", "pytorch", "momentum * (count > 0)", "momentum * 1"),
    ("update by nothing", "jax", "jnp.where(n > 0, new, running.value)", "new"),
    ("momentum 0 writes", "jax", "if self.momentum == 0:", "if False:"),
    ("momentum 0 writes", "pytorch", "if self.momentum == 0:", "if False:"),
    ("statistics not copied for backward", "pytorch", "copy=True", "copy=False"),
    ("statistics not copied for backward", "switch", "buffer.clone()", "buffer"),
    (
        "gradient into the new state",
        "jax",
        "lax.stop_gradient(jnp.where(n > 0, new, running.value))",
        "jnp.where(n > 0, new, running.value)",
    ),
    (
        "EVAL with update accepted",
        "__init__",
        "if mode == ForwardPassMode.EVAL and",
        "if False and",
    ),
    ("running normaliser updates", "__init__", " and not use_running_average", ""),
    ("no sum over processes", "sums", "        dist.all_reduce(total)\n", ""),
    ("no sum over devices", "jax", "if self.axis_name is None:", "if True:"),
]


def main() -> int:
    """Runs every mutation; returns the exit code."""
    survived = 0
    print("| mutation | file | first test that fails |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in COPIED:
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, Path(folder, name), ignore=ignore)
        for what, file, code, broken in MUTATIONS:
            path = Path(folder, PACKAGE, f"{file}.py")
            original = path.read_text()
            changed = original.replace(code, broken)
            path.write_text(changed)
            noticed = failing_test(folder) if changed != original else None
            path.write_text(original)
            survived += noticed is None
            print(f"| {what} | {file}.py | {noticed or '**none**'} |", flush=True)
    return min(survived, 1)


def failing_test(folder: str) -> str | None:
    """Returns the name of the first test that fails in the copy, or None."""
    files = [f"tests/batch_norm/test_bn_{name}.py" for name in TESTS]
    options = ["-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(
        [sys.executable, *options],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"^(?:FAILED|ERROR) (\S+?\.py)(?:::(\S+))?", done.stdout, re.M)
    return None if found is None else f"`{found[2] or found[1]}`"


if __name__ == "__main__":
    sys.exit(main())
