"""One trial from its folder to its record: what happens, in which order.

The pieces are made by `preparation`, the loop is `trial.run_trial`, and what is said at
the end is in `ending`.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from algorithmic_efficiency.backends.compilation_caches import IGNORED
from algorithmic_efficiency.errors import StorageError, SubmissionError, UserError
from algorithmic_efficiency.runner import (
    contract,
    ending,
    experiments,
    failures,
    post_mortem,
    preparation,
    records,
)
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.config import RunConfig
from algorithmic_efficiency.runner.folder import empty, locked
from algorithmic_efficiency.runner.outcome import Outcome
from algorithmic_efficiency.runner.progress import ProgressLine, why_missed
from algorithmic_efficiency.runner.recorder import Recorder
from algorithmic_efficiency.runner.resuming import preemptions, recorded_point, restore
from algorithmic_efficiency.runner.rules import (
    definition_of,
    rules_of,
    seed_of,
    status_of,
)
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


class Running(NamedTuple):
    """A trial that is set up: all that the loop needs."""

    trainer: Trainer
    recorder: Recorder
    line: ProgressLine
    progress: Progress
    clock: Clock


class Session:
    """One trial of a run; `run` does everything.

    It knows three stages, by which its end is recorded: nothing is written yet; the
    trial is recorded as running (`began`); it is set up (`running`).

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
        self.definition = definition_of(config)
        self.point = config.point(study, trial)
        self.seed = seed_of(config, study, trial)
        self.rules = rules_of(config, self.definition)
        self.first = config.plan()[0] == (study, trial)
        self.stop = stop or Stop()
        self.tell = tell
        facts = describe(config, self.definition, self.rules)
        facts |= {"study": study, "trial": trial}
        self.record = RunRecord(self.folder, facts)
        self.hyperparameters: Any = None
        self.began = False
        self.running: Running | None = None

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

    def _attempt(self, stack: contextlib.ExitStack) -> Outcome:
        """Runs the trial between two records: that it runs, and what came of it."""
        try:
            with self.stop.at_once():
                parts = preparation.at_the_door(self.config, self.seed)
                if not self.config.skip_evals:
                    parts.workload.open_evaluation()
                self._begin(parts)
                stack.enter_context(post_mortem.faults_kept(self.folder))
                self.running = self._set_up(parts, stack)
            return self._train(self.running)
        except Interrupted as stop:
            return self._interrupted(whole=stop.whole)
        except UserError as error:
            mistake = self.began and isinstance(error, SubmissionError)
            if mistake or self.running is not None:
                return self._failed(error)
            if self.began:
                self._take_back()
            raise
        except BaseException as error:  # noqa: BLE001 - a submission may raise anything
            return self._failed(error)

    def _begin(self, parts: preparation.Parts) -> None:
        """Records that the trial runs, before the submission sees its point."""
        self._clear()
        facts = {"hyperparameters": self.point, **surroundings(parts.backend)}
        self.record.facts |= facts
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

    def _set_up(self, parts: preparation.Parts, stack: contextlib.ExitStack) -> Running:
        """Brings the trial to where it goes on, or begins."""
        config = self.config
        self.hyperparameters = preparation.hyperparameters_of(self.point)
        trainer = preparation.trainer_of(
            parts, self.hyperparameters, self.seed, self.stop.at_once
        )
        stack.callback(trainer.close)
        line = ProgressLine(self.rules, self.definition)
        stack.callback(line.close)
        progress, clock, position = self._found(trainer)
        recorder = self._recorder(trainer, line, progress)
        parts.workload.attach_metrics_logger(recorder.logger)
        trainer.open_data(config.num_workers, position, evals=not config.skip_evals)
        self.record.follow(progress, clock, trainer.report)
        write_surroundings(self.record, config, progress.preemption_count)
        for name, value in IGNORED.items():
            line.say(f"Ignored {name}={value}: every run compiles for itself.")
        self.record.write("running")
        return Running(trainer, recorder, line, progress, clock)

    def _found(self, trainer: Trainer) -> tuple[Progress, Clock, int]:
        """Returns how far the trial has come, and its position in the data."""
        if not self.config.resume:
            return Progress(), Clock(), 0
        progress, clock, position = restore(self.folder, trainer)
        if not progress.step:
            show(f"There is no checkpoint in {self.folder} yet.", sys.stderr)
        progress.preemption_count = preemptions(self.folder, self.record.before)
        return progress, clock, position

    def _recorder(
        self, trainer: Trainer, line: ProgressLine, progress: Progress
    ) -> Recorder:
        config, folder = self.config, self.folder
        return Recorder(
            line,
            preparation.logger(
                config, folder, self.point, progress, lambda row: self.tell("row", row)
            ),
            preparation.evaluations(folder, progress),
            self.record,
            preparation.saver(config, folder, trainer, line.say),
            compiles=trainer.backend.compiles,
        )

    def _train(self, running: Running) -> Outcome:
        """Runs the loop and writes what came of it."""
        trainer, recorder, line, progress, clock = running
        clock.switch("other")
        with self._traced():
            reason = run_trial(
                trainer, recorder, clock, self.rules, progress, self.stop.requested
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
            line.say(ending.profile(trainer.seconds_in, progress.step))
        return Outcome("ended")

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
        if self.running is not None:
            _, recorder, _, progress, clock = self.running
            clock.switch("logging")
            try:
                recorder.break_off(progress, clock, whole=whole)
            except StorageError as error:
                with contextlib.suppress(StorageError):
                    self.record.write("interrupted", "storage", str(error))
                raise
            clock.switch("other")
        if self.began:
            self.record.write("interrupted", INTERRUPTED)
        if self.running is not None:
            show(ending.summary("Interrupted", progress, clock), sys.stderr)
        return Outcome("interrupted")

    def _take_back(self) -> None:
        """Leaves the folder as it was: nothing has been run."""
        with contextlib.suppress(StorageError):
            self.record.take_back()
        if not self.record.before:
            (self.folder / "hparams.json").unlink(missing_ok=True)

    def _failed(self, error: BaseException) -> Outcome:
        """Records that an error has ended the trial, unless the disk is full."""
        path = self.config.submission_path
        error = contract.explained(error, self.hyperparameters, path)
        words = failures.told(error)
        end = ("failed", failures.reason_of(error))
        if isinstance(error, StorageError):
            end = ("interrupted", "storage")
        with contextlib.suppress(StorageError, OSError):
            if not self.began:
                self._clear()
            self.record.write(*end, words)
        if self.running is not None:
            with contextlib.suppress(StorageError):
                self.running.recorder.abandon()
            progress = self.running.progress
            ending.draw(self.config, self.definition, self.folder, progress)
        if isinstance(error, UserError) and not isinstance(error, SubmissionError):
            return Outcome("refused", words)
        ending.explain(error, path, self.folder)
        return Outcome("failed", mistake=isinstance(error, UserError))
