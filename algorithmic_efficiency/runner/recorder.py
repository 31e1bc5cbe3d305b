"""Writes what a trial leaves behind, at every evaluation and at the end."""

from collections.abc import Callable

from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.progress import ProgressLine
from algorithmic_efficiency.runner.records import MetricsLogger, Table
from algorithmic_efficiency.runner.run_record import RunRecord
from algorithmic_efficiency.runner.trial import Progress, times


class Recorder:
    """See `trial.Recorder`: CSV files, checkpoints, run.json and progress line.

    Args:
      line: where a person looks on.
      logger: of measurements.csv; the submission has it too.
      evals: eval_measurements.csv.
      run: run.json.
      save: writes a checkpoint of the trial as it is; None writes none.
      compiles: the framework compiles the first step and the first evaluation.
    """

    def __init__(
        self,
        line: ProgressLine,
        logger: MetricsLogger,
        evals: Table,
        run: RunRecord,
        save: Callable[[Progress, Clock], None] | None,
        *,
        compiles: bool,
    ) -> None:
        self._line = line
        self.logger = logger
        self._evals = evals
        self._run = run
        self._save = save
        self._compiles = compiles
        self._begun: set[str] = set()

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
        if progress.diverged or self._save is None:
            return  # the last good one stays
        progress.logged_rows = len(self.logger.table.rows)
        clock.switch("logging")  # so that the time of this record is in it
        self._save(progress, clock)

    def announce(self, what: str, progress: Progress, clock: Clock) -> None:
        """Says on the progress line what begins, and whether it is compiled first."""
        first = self._compiles and what not in self._begun
        self._begun.add(what)
        words = ["compiling"] * first + ["evaluating"] * (what == "evaluation")
        self._line.announce(", ".join(words), progress, clock)

    def show(self, progress: Progress, clock: Clock) -> None:
        """Refreshes the progress line."""
        self._line.show(progress, clock, self.logger.latest)
