"""What a person sees while a trial runs: a line on a terminal, else log lines.

Everything fits a terminal of 80 columns; the CSV files have all numbers.
"""

import math
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from algorithmic_efficiency import metrics
from algorithmic_efficiency.definition import Definition
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.trial import Progress, Rules
from algorithmic_efficiency.text import show

_REFRESH_SECONDS = 0.25
_SPLITS = {"train": "train", "validation": "val", "test": "test"}


class ProgressLine:
    """Refreshes a line at most four times a second; a bar fills what room it leaves.

    Args:
      rules: the budget.
      definition: the workload, whose target metric is shown.
      stream: where to write; the line is drawn only on a terminal.
    """

    def __init__(
        self, rules: Rules, definition: Definition, stream: TextIO | None = None
    ) -> None:
        self._rules = rules
        self._definition = definition
        self._stream = stream = stream or sys.stderr
        self._next = 0.0
        self._latest: Mapping[str, float] = {}
        self._bar: Any = None
        if stream.isatty():
            from tqdm import tqdm  # noqa: PLC0415 - only where there is a terminal

            self._bar = tqdm(
                total=rules.budget_seconds,
                file=stream,
                bar_format="{desc} |{bar}|",
                leave=False,
                delay=1e-9,  # no empty bar before there is something to say
                dynamic_ncols=True,
            )

    def show(
        self, progress: Progress, clock: Clock, latest: Mapping[str, float]
    ) -> None:
        """Refreshes the line when it is time to."""
        self._latest = latest
        if self._bar is None or (now := time.monotonic()) < self._next:
            return
        self._next = now + _REFRESH_SECONDS
        self._draw(progress, clock, "")

    def announce(self, what: str, progress: Progress, clock: Clock) -> None:
        """Says at once what begins and may take long: compiling, evaluating."""
        if self._bar is not None:
            self._next = 0.0
            self._draw(progress, clock, what)

    def evaluated(self, progress: Progress, clock: Clock) -> None:
        """Logs the newest evaluation on a line of its own, and what is odd about it."""
        step, result = progress.evals[-1]
        self.say(evaluation_row(step, clock.submission, result, self._definition))
        odd = [
            f"{key} {value:.0f}"
            for key, value in result.items()
            if key.endswith("/misfits") and value  # almost always 0
        ]
        odd += [f"{k} is {v}" for k, v in result.items() if not math.isfinite(v)]
        if odd:
            self.say("    " + ", ".join(odd))
        if progress.diverged:
            self.say(f"    DIVERGED: {progress.diverged} is not finite")

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        if self._bar is not None:
            self._bar.clear()
        show(text, self._stream)

    def close(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.close()

    def _draw(self, progress: Progress, clock: Clock, what: str) -> None:
        with_room = _columns(self._stream) - len(" |#|") - 1
        parts = line_parts(
            progress, clock.submission, self._rules, self._definition, self._latest
        )
        self._bar.n = min(clock.submission, self._rules.budget_seconds)
        self._bar.set_description_str(fitted([*parts, what], with_room))


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return shutil.get_terminal_size().columns


def line_parts(
    progress: Progress,
    seconds: float,
    rules: Rules,
    definition: Definition,
    latest: Mapping[str, float],
) -> list[str]:
    """Returns the words of the progress line: step, time, metric and loss."""
    name = definition.target_metric_name
    parts = [
        f"step {progress.step:,}/{definition.step_hint:,}",
        f"{seconds:,.0f}/{rules.budget_seconds:,.0f} s",
    ]
    best = best_value(progress, definition)
    if not math.isnan(best):
        parts.append(f"{name} {best:.4f}/{definition.validation_target_value:g}")
    if "loss" in latest:
        parts.append(f"loss {latest['loss']:.3f}")
    return parts


def fitted(parts: Sequence[str], columns: int) -> str:
    """Returns the parts side by side; what has no room is left out from the end.

    The last part, which says what goes on now, stays.
    """
    *words, what = parts
    while words and len("  ".join(filter(None, [*words, what]))) > columns:
        words.pop()
    return "  ".join(filter(None, [*words, what]))[: max(columns, 1)]


def evaluation_row(
    step: int, seconds: float, result: Mapping[str, float], definition: Definition
) -> str:
    """Returns the target's metric of every split and the loss, in 80 columns."""
    name = definition.target_metric_name
    clock = f"{seconds:.1f}" if seconds < 1000.0 else f"{seconds:.0f}"
    parts = [f"step {step}", f"{clock} s"]
    values = [
        f"{short} {result[f'{split}/{name}']:.4f}"
        for split, short in _SPLITS.items()
        if f"{split}/{name}" in result
    ]
    if values:
        parts.append(" ".join([name, *values]))
    if name != "loss" and "validation/loss" in result:
        parts.append(f"loss {result['validation/loss']:.4g}")
    return "  ".join(parts)


def best_value(progress: Progress, definition: Definition) -> float:
    """Returns the best finite value of the target's metric so far, or NaN."""
    name = definition.target_metric_name
    best = max if metrics.target(definition).maximize else min
    key = f"validation/{name}"
    values = [r[key] for _, r in progress.evals if math.isfinite(r.get(key, math.nan))]
    return best(values, default=math.nan)


def why_missed(
    progress: Progress, seconds: float, rules: Rules, definition: Definition
) -> str:
    """Returns a sentence on a trial that ended without its target."""
    step, hint = progress.step, definition.step_hint
    each = seconds / max(step, 1)
    name, target = definition.target_metric_name, definition.validation_target_value
    best = best_value(progress, definition)
    reached = "no evaluation" if math.isnan(best) else f"best {name} {best:.4f}"
    of = f"step {step:,} of {hint:,} ({each:.3g} s a step)"
    if progress.diverged:
        cause = f"it diverged at {of}"
    elif seconds < rules.budget_seconds:
        cause = f"the training ended at {of} with time remaining"
    elif step < hint:
        cause = (
            f"the budget of {rules.budget_seconds:,.0f} s ended at {of}; all steps "
            f"would take {each * hint:,.0f} s on this machine"
        )
    else:
        cause = (
            f"the budget ended after all {hint:,} steps of the hint, at step {step:,}"
        )
    return f"Missed, {reached}, target {target:g}: {cause}."
