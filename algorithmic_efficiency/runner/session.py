"""One trial from its folder to its record: sets the pieces up and runs the loop."""

import contextlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from algorithmic_efficiency import registry, seeds, submission
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.backends.compilation_caches import IGNORED
from algorithmic_efficiency.errors import DataError, StorageError, UsageError, UserError
from algorithmic_efficiency.runner import checkpoint, curves, metadata, records, tuning
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.config import RunConfig
from algorithmic_efficiency.runner.description import (
    describe,
    submission_name,
    surroundings,
)
from algorithmic_efficiency.runner.folder import empty, locked
from algorithmic_efficiency.runner.progress import ProgressLine
from algorithmic_efficiency.runner.recorder import Recorder
from algorithmic_efficiency.runner.trainer import Trainer
from algorithmic_efficiency.runner.trial import Progress, Rules, run_trial
from algorithmic_efficiency.spec import Definition
from algorithmic_efficiency.text import show
from algorithmic_efficiency.workload import Workload

SELF_TUNING_FACTOR = 1.5  # more time for a submission that tunes itself (v0.6 rules)
FINISHED = ("target_reached", "missed", "diverged")


def rules_of(config: RunConfig, definition: Definition) -> Rules:
    """Returns what ends a trial of this run and when it is evaluated."""
    factor = SELF_TUNING_FACTOR if config.ruleset == "self" else 1.0
    return Rules(
        budget_seconds=definition.max_allowed_runtime_sec * factor,
        eval_period_seconds=definition.eval_period_time_sec,
        max_global_steps=config.max_global_steps,
        skip_evals=config.skip_evals,
    )


def seed_of(config: RunConfig, study: int, trial: int) -> int:
    """Returns the seed of one trial, an own one for each study and trial."""
    return seeds.integer(config.seed, "study", study, "trial", trial)


def status_of(progress: Progress) -> str:
    """Returns how a trial ended that nothing has broken off."""
    if progress.diverged:
        return "diverged"
    return "target_reached" if math.isfinite(progress.score) else "missed"


def restore(folder: Path, trainer: Trainer) -> tuple[Progress, Clock, int]:
    """Returns (progress, clock, position in the data) of the newest checkpoint.

    Also sets the trainer's state, its bad examples and the global generators. Where
    there is no checkpoint the trial begins.

    Raises:
      StorageError: the checkpoint is damaged or of another submission.
      UsageError: it was written with another seed.
    """
    found = checkpoint.existing(folder)
    if not found:
        return Progress(), Clock(), 0
    state, meta = checkpoint.load(found[-1], trainer.backend, trainer.state)
    if meta["seed"] != trainer.seed:
        raise UsageError(
            f"{found[-1]} was written with another --rng_seed. Resume with the "
            "same seed, or without the flag."
        )
    trainer.state = state
    trainer.workload.bad_examples.update(meta["bad_examples"])
    progress, seconds = checkpoint.restore(meta)
    progress.preemption_count += 1
    show(f"Resuming from {found[-1]}.", sys.stderr)
    return progress, Clock(seconds=seconds), int(meta["position"])


def read_run(folder: Path) -> dict[str, Any]:
    """Returns run.json of a trial, or {} where there is none."""
    path = folder / "run.json"
    if not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_text())
    return content


class Session:
    """One trial of a run; `run` does everything."""

    def __init__(self, config: RunConfig, study: int, trial: int) -> None:
        self.config = config
        self.study = study
        self.trial = trial
        self.folder = config.trial_folder(study, trial)
        self.definition = registry.get(config.workload)
        self.point = config.point(study, trial)
        self.seed = seed_of(config, study, trial)
        self.rules = rules_of(config, self.definition)

    def run(self) -> None:
        """Runs the trial, unless it has been run to its end before."""
        with locked(self.folder):
            if self.config.resume:
                if self._finished():
                    show(f"{self.folder} is finished already.", sys.stderr)
                    return
                hparams = self.folder / "hparams.json"
                if hparams.is_file():
                    self.point = json.loads(hparams.read_text())
            elif self.config.overwrite:
                empty(self.folder)
            with self.opened() as trainer:
                self._train(trainer)

    def _finished(self) -> bool:
        """Says whether the trial has ended; a later --max_global_steps reopens it."""
        run, limit = read_run(self.folder), self.rules.max_global_steps
        if run.get("stop_reason") == "max_global_steps":
            return limit is not None and run["global_step"] >= limit
        return run.get("status") in FINISHED

    @contextlib.contextmanager
    def opened(self) -> Iterator[Trainer]:
        """Gives the trainer, its model initialised and its data not yet opened."""
        options: dict[str, Any] = {}
        if self.config.framework == "pytorch":
            options["compile_models"] = self.config.torch_compile
        path = self.config.submission_path
        backend = base.make(self.config.framework, submission=path, **options)
        loaded = submission.load(path)
        workload = Workload(self.definition, backend, self.config.folders)
        workload.eval_num_workers = self.config.eval_num_workers
        point = tuning.namedtuple(self.point) if self.point is not None else None
        trainer = Trainer(workload, loaded, backend, point, self.seed)
        try:
            yield trainer
        finally:
            trainer.close()

    def _train(self, trainer: Trainer) -> None:
        """Runs the loop between two records: what is to be run, and what came of it."""
        progress, clock, position = (
            restore(self.folder, trainer)
            if self.config.resume
            else (Progress(), Clock(), 0)
        )
        line = ProgressLine(self.rules, self.definition)
        recorder = self._recorder(trainer, line, progress)
        trainer.workload.attach_metrics_logger(recorder.logger)
        trainer.recorder = recorder
        evals = not self.config.skip_evals
        trainer.open_data(self.config.num_workers, position, evals=evals)
        self._write_start(trainer, progress, clock)
        for name, value in IGNORED.items():
            line.say(f"Ignored {name}={value}: every run compiles for itself.")
        clock.switch("other")
        try:
            with self._traced():
                reason = run_trial(trainer, clock, self.rules, progress)
            clock.switch("logging")
            status = status_of(progress)
            recorder.finish(progress, clock)
            clock.switch("other")
        except BaseException as error:
            with contextlib.suppress(StorageError):
                end = ("failed", _reason(error))
                self._write_end(trainer, progress, clock, end, _told(error))
            raise
        finally:
            line.close()
        self._write_end(trainer, progress, clock, (status, reason))
        self._summarise(progress, clock, line, f"{status} ({reason})")
        if self.config.profile:
            steps = max(progress.step, 1)
            for part, seconds in trainer.seconds_in.items():
                line.say(
                    f"{part}: {seconds:.2f} s, {seconds / steps * 1e3:.2f} ms a step"
                )

    def _recorder(
        self, trainer: Trainer, line: ProgressLine, progress: Progress
    ) -> Recorder:
        sinks: list[Any] = []
        if self.config.use_tensorboard:
            sinks.append(records.TensorBoard(self.folder))
        if self.config.use_wandb:
            name = "/".join(self.folder.parts[-3:])
            sinks.append(records.WandB(self.folder, name, self.point or {}))
        table = records.Table.read(self.folder / "measurements.csv", progress.step)
        evals = self.folder / "eval_measurements.csv"
        return Recorder(
            self.folder,
            trainer,
            line,
            records.MetricsLogger(table, sinks),
            records.Table.read(evals, progress.step),
            save_checkpoints=self.config.save_checkpoints,
            keep_all=self.config.save_intermediate_checkpoints,
        )

    @contextlib.contextmanager
    def _traced(self) -> Iterator[None]:
        if not self.config.capture_jax_trace:
            yield
            return
        import jax  # noqa: PLC0415 - only with --capture_jax_trace

        with jax.profiler.trace(str(self.folder / "jax_trace")):
            yield

    def _write_start(self, trainer: Trainer, progress: Progress, clock: Clock) -> None:
        count = progress.preemption_count
        if self.point is not None:
            records.write_json(self.folder / "hparams.json", self.point)
        records.write_json(self.folder / f"flags_{count}.json", self.config.flags)
        plain = (bool, int, float, str)
        facts = {
            f"workload.{name}": value
            for name, value in vars(self.definition).items()
            if isinstance(value, plain)
        }
        facts |= {"rng_seed": self.config.seed, **surroundings(trainer.backend)}
        records.write_json(self.folder / f"meta_data_{count}.json", facts)
        run = self._described(trainer, progress, clock)
        run |= {"status": "running", "stop_reason": "", "error": ""}
        records.write_json(self.folder / "run.json", run)

    def _write_end(
        self,
        trainer: Trainer,
        progress: Progress,
        clock: Clock,
        end: tuple[str, str],
        error: str = "",
    ) -> None:
        run = self._described(trainer, progress, clock)
        run |= {"status": end[0], "stop_reason": end[1], "error": error}
        records.write_json(self.folder / "run.json", run)
        if progress.evals:
            name = submission_name(self.config)
            title = f"{self.config.workload}, {self.config.framework}, {name}"
            path, budget = self.folder / "curves.png", self.rules.budget_seconds
            curves.draw(path, self.definition, title, progress, budget)

    def _described(
        self, trainer: Trainer, progress: Progress, clock: Clock
    ) -> dict[str, Any]:
        return {
            **describe(self.config, self.definition, self.rules, progress, clock),
            "study": self.study,
            "trial": self.trial,
            "hyperparameters": self.point,
            "batch_size": trainer.batch_size,
            "bad_examples": trainer.bad_examples,
            "seconds_in": trainer.seconds_in,
            "ignored_settings": dict(IGNORED),
            "peak_memory_bytes": metadata.peak_memory_bytes(),
            **surroundings(trainer.backend),
        }

    def _summarise(
        self, progress: Progress, clock: Clock, line: ProgressLine, end: str
    ) -> None:
        phases = " + ".join(f"{name} {s:.1f}" for name, s in clock.seconds.items())
        peak = metadata.peak_memory_bytes() / 2**30
        line.say(
            f"{end} after {progress.step} steps. Wall {clock.total:.1f} s = {phases}. "
            f"Peak memory {peak:.2f} GiB."
        )
        line.say(f"Records: {self.folder}")


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "out_of_memory"
    return "bad_data" if isinstance(error, DataError) else "failed"


def _told(error: BaseException) -> str:
    if isinstance(error, UserError):
        return str(error)
    return f"{type(error).__name__}: {error}"
