"""What a person sees while a trial runs: a line on a terminal, else log lines."""

import math
import sys
import time
from typing import Any, TextIO

from algorithmic_efficiency.metrics import METRICS
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.trial import Progress, Rules
from algorithmic_efficiency.spec import Definition
from algorithmic_efficiency.text import show

_REFRESH_SECONDS = 0.25


class ProgressLine:
    """Refreshes a bar over the budget at most four times a second.

    Args:
      rules: the budget and the evaluation period.
      definition: the workload, whose target metric is shown.
      stream: where to write; a bar is drawn only on a terminal.
    """

    def __init__(
        self, rules: Rules, definition: Definition, stream: TextIO | None = None
    ) -> None:
        name = definition.target_metric_name
        self._rules = rules
        self._metric = f"validation/{name}"
        self._best = max if METRICS[name].maximize else min
        self._stream = stream = stream or sys.stderr
        self._next = 0.0
        self._bar: Any = None
        if stream.isatty():
            from tqdm import tqdm  # noqa: PLC0415 - only where there is a terminal

            self._bar = tqdm(
                total=rules.budget_seconds,
                unit="s",
                file=stream,
                bar_format="{percentage:3.0f}% of budget |{bar:20}| {desc}",
                leave=False,
                dynamic_ncols=True,
            )

    def show(self, progress: Progress, clock: Clock, latest: dict[str, float]) -> None:
        """Refreshes the bar when it is time to."""
        if self._bar is None or (now := time.monotonic()) < self._next:
            return
        self._next = now + _REFRESH_SECONDS
        self._bar.n = min(clock.submission, self._rules.budget_seconds)
        self._bar.set_description_str(self._describe(progress, clock, latest))

    def evaluated(self, progress: Progress, clock: Clock) -> None:
        """Logs the newest evaluation on a line of its own."""
        step, result = progress.evals[-1]
        parts = [f"step {step}", f"{clock.submission:.1f} s"]
        parts += [
            f"{key} {value:.4f}"
            for key, value in result.items()
            if "/" in key and not key.endswith(("/num_examples", "/misfits"))
        ]
        parts += [
            f"{key} {value:.0f}"
            for key, value in result.items()
            if key.endswith("/misfits") and value  # almost always 0
        ]
        if progress.diverged:
            parts.append(f"DIVERGED: {progress.diverged} is not finite")
        self.say("  ".join(parts))

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        if self._bar is not None:
            self._bar.clear()
        show(text, self._stream)

    def close(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.close()

    def _describe(
        self, progress: Progress, clock: Clock, latest: dict[str, float]
    ) -> str:
        parts = [f"step {progress.step}"]
        if "loss" in latest:
            parts.append(f"loss {latest['loss']:.3f}")
        parts.append(f"{clock.submission:.0f}/{self._rules.budget_seconds:.0f} s")
        values = [r[self._metric] for _, r in progress.evals if self._metric in r]
        if values and not math.isnan(best := self._best(values)):
            parts.append(f"best {self._metric} {best:.4f}")
        if not self._rules.skip_evals:
            due = progress.last_eval_time + self._rules.eval_period_seconds
            parts.append(f"evaluation in {max(0.0, due - clock.submission):.0f} s")
        return "  ".join(parts)
