"""The flags of `submission_runner.py`: one table, its parser and its help text."""

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from algorithmic_efficiency import registry
from algorithmic_efficiency.definition import DEFAULT_EDITION, EDITIONS
from algorithmic_efficiency.errors import UsageError
from algorithmic_efficiency.paths import path_of


@dataclasses.dataclass(frozen=True)
class Flag:
    """One row of the command line: a name, a kind, a default and a sentence."""

    name: str
    kind: str  # 'string', 'integer', 'bool', or choices separated by '|'
    default: Any
    help: str


WORKLOAD_PATH = Flag(
    "workload_path",
    "string",
    None,
    "Folder of a workload that lies anywhere; without --workload, the first in it.",
)
_DATA = "Data"
# Group -> its flags, beside those of the data modules. Names are those of the public
# AlgoPerf runner.
_OWN: Mapping[str, Sequence[Flag]] = {
    "What to run": (
        Flag("workload", "string", None, "Name of the workload; --list shows them."),
        WORKLOAD_PATH,
        Flag(
            "submission_path",
            "string",
            None,
            "Python file with the training algorithm; default: the reference NadamW.",
        ),
        Flag(
            "framework",
            "pytorch|jax",
            None,
            "Default: what the submission's path or imports say, else pytorch.",
        ),
        Flag(
            "scale",
            "auto|full|mini",
            "auto",
            "full: the published benchmark; mini: the same at laptop size; auto: full "
            "where its data are found, else mini.",
        ),
        Flag(
            "benchmark_version",
            "|".join(EDITIONS),
            DEFAULT_EDITION,
            "Edition of the benchmark whose budgets, evaluation periods and step hints "
            "hold.",
        ),
        Flag("list", "bool", False, "List workloads and algorithms, and end."),
    ),
    "Tuning": (
        Flag(
            "tuning_ruleset",
            "external|self",
            "external",
            "external: trials over a search space; self: one trial that tunes itself "
            "and has 1.5 times the budget (3 times in edition 0.5).",
        ),
        Flag(
            "tuning_search_space",
            "string",
            None,
            "JSON file; default: default_hyperparameters.json, or else "
            "tuning_search_space.json, beside the submission; without one there are "
            "no hyperparameters.",
        ),
        Flag("num_tuning_trials", "integer", 1, "Trials in each study."),
        Flag(
            "num_studies",
            "integer",
            1,
            "Studies; each has its own points of a search space of ranges, and the "
            "same ones of a list. The published rules ask for 3, those of 0.5 for 5.",
        ),
        Flag("hparam_start_index", "integer", None, "First trial to run, from 0."),
        Flag("hparam_end_index", "integer", None, "Trial to stop before."),
        Flag("rng_seed", "integer", None, "Seed of everything; default: a random one."),
    ),
    _DATA: (
        Flag("data_dir", "string", "~/data", "Folder of the data sets."),
        Flag(
            "num_workers",
            "integer",
            None,
            "Processes that read training data; default: 0 (threads) at mini scale, "
            "half of the cores at full scale.",
        ),
        Flag(
            "pytorch_eval_num_workers",
            "integer",
            0,
            "Processes that read evaluation data, in both frameworks.",
        ),
    ),
    "Records": (
        Flag("experiment_dir", "string", "./experiments", "Where records go."),
        Flag("experiment_name", "string", None, "Folder therein; default: the time."),
        Flag("append_timestamp", "bool", False, "Append the time to the name."),
        Flag("overwrite", "bool", False, "Replace the records of an earlier run."),
        Flag(
            "resume_last_run",
            "bool",
            False,
            "Continue from the last checkpoint; without --experiment_name, of the "
            "newest experiment with this workload.",
        ),
        Flag(
            "retry_failed",
            "bool",
            False,
            "With --resume_last_run: run trials again that have failed.",
        ),
        Flag("save_checkpoints", "bool", True, "Write a checkpoint at evaluations."),
        Flag(
            "save_intermediate_checkpoints",
            "bool",
            False,
            "Keep the older checkpoints too.",
        ),
        Flag("use_tensorboard", "bool", False, "Write TensorBoard events too."),
        Flag("use_wandb", "bool", False, "Send scalars to Weights & Biases too."),
    ),
    "Running": (
        Flag("max_global_steps", "integer", None, "Stop after this many steps."),
        Flag("skip_evals", "bool", False, "Train without any evaluation."),
        Flag(
            "torch_compile",
            "bool",
            None,
            "Compile PyTorch models; default: on a GPU only.",
        ),
        Flag(
            "set_pytorch_max_split_size",
            "bool",
            False,
            "Let CUDA memory be split up to 256 MB only, against fragmentation.",
        ),
        Flag("profile", "bool", False, "Print the time of every part of a step."),
        Flag(
            "capture_jax_trace", "bool", False, "Record a trace for the JAX profiler."
        ),
    ),
}


# Numbers that make sense; more workers or trials than these are a slip of the keyboard.
_LIMITS = {
    "num_tuning_trials": (1, 10_000),
    "num_studies": (1, 100),
    "num_workers": (0, 1_024),
    "pytorch_eval_num_workers": (0, 1_024),
    "max_global_steps": (0, 10**12),
}


def table() -> dict[str, Sequence[Flag]]:
    """Returns all flags by group; `--help` and the record of a run are made from it."""
    declared = registry.data_flags().items()
    more = [Flag(name, "string", flag.default, flag.help) for name, flag in declared]
    return {**_OWN, _DATA: (*_OWN[_DATA], *more)}


def parse(argv: Sequence[str]) -> dict[str, Any]:
    """Returns flag -> value, and 'help' -> True where help was asked for.

    Workloads of --workload_path are registered, since their data may have flags too.

    Raises:
      UsageError: unknown flag, impossible value or stray argument.
    """
    outside = _outside(argv)
    values = flags.FlagValues()
    for flag in (flag for group in table().values() for flag in group):
        _define(flag, values)
    if any(word in ("-h", "--help", "-help", "--helpfull") for word in argv[1:]):
        return {"help": True}
    try:
        rest = values(list(argv))
    except flags.Error as error:
        raise UsageError(f"{error}. --help lists the flags.") from error
    if rest[1:]:
        raise UsageError(
            f"Found {rest[1]!r}, which belongs to no flag; write --name=value."
        )
    return {name: values[name].value for name in values} | outside


def _outside(argv: Sequence[str]) -> dict[str, str | None]:
    """Registers the workloads of --workload_path; returns the flag, an absolute path.

    Raises:
      UsageError: there is no workload.
    """
    first, name = flags.FlagValues(), WORKLOAD_PATH.name
    _define(WORKLOAD_PATH, first)
    try:
        first(list(argv), known_only=True)
    except flags.Error as error:
        raise UsageError(f"{error}. --help lists the flags.") from error
    if first[name].value is None:
        return {name: None}
    folder = path_of(name, first[name].value).resolve()
    registry.add(folder)
    return {name: str(folder)}


def check_numbers(values: Mapping[str, Any]) -> None:
    """Raises UsageError for a number that is out of its bounds."""
    for name, (least, most) in _LIMITS.items():
        value = values[name]
        if value is not None and value < least:
            raise UsageError(f"--{name}={value} should be at least {least}.")
        if value is not None and value > most:
            raise UsageError(f"--{name}={value} should be at most {most}.")


def _define(flag: Flag, values: flags.FlagValues) -> None:
    if "|" in flag.kind:
        choices = flag.kind.split("|")
        flags.DEFINE_enum(
            flag.name, flag.default, choices, flag.help, flag_values=values
        )
    else:
        define = getattr(flags, f"DEFINE_{flag.kind}")
        define(flag.name, flag.default, flag.help, flag_values=values)


def usage() -> str:
    """Returns the text of --help, grouped."""
    lines = [
        "Train a workload with a training algorithm, on the clock, until a validation",
        "target is reached.",
        "",
        f"  python submission_runner.py --workload={registry.example()}",
    ]
    for group, rows in table().items():
        lines += ["", f"{group}:"]
        for flag in rows:
            kind = "" if flag.kind == "bool" else f"={_placeholder(flag)}"
            negatable = "[no]" if flag.kind == "bool" and flag.name != "list" else ""
            default = "" if flag.default in (None, False, "") else _shown(flag.default)
            lines.append(f"  --{negatable}{flag.name}{kind}{default}")
            lines += textwrap.wrap(
                flag.help, 78, initial_indent=" " * 8, subsequent_indent=" " * 8
            )
    return "\n".join(lines)


def _placeholder(flag: Flag) -> str:
    return flag.kind if "|" in flag.kind else {"integer": "N"}.get(flag.kind, "TEXT")


def _shown(default: Any) -> str:
    return f"  (default: {str(default).lower() if default is True else default})"
