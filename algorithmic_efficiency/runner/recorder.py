"""Writes what a trial leaves behind, at every evaluation and at the end."""

from pathlib import Path
from typing import TYPE_CHECKING

from algorithmic_efficiency.runner import checkpoint
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.progress import ProgressLine
from algorithmic_efficiency.runner.records import MetricsLogger, Table
from algorithmic_efficiency.runner.run_record import RunRecord
from algorithmic_efficiency.runner.trial import Progress, times

if TYPE_CHECKING:
    from algorithmic_efficiency.runner.trainer import Trainer


class Recorder:
    """Both CSV files, the checkpoint and the progress line of one trial."""

    def __init__(
        self,
        folder: Path,
        trainer: "Trainer",
        line: ProgressLine,
        logger: MetricsLogger,
        evals: Table,
        run: RunRecord,
        *,
        save_checkpoints: bool,
        keep_all: bool,
    ) -> None:
        self._trainer = trainer
        self._line = line
        self.logger = logger
        self._evals = evals
        self._run = run
        self._save_checkpoints = save_checkpoints
        self._writer = checkpoint.Writer(
            folder, trainer.backend, trainer.origin, keep_all=keep_all, tell=line.say
        )

    def record(self, progress: Progress, clock: Clock) -> None:
        """Logs, writes both CSV files and a checkpoint of the newest evaluation."""
        step, result = progress.evals[-1]
        count = progress.preemption_count
        row = {"global_step": step, "preemption_count": count, **result}
        self._evals.append(row)
        self._evals.flush()
        self.logger.append_scalar_metrics(
            {k: v for k, v in row.items() if k != "global_step"}, step
        )
        self.logger.flush()
        self._line.evaluated(progress, clock)
        self._checkpoint(progress, clock)
        self._run.write("running")

    def finish(self, progress: Progress, clock: Clock) -> None:
        """Writes the last state and a last row of measurements."""
        self._checkpoint(progress, clock)
        self.logger.append_scalar_metrics(times(clock), progress.step)
        self.logger.finish()

    def break_off(self, progress: Progress, clock: Clock, *, whole: bool) -> None:
        """Writes what has been logged, and the state if it is whole, in mid-training.

        Raises:
          StorageError: the disk is full or the folder cannot be written.
        """
        self.logger.finish(failed=True)
        if whole and progress.step:
            self._checkpoint(progress, clock)

    def abandon(self) -> None:
        """Writes what has been logged before a fault; the last checkpoint stays.

        Raises:
          StorageError: the disk is full or the folder cannot be written.
        """
        self.logger.finish(failed=True)

    def _checkpoint(self, progress: Progress, clock: Clock) -> None:
        if progress.diverged or not self._save_checkpoints:
            return  # the last good one stays
        progress.logged_rows = len(self.logger.table.rows)
        clock.switch("logging")  # so that the time of this record is in it
        trainer = self._trainer
        meta = checkpoint.describe(
            progress,
            clock,
            position=trainer.position,
            seed=trainer.seed,
            bad_examples=trainer.bad_examples,
        )
        self._writer.save(trainer.state, meta)

    def announce(self, what: str, progress: Progress, clock: Clock) -> None:
        """Says on the progress line what begins."""
        self._line.announce(what, progress, clock)

    def show(self, progress: Progress, clock: Clock) -> None:
        """Refreshes the progress line."""
        self._line.show(progress, clock, self.logger.latest)
