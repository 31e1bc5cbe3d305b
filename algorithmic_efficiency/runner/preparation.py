"""What a trial is made of, piece by piece; `session` says in which order."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from algorithmic_efficiency import seeds, submission
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.runner import checkpoint, records, sinks, tuning
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.config import RunConfig
from algorithmic_efficiency.runner.rules import definition_of, seed_of
from algorithmic_efficiency.runner.trainer import Trainer
from algorithmic_efficiency.runner.trial import Progress
from algorithmic_efficiency.workload import Workload


class Parts(NamedTuple):
    """What is made before anything is written."""

    backend: base.Backend
    submission: submission.Submission
    workload: Workload


def at_the_door(config: RunConfig, seed: int) -> Parts:
    """Checks what all trials of a run share; seeds Python, NumPy and the framework.

    Args:
      config: of the run.
      seed: of the trial.

    Raises:
      UserError: the framework, the submission or its batch sizes will not do.
    """
    definition, path = definition_of(config), config.submission_path
    seeds.seed_python(seed)
    options: dict[str, Any] = {}
    if config.framework == "pytorch":
        options["compile_models"] = config.torch_compile
    backend = base.make(config.framework, submission=path, **options)
    backend.seed_globals(seeds.pair(seed, "import"))
    loaded = submission.load(path)
    workload = Workload(definition, backend, config.folders)
    workload.eval_num_workers = config.eval_num_workers
    name, limit = definition.name, definition.eval_batch_size
    loaded.batch_size(name, backend.device_count)
    loaded.eval_batch_size(name, limit, backend.device_count)
    return Parts(backend, loaded, workload)


def hyperparameters_of(point: dict[str, Any] | None) -> Any:
    """Returns what a submission receives for a point; None where it tunes itself."""
    return None if point is None else tuning.namedtuple(point)


def trainer_of(
    parts: Parts,
    hyperparameters: Any,
    seed: int,
    at_once: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Trainer:
    """Returns the trainer, its model initialised and its data not yet opened."""
    return Trainer(
        parts.workload, parts.submission, parts.backend, hyperparameters, seed, at_once
    )


def trainer(config: RunConfig, study: int, trial: int) -> Trainer:
    """Returns the trainer of a trial that is not recorded; the caller closes it."""
    seed = seed_of(config, study, trial)
    hyperparameters = hyperparameters_of(config.point(study, trial))
    return trainer_of(at_the_door(config, seed), hyperparameters, seed)


def logger(
    config: RunConfig,
    folder: Path,
    point: dict[str, Any] | None,
    progress: Progress,
    tell: Callable[[Any], None],
) -> records.MetricsLogger:
    """Returns the logger of measurements.csv.

    Args:
      config: of the run.
      folder: of the trial.
      point: its hyperparameters.
      progress: where it goes on; rows beyond that are made again.
      tell: receives each row that is not yet on disk.
    """
    table = records.Table.read(
        folder / "measurements.csv", _last(progress), progress.logged_rows
    )
    return records.MetricsLogger(table, sinks.make(config, folder, point or {}), tell)


def evaluations(folder: Path, progress: Progress) -> records.Table:
    """Returns eval_measurements.csv up to where the trial goes on."""
    return records.Table.read(folder / "eval_measurements.csv", _last(progress))


def _last(progress: Progress) -> int:
    # Without a checkpoint nothing stays: step 0 is made again too.
    return progress.step or -1


def saver(
    config: RunConfig, folder: Path, trained: Trainer, say: Callable[[str], None]
) -> Callable[[Progress, Clock], None] | None:
    """Returns what writes a checkpoint of a trial as it is then; None where none is.

    Args:
      config: of the run.
      folder: of the trial.
      trained: whose state, and place in the data, is written.
      say: shows a sentence to the user.
    """
    if not config.save_checkpoints:
        return None
    writer = checkpoint.Writer(
        folder,
        trained.backend,
        trained.origin,
        keep_all=config.save_intermediate_checkpoints,
        tell=say,
    )

    def save(progress: Progress, clock: Clock) -> None:
        meta = checkpoint.describe(
            progress,
            clock,
            position=trained.position,
            seed=trained.seed,
            bad_examples=trained.bad_examples,
        )
        writer.save(trained.state, meta)

    return save
