"""The console command `algoperf`: a word for each script of the project.

`algoperf run --workload=...` is `python submission_runner.py --workload=...`; the
others are `python -m` of the module in the table. Flags are the same.
"""

import importlib
import sys

from algorithmic_efficiency import environment
from algorithmic_efficiency.text import show

# Word -> (module whose `main` it calls, what it does); 'new-x' calls `x` of it.
COMMANDS = {
    "run": ("algorithmic_efficiency.cli", "train a workload with a submission"),
    "list": ("algorithmic_efficiency.cli", "list workloads and algorithms"),
    "score": ("scoring.score_submissions", "score submissions from their runs"),
    "compare": ("scoring.compare", "compare two runs or submissions"),
    "check": ("scoring.check_submission", "check a submission against the rules"),
    "check-workload": (
        "algorithmic_efficiency.battery.command",
        "check a workload in both frameworks",
    ),
    "new-workload": ("algorithmic_efficiency.new", "make a workload that runs"),
    "new-submission": ("algorithmic_efficiency.new", "make a submission that runs"),
    "export": (
        "algorithmic_efficiency.export.command",
        "write a trained model as an ONNX file",
    ),
    "data": ("dataset_setup.__main__", "prepare a data set, or look at its files"),
}


def main() -> int:
    """Runs the command that `sys.argv` names; returns its exit code."""
    environment.check()
    word = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if word in ("-h", "-help", "--help", "help"):
        show(usage())
        return 0
    if word not in COMMANDS:
        show(f"Error: there is no command {word!r}.\n\n{usage()}", sys.stderr)
        return 2
    # The scripts read their name, which help and errors show, from here as well.
    sys.argv = [f"algoperf {word}", *sys.argv[2:]]
    module = importlib.import_module(COMMANDS[word][0])
    if word in ("score", "compare", "check", "export"):
        from scoring import flags  # noqa: PLC0415 - only where it is needed

        flags.run(module.main)  # it ends the process
    if word in ("run", "list"):
        return int(module.main([*sys.argv, *["--list"] * (word == "list")]))
    function = "main" if word[:4] != "new-" else word.removeprefix("new-")
    return int(getattr(module, function)(sys.argv[1:]))


def usage() -> str:
    """Returns the list of commands."""
    lines = ["usage: algoperf COMMAND [--flag=value ...]", ""]
    lines += [f"  {word:16}{what}" for word, (_, what) in COMMANDS.items()]
    return "\n".join([*lines, "", "algoperf COMMAND --help lists the flags."])
