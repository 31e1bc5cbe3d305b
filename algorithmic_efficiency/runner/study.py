"""Runs the trials of a study, each in a fresh process where there are several."""

import contextlib
import fcntl
import json
import math
import multiprocessing
import shutil
import statistics
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from algorithmic_efficiency import registry, seeds, submission
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.errors import AlgoPerfError, StorageError, UsageError, UserError
from algorithmic_efficiency.metrics import METRICS
from algorithmic_efficiency.runner import (
    checkpoint,
    curves,
    metadata,
    records,
    tuning,
)
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.config import RunConfig
from algorithmic_efficiency.runner.progress import ProgressLine
from algorithmic_efficiency.runner.trainer import Recorder, Trainer
from algorithmic_efficiency.runner.trial import Progress, Rules, run_trial
from algorithmic_efficiency.spec import Definition
from algorithmic_efficiency.workload import Workload

SELF_TUNING_FACTOR = 1.5  # more time for a submission that tunes itself (v0.6 rules)
FINISHED = ("target_reached", "missed", "diverged")


def run_study(config: RunConfig) -> int:
    """Runs every trial of the plan, prints the score and returns the exit code."""
    plan = config.plan()
    for study, trial in plan:
        _check_folder(config, config.trial_folder(study, trial))
    for number, (study, trial) in enumerate(plan, start=1):
        if len(plan) > 1:
            print(f"--- Tuning run {number}/{len(plan)} ---", file=sys.stderr)
            code = _run_in_fresh_process(config, study, trial)
        else:
            code = run_one(config, study, trial)
        if code:
            return code
    score = _score(config)
    print(f"Final {config.workload} score: {score:.6g}", flush=True)
    return 0


def run_one(config: RunConfig, study: int, trial: int) -> int:
    """Runs one trial in this process; returns its exit code.

    A user's mistake ends it with one sentence; anything else leaves its traceback in
    the trial's folder.
    """
    folder = config.trial_folder(study, trial)
    try:
        _Trial(config, study, trial).run()
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - recorded, then reported
        return _report_failure(folder, error)
    return 0


def _run_in_fresh_process(config: RunConfig, study: int, trial: int) -> int:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_child, args=(config, study, trial))
    process.start()
    process.join()
    return process.exitcode if process.exitcode is not None else 1


def _child(config: RunConfig, study: int, trial: int) -> None:
    try:
        sys.exit(run_one(config, study, trial))
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)


def _report_failure(folder: Path, error: Exception) -> int:
    path = folder / "traceback.txt"
    with contextlib.suppress(OSError, StorageError):
        records.write_text(path, "".join(traceback.format_exception(error)))
    last = traceback.extract_tb(error.__traceback__)[-1]
    print(
        f"The trial failed: {type(error).__name__}: {error} ({last.filename}, line "
        f"{last.lineno}). The whole traceback is in {path}.",
        file=sys.stderr,
    )
    return 1


def _check_folder(config: RunConfig, folder: Path) -> None:
    if not folder.exists() or config.resume or config.overwrite:
        return
    raise UsageError(
        f"{folder} exists already. Give another --experiment_name, continue it with "
        "--resume_last_run, or replace it with --overwrite."
    )


def _score(config: RunConfig) -> float:
    """Returns the median over studies of the least time to target among the trials."""
    best = []
    for study in range(config.studies):
        trials = range(config.first_trial, config.end_trial)
        runs = [_read_run(config.trial_folder(study, trial)) for trial in trials]
        best.append(min(math.inf if r["score"] is None else r["score"] for r in runs))
    return statistics.median(best)


def _read_run(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    if not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_text())
    return content


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps a second process out of a trial's folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be written ({error.strerror}). Give a folder of yours "
            "with --experiment_dir."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"Another process is running in {folder}. Wait for it, or give another "
                "--experiment_name."
            ) from error
        yield


class _Trial:
    """One trial: sets the pieces up, runs the loop, writes the record."""

    def __init__(self, config: RunConfig, study: int, trial: int) -> None:
        self.config = config
        self.study = study
        self.trial = trial
        self.folder = config.trial_folder(study, trial)
        self.definition = registry.get(config.workload)
        self.point = config.points[trial]
        self.seed = seeds.integer(config.seed, "study", study, "trial", trial)
        factor = SELF_TUNING_FACTOR if config.ruleset == "self" else 1.0
        self.rules = Rules(
            budget_seconds=self.definition.max_allowed_runtime_sec * factor,
            eval_period_seconds=self.definition.eval_period_time_sec,
            max_global_steps=config.max_global_steps,
            skip_evals=config.skip_evals,
        )

    def run(self) -> None:
        """Runs the trial, unless it has been run to its end before."""
        with _locked(self.folder):
            previous = _read_run(self.folder)
            if self.config.resume and previous.get("status") in FINISHED:
                print(f"{self.folder} is finished already.", file=sys.stderr)
                return
            if self.config.overwrite and not self.config.resume:
                _empty(self.folder)
            if self.config.resume and (self.folder / "hparams.json").is_file():
                self.point = json.loads((self.folder / "hparams.json").read_text())
            self._run()

    def _run(self) -> None:
        started = time.time()
        backend = self._make_backend()
        loaded = submission.load(self.config.submission_path)
        workload = Workload(self.definition, backend, self.config.folders)
        workload.eval_num_workers = self.config.eval_num_workers
        metric = METRICS[self.definition.target_metric_name]
        line = ProgressLine(
            self.rules,
            f"validation/{self.definition.target_metric_name}",
            metric.maximize,
        )
        hyperparameters = tuning.namedtuple(self.point) if self.point else None
        trainer: Trainer | None = None
        progress, clock, status, reason = Progress(), Clock(), "failed", "failed"
        logger = None
        try:
            trainer = Trainer(workload, loaded, backend, hyperparameters, self.seed)
            progress, clock, position = self._restore(trainer)
            logger, recorder = self._recorder(trainer, line, progress)
            workload.attach_metrics_logger(logger)
            trainer.open_data(self.config.num_workers, position)
            trainer.on_record, trainer.on_step = recorder.record, recorder.show
            self._write_start(backend, progress, trainer)
            clock.switch("other")
            with self._traced():
                progress, reason = run_trial(trainer, clock, self.rules, progress)
            clock.switch("logging")
            status = _status(progress, reason)
            if self.config.save_checkpoints and not progress.diverged:
                recorder.checkpoint(progress, clock)
            logger.finish()
        except BaseException as error:
            reason = _reason(error)
            raise
        finally:
            line.close()
            if trainer is not None:
                trainer.close()
            clock.switch("other")
            run = self._describe(backend, trainer, progress, clock)
            run |= {"status": status, "stop_reason": reason, "started": started}
            with contextlib.suppress(StorageError):
                self._write_end(run, progress)
        self._summarise(run, progress, line)

    def _make_backend(self) -> base.Backend:
        if self.config.framework == "pytorch":
            return base.make("pytorch", compile_models=self.config.torch_compile)
        return base.make(self.config.framework)

    def _restore(self, trainer: Trainer) -> tuple[Progress, Clock, int]:
        found = checkpoint.existing(self.folder) if self.config.resume else []
        if not found:
            return Progress(), Clock(), 0
        state, meta = checkpoint.load(found[-1], trainer.backend, trainer.state)
        if meta["seed"] != self.seed:
            raise UsageError(
                f"{found[-1]} was written with another --rng_seed. Resume with the "
                "same seed, or without the flag."
            )
        trainer.state = state
        progress, seconds = checkpoint.restore(meta)
        progress.preemption_count += 1
        print(f"Resuming from {found[-1]}.", file=sys.stderr)
        return progress, Clock(seconds=seconds), int(meta["position"])

    def _recorder(
        self, trainer: Trainer, line: ProgressLine, progress: Progress
    ) -> tuple[records.MetricsLogger, Recorder]:
        sinks: list[Any] = []
        if self.config.use_tensorboard:
            sinks.append(records.TensorBoard(self.folder))
        if self.config.use_wandb:
            name = "/".join(self.folder.parts[-3:])
            sinks.append(records.WandB(self.folder, name, self.point or {}))
        measurements = self.folder / "measurements.csv"
        evals = self.folder / "eval_measurements.csv"
        logger = records.MetricsLogger(
            records.Table.read(measurements, progress.step), sinks
        )
        recorder = Recorder(
            self.folder,
            trainer,
            line,
            logger,
            records.Table.read(evals, progress.step),
            save_checkpoints=self.config.save_checkpoints,
            keep_all=self.config.save_intermediate_checkpoints,
        )
        return logger, recorder

    @contextlib.contextmanager
    def _traced(self) -> Iterator[None]:
        if not self.config.capture_jax_trace:
            yield
            return
        import jax  # noqa: PLC0415 - only with --capture_jax_trace

        with jax.profiler.trace(str(self.folder / "jax_trace")):
            yield

    def _write_start(
        self, backend: base.Backend, progress: Progress, trainer: Trainer
    ) -> None:
        count = progress.preemption_count
        if self.point is not None:
            records.write_json(self.folder / "hparams.json", self.point)
        records.write_json(self.folder / f"flags_{count}.json", self.config.flags)
        about = _definition_facts(self.definition)
        about |= {"rng_seed": self.config.seed, "hardware": metadata.hardware()}
        about |= {"versions": {**metadata.versions(), **backend.describe()}}
        records.write_json(self.folder / f"meta_data_{count}.json", about)
        run = self._describe(backend, trainer, progress, Clock())
        run |= {"status": "running", "stop_reason": ""}
        records.write_json(self.folder / "run.json", run)

    def _write_end(self, run: dict[str, Any], progress: Progress) -> None:
        records.write_json(self.folder / "run.json", run)
        if progress.evals:
            title = f"{self.config.workload}, {self.config.framework}, {_name(self.config)}"
            curves.draw(self.folder / "curves.png", self.definition, title, progress)

    def _describe(
        self,
        backend: base.Backend,
        trainer: Trainer | None,
        progress: Progress,
        clock: Clock,
    ) -> dict[str, Any]:
        definition = self.definition
        name = definition.target_metric_name
        return {
            "workload": definition.name,
            "framework": self.config.framework,
            "scale": "mini" if registry.is_mini(definition.name) else "full",
            "submission": _name(self.config),
            "score": progress.score,
            "global_step": progress.step,
            "evaluations": len(progress.evals),
            "preemption_count": progress.preemption_count,
            "diverged": progress.diverged,
            "clock": {**clock.seconds, "wall": clock.total},
            "budget_seconds": self.rules.budget_seconds,
            "targets": {
                "metric": name,
                "validation": definition.validation_target_value,
                "test": definition.test_target_value,
                "maximize": METRICS[name].maximize,
            },
            "seed": self.config.seed,
            "study": self.study,
            "trial": self.trial,
            "tuning_ruleset": self.config.ruleset,
            "hyperparameters": self.point,
            "batch_size": trainer.batch_size if trainer else None,
            "bad_examples": trainer.bad_examples if trainer else {},
            "peak_memory_bytes": metadata.peak_memory_bytes(),
            "versions": {**metadata.versions(), **backend.describe()},
            "hardware": metadata.hardware(),
        }

    def _summarise(
        self, run: dict[str, Any], progress: Progress, line: ProgressLine
    ) -> None:
        seconds = run["clock"]
        line.say(
            f"{run['status']} ({run['stop_reason']}) after {progress.step} steps. "
            f"Wall {seconds['wall']:.1f} s = submission {seconds['submission']:.1f}"
            f" + evaluation {seconds['evaluation']:.1f} + logging "
            f"{seconds['logging']:.1f} + other {seconds['other']:.1f}. "
            f"Peak memory {run['peak_memory_bytes'] / 2**30:.2f} GiB."
        )
        line.say(f"Records: {self.folder}")


def _status(progress: Progress, reason: str) -> str:
    if progress.diverged:
        return "diverged"
    return "target_reached" if math.isfinite(progress.score) else "missed"


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if "out of memory" in str(error).lower() or isinstance(error, MemoryError):
        return "out_of_memory"
    return "failed"


def _name(config: RunConfig) -> str:
    """Returns a submission's name: its folder, as its file is named by framework."""
    path = config.submission_path
    generic = (*base.FRAMEWORKS, "submission")
    return path.resolve().parent.name if path.stem in generic else path.stem


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name == ".lock":
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _definition_facts(definition: Definition) -> dict[str, Any]:
    plain = (bool, int, float, str)
    return {
        f"workload.{name}": value
        for name, value in vars(definition).items()
        if isinstance(value, plain)
    }
