"""The only reader of the command line and the environment; makes a RunConfig."""

import errno
import importlib.metadata
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from algorithmic_efficiency.definition import DEFAULT_EDITION
from algorithmic_efficiency.errors import RunInterrupted, UsageError, UserError
from algorithmic_efficiency.flags import check_numbers, parse, usage
from algorithmic_efficiency.paths import folder_of, path_of
from algorithmic_efficiency.resume_command import resume_command
from algorithmic_efficiency.streams import readers_may_leave
from algorithmic_efficiency.text import show

if TYPE_CHECKING:
    from algorithmic_efficiency.data import Folders
    from algorithmic_efficiency.runner.config import RunConfig

# Flags that RunConfig takes as they are, under the same name.
_UNCHANGED = (
    "benchmark_version",
    "workload_path",
    "max_global_steps",
    "overwrite",
    "retry_failed",
    "skip_evals",
    "save_checkpoints",
    "save_intermediate_checkpoints",
    "torch_compile",
    "use_tensorboard",
    "use_wandb",
    "profile",
    "capture_jax_trace",
)


def main(argv: Sequence[str]) -> int:
    """Runs the command and returns its exit code.

    That is 0 where all trials ended by the rules, 1 where one failed, 2 at a user's
    mistake, and 128 + the number of a signal that ended the run.

    Args:
      argv: the program's name and its arguments.
    """
    with readers_may_leave():
        return _run(argv)


def _run(argv: Sequence[str]) -> int:
    config = None
    try:
        values = parse(argv)
        if values.get("help") or values["list"]:
            if values.get("help"):
                show(usage())
            else:
                show(listing(values["benchmark_version"]))
            return 0
        from algorithmic_efficiency.runner import study  # noqa: PLC0415 - it is slow

        config = make_config(values)
        return study.run_study(config)
    except UserError as error:
        show(f"Error: {error}", sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.EACCES):
            raise
        told = f"the name {str(error.filename)[:40]!r}... is too long for a file."
        if error.errno == errno.EACCES:
            told = f"no access to {error.filename}."
        show(f"Error: {told}", sys.stderr)
        return 2
    except RunInterrupted as stop:
        assert config is not None
        show(f"Interrupted by {signal.Signals(stop.number).name}.", sys.stderr)
        if stop.begun:
            show(f"Go on with:\n  {resume_command(argv, config)}", sys.stderr)
        return 128 + stop.number
    except KeyboardInterrupt:
        show("Interrupted before anything was run.", sys.stderr)
        return 128 + signal.SIGINT


def listing(edition: str = DEFAULT_EDITION) -> str:
    """Returns the workloads with their variants and constants, and the algorithms."""
    from algorithmic_efficiency import registry, submission  # noqa: PLC0415 - as above

    lines = ["Workloads (target; budget in seconds):"]
    width = max(map(len, registry.definitions())) + 2
    for name, definition in registry.definitions().items():
        goal = f"{definition.target_metric_name} {definition.validation_target_value:g}"
        seconds = definition.in_edition(edition).max_allowed_runtime_sec
        budget = f"{seconds:,} s"
        lines.append(f"  {name:{width}}{goal:24}{budget:>10}")
    lines += ["", "Algorithms (--submission_path):"]
    for path in submission.example_paths():
        lines.append(f"  {path.relative_to(registry.ROOT)}")
    return "\n".join(lines)


def make_config(values: Mapping[str, Any]) -> "RunConfig":
    """Checks what the flags say together; returns what is to be run.

    Raises:
      UserError: something that was asked for is impossible.
    """
    from algorithmic_efficiency import seeds  # noqa: PLC0415 - as above
    from algorithmic_efficiency.runner import experiments  # noqa: PLC0415 - as above
    from algorithmic_efficiency.runner.config import RunConfig  # noqa: PLC0415

    folders = _folders(values)
    check_numbers(values)
    workload = _workload(values, folders)
    framework, path = _submission(values)
    _check_other_flags(values, framework, workload)
    folder, seed = experiments.locate(values, f"{workload}_{framework}")
    points = _points(values, path, seeds.integer(seed, "search space"))
    trials = _trials(values, len(points) // values["num_studies"])
    return RunConfig(
        workload=workload,
        framework=framework,
        submission_path=path,
        ruleset=values["tuning_ruleset"],
        points=tuple(points),
        first_trial=trials.start,
        end_trial=trials.stop,
        studies=values["num_studies"],
        folder=folder,
        folders=folders,
        seed=seed,
        flags={**values, "rng_seed": seed},
        resume=values["resume_last_run"],
        num_workers=_workers(values["num_workers"], workload),
        eval_num_workers=values["pytorch_eval_num_workers"],
        **{name: values[name] for name in _UNCHANGED},
    )


def _folders(values: Mapping[str, Any]) -> "Folders":
    """Returns where data lie, by the flags of the data modules too."""
    from algorithmic_efficiency import registry  # noqa: PLC0415 - as above
    from algorithmic_efficiency.data import Folders  # noqa: PLC0415 - as above

    given = tuple(
        (name, (folder_of if flag.folder else path_of)(name, values[name]))
        for name, flag in registry.data_flags().items()
        if values[name] != flag.default
    )
    return Folders(folder_of("data_dir", values["data_dir"]), given)


def _workload(values: Mapping[str, Any], folders: Any) -> str:
    """Returns the name of the workload at the scale that was asked for or is there."""
    from algorithmic_efficiency import registry  # noqa: PLC0415 - as above

    name, scale = values["workload"], values["scale"]
    if values["workload_path"]:
        there = registry.add(Path(values["workload_path"]), name)
        name = name or there[0]
    if name is None:
        raise UsageError(
            f"--workload is missing, for example --workload={registry.example()}; "
            "--list shows all workloads."
        )
    definition = registry.get(name)
    if registry.is_mini(name):
        if scale == "full":
            raise UsageError(
                f"{name} is a workload at mini scale; --scale=full needs its full name "
                f"{definition.base}."
            )
        return str(name)
    if scale == "mini":
        return registry.mini_twin(name)
    lost = registry.missing_data(definition, folders)
    if lost is None:
        return str(name)
    if scale == "full":
        raise UsageError(f"--scale=full, but {lost}")
    mini = registry.mini_twin(name)
    show(
        f"*** MINI SCALE: {lost} Running {mini} instead, whose times say nothing about "
        f"{name}. ***",
        sys.stderr,
    )
    return mini


def _submission(values: Mapping[str, Any]) -> tuple[str, Path]:
    """Returns (framework, path of the submission)."""
    from algorithmic_efficiency import registry, submission  # noqa: PLC0415 - as above

    framework = values["framework"]
    if values["submission_path"] is None:
        framework = framework or "pytorch"
        path = registry.ROOT / "reference_algorithms" / "nadamw" / f"{framework}.py"
    else:
        path = registry.shipped(path_of("submission_path", values["submission_path"]))
        submission.check_file(path)
        told = submission.framework_of(path)
        if framework and told and told != framework:
            show(
                f"Note: --framework={framework}, though {path} looks as if it was "
                f"written for {told}.",
                sys.stderr,
            )
        framework = framework or told or "pytorch"
    return str(framework), path


def _check_other_flags(
    values: Mapping[str, Any], framework: str, workload: str
) -> None:
    from algorithmic_efficiency import registry  # noqa: PLC0415 - as above

    own = registry.flags_of(registry.get(workload).data)
    for name, flag in registry.data_flags().items():
        if name not in own and values[name] != flag.default:
            raise UsageError(
                f"--{name} is for the data of other workloads than {workload}; leave "
                "it out."
            )
    if values["capture_jax_trace"] and framework != "jax":
        raise UsageError("--capture_jax_trace needs --framework=jax.")
    if values["set_pytorch_max_split_size"]:
        if framework != "pytorch":
            raise UsageError("--set_pytorch_max_split_size needs --framework=pytorch.")
        os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "max_split_size_mb:256"
    for sink, package in (("use_tensorboard", "tensorboard"), ("use_wandb", "wandb")):
        if values[sink] and not _installed(package):
            raise UsageError(
                f"--{sink} needs the package {package!r}, which is not installed. "
                f"Install it with: pip install '.[{package}]'."
            )
    processes = os.environ.get("WORLD_SIZE", "").strip()
    if processes not in ("", "1"):
        raise UsageError(
            f"Found WORLD_SIZE={processes!r} in the environment, but this version "
            "trains in one process. Start it without torchrun, or unset WORLD_SIZE."
        )


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _points(
    values: Mapping[str, Any], path: Path, seed: int
) -> list[dict[str, Any] | None]:
    """Returns the hyperparameters of every trial of every study; None tunes itself."""
    from algorithmic_efficiency import registry  # noqa: PLC0415 - as above
    from algorithmic_efficiency.runner import tuning  # noqa: PLC0415 - as above

    trials, studies = values["num_tuning_trials"], values["num_studies"]
    space = values["tuning_search_space"]
    space = None if space is None else path_of("tuning_search_space", space)
    if values["tuning_ruleset"] == "self":
        if space is not None or trials > 1:
            raise UsageError(
                "--tuning_ruleset=self tunes itself in one trial: leave out "
                "--tuning_search_space and --num_tuning_trials."
            )
        return [None] * studies
    space = space or tuning.beside(path)
    if space is None and trials > 1:
        raise UsageError(
            f"--num_tuning_trials={trials} needs --tuning_search_space=FILE.json, or a "
            f"file {' or '.join(tuning.BESIDE)} in {path.parent}. A submission without "
            "hyperparameters has one trial."
        )
    if space is None:
        return [{} for _ in range(studies)]
    return [*tuning.points(tuning.read(registry.shipped(space)), trials, seed, studies)]


def _trials(values: Mapping[str, Any], count: int) -> range:
    """Returns the indices of the trials to run, of `count` that there are."""
    first, end = values["hparam_start_index"] or 0, values["hparam_end_index"]
    end = count if end is None else min(count, end)
    if not 0 <= first < end:
        raise UsageError(
            f"No trial lies between --hparam_start_index={first} and "
            f"--hparam_end_index={end}; there are {count} trials, from 0."
        )
    return range(first, end)


def _workers(asked: int | None, workload: str) -> int:
    from algorithmic_efficiency import registry  # noqa: PLC0415 - as above

    if asked is not None:
        return asked
    return 0 if registry.is_mini(workload) else (os.cpu_count() or 2) // 2
