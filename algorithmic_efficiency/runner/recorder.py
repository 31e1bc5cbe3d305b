"""Writes what a trial leaves behind, at every evaluation and at the end."""

from pathlib import Path
from typing import TYPE_CHECKING

from algorithmic_efficiency.runner import checkpoint
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.progress import ProgressLine
from algorithmic_efficiency.runner.records import MetricsLogger, Table
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
        *,
        save_checkpoints: bool,
        keep_all: bool,
    ) -> None:
        self._folder = folder
        self._trainer = trainer
        self._line = line
        self.logger = logger
        self._evals = evals
        self._save_checkpoints = save_checkpoints
        self._keep_all = keep_all

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

    def finish(self, progress: Progress, clock: Clock) -> None:
        """Writes the last state and a last row of measurements."""
        self._checkpoint(progress, clock)
        self.logger.append_scalar_metrics(times(clock), progress.step)
        self.logger.finish()

    def _checkpoint(self, progress: Progress, clock: Clock) -> None:
        if progress.diverged or not self._save_checkpoints:
            return  # the last good one stays
        clock.switch("logging")  # so that the time of this record is in it
        trainer = self._trainer
        meta = checkpoint.describe(
            progress,
            clock,
            position=trainer.position,
            seed=trainer.seed,
            bad_examples=trainer.bad_examples,
        )
        checkpoint.save(
            self._folder, trainer.backend, trainer.state, meta, keep_all=self._keep_all
        )

    def announce(self, what: str, progress: Progress, clock: Clock) -> None:
        """Says on the progress line what begins."""
        self._line.announce(what, progress, clock)

    def show(self, progress: Progress, clock: Clock) -> None:
        """Refreshes the progress line."""
        self._line.show(progress, clock, self.logger.latest)
