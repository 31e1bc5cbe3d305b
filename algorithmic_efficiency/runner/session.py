"""One trial from its folder to its record: sets the pieces up and runs the loop."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from algorithmic_efficiency import registry, seeds, submission
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.backends.compilation_caches import IGNORED
from algorithmic_efficiency.errors import StorageError, SubmissionError, UserError
from algorithmic_efficiency.runner import (
    contract,
    ending,
    experiments,
    failures,
    post_mortem,
    records,
    sinks,
    tuning,
)
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.config import RunConfig
from algorithmic_efficiency.runner.folder import empty, locked
from algorithmic_efficiency.runner.outcome import Outcome
from algorithmic_efficiency.runner.progress import ProgressLine, why_missed
from algorithmic_efficiency.runner.recorder import Recorder
from algorithmic_efficiency.runner.resuming import preemptions, recorded_point, restore
from algorithmic_efficiency.runner.rules import rules_of, seed_of, status_of
from algorithmic_efficiency.runner.run_record import (
    RunRecord,
    describe,
    read_run,
    surroundings,
    write_surroundings,
)
from algorithmic_efficiency.runner.stopping import Interrupted, Stop
from algorithmic_efficiency.runner.trainer import Trainer
from algorithmic_efficiency.runner.trial import INTERRUPTED, Progress, run_trial
from algorithmic_efficiency.text import show
from algorithmic_efficiency.workload import Workload


class Session:
    """One trial of a run; `run` does everything.

    Args:
      config: of the run.
      study: index of the study.
      trial: index of the trial in the study.
      stop: the wish to end early.
      tell: is told what the process that started this one needs to know, should this
        one die: see `isolation`.
    """

    def __init__(
        self,
        config: RunConfig,
        study: int,
        trial: int,
        stop: Stop | None = None,
        tell: Callable[..., None] = lambda *event: None,
    ) -> None:
        self.config = config
        self.folder = config.trial_folder(study, trial)
        self.definition = registry.get(config.workload)
        self.point = config.point(study, trial)
        self.seed = seed_of(config, study, trial)
        self.rules = rules_of(config, self.definition)
        self.first = config.plan()[0] == (study, trial)
        self.stop = stop or Stop()
        self.tell = tell
        facts = describe(config, self.definition, self.rules)
        facts |= {"study": study, "trial": trial}
        self.record = RunRecord(self.folder, facts)
        self.recorder: Recorder | None = None
        self.hyperparameters: Any = None
        self.began = False

    def run(self) -> Outcome:
        """Runs the trial, from its last checkpoint if it is resumed.

        Raises:
          UserError: nothing was run and nothing has changed.
        """
        with locked(self.folder):
            if self.config.resume:
                self.record.before = read_run(self.folder)
                self.point = recorded_point(self.folder) or self.point
            with contextlib.ExitStack() as stack:
                return self._attempt(stack)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Trainer]:
        """Gives the trainer, its model initialised and its data not yet opened."""
        trainer = self._trainer(*self._at_the_door())
        try:
            yield trainer
        finally:
            trainer.close()

    def _at_the_door(self) -> tuple[base.Backend, submission.Submission, Workload]:
        """Checks what all trials share, before anything is written."""
        seeds.seed_python(self.seed)
        options: dict[str, Any] = {}
        if self.config.framework == "pytorch":
            options["compile_models"] = self.config.torch_compile
        path = self.config.submission_path
        backend = base.make(self.config.framework, submission=path, **options)
        backend.seed_globals(seeds.pair(self.seed, "import"))
        loaded = submission.load(path)
        workload = Workload(self.definition, backend, self.config.folders)
        workload.eval_num_workers = self.config.eval_num_workers
        name, limit = self.definition.name, self.definition.eval_batch_size
        loaded.batch_size(name, backend.device_count)
        loaded.eval_batch_size(name, limit, backend.device_count)
        return backend, loaded, workload

    def _trainer(
        self, backend: base.Backend, loaded: submission.Submission, workload: Workload
    ) -> Trainer:
        if self.point is not None:
            self.hyperparameters = tuning.namedtuple(self.point)
        return Trainer(workload, loaded, backend, self.hyperparameters, self.seed)

    def _attempt(self, stack: contextlib.ExitStack) -> Outcome:
        """Runs the trial between two records: that it runs, and what came of it."""
        try:
            with self.stop.at_once():
                parts = self._at_the_door()
                if not self.config.skip_evals:
                    parts[2].open_evaluation()
                self._begin(parts[0])
                stack.enter_context(post_mortem.faults_kept(self.folder))
                trainer = self._trainer(*parts)
                stack.callback(trainer.close)
                line = ProgressLine(self.rules, self.definition)
                stack.callback(line.close)
                self._set_up(trainer, line)
            return self._train(trainer, line)
        except Interrupted as stop:
            return self._interrupted(whole=stop.whole)
        except UserError as error:
            mistake = self.began and isinstance(error, SubmissionError)
            if mistake or self.recorder is not None:
                return self._failed(error)
            if self.began:
                self._take_back()
            raise
        except BaseException as error:  # noqa: BLE001 - a submission may raise anything
            return self._failed(error)

    def _begin(self, backend: base.Backend) -> None:
        """Records that the trial runs, before the submission sees its point."""
        self._clear()
        self.record.facts |= {"hyperparameters": self.point, **surroundings(backend)}
        self.record.write("running")
        if self.point is not None:
            records.write_json(self.folder / "hparams.json", self.point)
        self.began = True
        self.tell("begun")

    def _clear(self) -> None:
        """Removes the records of an earlier run, where that was asked for."""
        if self.config.overwrite:
            empty(self.folder)
            if self.first:
                experiments.remove_others(self.config)

    def _take_back(self) -> None:
        """Leaves the folder as it was: nothing has been run."""
        with contextlib.suppress(StorageError):
            self.record.take_back()
        if not self.record.before:
            (self.folder / "hparams.json").unlink(missing_ok=True)

    def _set_up(self, trainer: Trainer, line: ProgressLine) -> None:
        """Brings the trial to where it goes on, or begins."""
        progress, clock, position = Progress(), Clock(), 0
        if self.config.resume:
            progress, clock, position = restore(self.folder, trainer)
            if not progress.step:
                show(f"There is no checkpoint in {self.folder} yet.", sys.stderr)
            progress.preemption_count = preemptions(self.folder, self.record.before)
        recorder = self._recorder(trainer, line, progress)
        trainer.workload.attach_metrics_logger(recorder.logger)
        trainer.recorder = recorder
        trainer.at_once = self.stop.at_once
        evals = not self.config.skip_evals
        trainer.open_data(self.config.num_workers, position, evals=evals)
        self.record.trainer = trainer
        self.record.progress, self.record.clock = progress, clock
        write_surroundings(self.record, self.config, progress.preemption_count)
        self.record.write("running")
        self.recorder = recorder
        for name, value in IGNORED.items():
            line.say(f"Ignored {name}={value}: every run compiles for itself.")

    def _recorder(
        self, trainer: Trainer, line: ProgressLine, progress: Progress
    ) -> Recorder:
        receivers = sinks.make(self.config, self.folder, self.point or {})
        # Without a checkpoint nothing stays: step 0 is made again too.
        read, step = records.Table.read, progress.step or -1
        table = read(self.folder / "measurements.csv", step, progress.logged_rows)
        return Recorder(
            self.folder,
            trainer,
            line,
            records.MetricsLogger(table, receivers, lambda row: self.tell("row", row)),
            read(self.folder / "eval_measurements.csv", step),
            self.record,
            save_checkpoints=self.config.save_checkpoints,
            keep_all=self.config.save_intermediate_checkpoints,
        )

    def _train(self, trainer: Trainer, line: ProgressLine) -> Outcome:
        """Runs the loop and writes what came of it."""
        progress, clock, recorder = self._running()
        clock.switch("other")
        with self._traced():
            reason = run_trial(
                trainer, clock, self.rules, progress, self.stop.requested
            )
        if reason == INTERRUPTED:
            return self._interrupted(whole=True)
        clock.switch("logging")
        recorder.finish(progress, clock)
        clock.switch("other")
        status = status_of(progress)
        self.record.write(status, reason)
        line.close()
        ending.draw(self.config, self.definition, self.folder, progress)
        line.say(ending.summary(f"{status} ({reason})", progress, clock))
        if status != "target_reached":
            seconds = clock.submission
            line.say(why_missed(progress, seconds, self.rules, self.definition))
        line.say(f"Records: {self.folder}")
        if self.config.profile:
            steps = max(progress.step, 1)
            for part, seconds in trainer.seconds_in.items():
                line.say(
                    f"{part}: {seconds:.2f} s, {seconds / steps * 1e3:.2f} ms a step"
                )
        return Outcome("ended")

    def _running(self) -> tuple[Progress, Clock, Recorder]:
        assert self.record.progress is not None and self.recorder is not None
        return self.record.progress, self.record.clock, self.recorder

    @contextlib.contextmanager
    def _traced(self) -> Iterator[None]:
        if not self.config.capture_jax_trace:
            yield
            return
        import jax  # noqa: PLC0415 - only with --capture_jax_trace

        with jax.profiler.trace(str(self.folder / "jax_trace")):
            yield

    def _interrupted(self, *, whole: bool) -> Outcome:
        """Saves what can be saved after a signal; `whole` as in `Interrupted`."""
        self.tell("stopping")
        if self.recorder is not None:
            progress, clock, recorder = self._running()
            clock.switch("logging")
            recorder.break_off(progress, clock, whole=whole)
            clock.switch("other")
        if self.began:
            self.record.write("interrupted", INTERRUPTED)
        if self.recorder is not None:
            show(ending.summary("Interrupted", progress, clock), sys.stderr)
        return Outcome("interrupted")

    def _failed(self, error: BaseException) -> Outcome:
        """Records that an error has ended the trial, unless the disk is full."""
        path = self.config.submission_path
        misread = contract.fault_of_hyperparameters(error, self.hyperparameters, path)
        if misread:
            sentence = SubmissionError(f"{path}: {misread}.")
            sentence.__cause__, error = error, sentence
        words = failures.told(error)
        end = ("failed", failures.reason_of(error))
        if isinstance(error, StorageError):
            end = ("interrupted", "storage")
        with contextlib.suppress(StorageError, OSError):
            if not self.began:
                self._clear()
            self.record.write(*end, words)
        if self.recorder is not None:
            progress, clock, recorder = self._running()
            with contextlib.suppress(StorageError):
                recorder.abandon()
            ending.draw(self.config, self.definition, self.folder, progress)
        if isinstance(error, UserError) and not isinstance(error, SubmissionError):
            return Outcome("refused", words)
        ending.explain(error, path, self.folder)
        return Outcome("failed", mistake=isinstance(error, UserError))
