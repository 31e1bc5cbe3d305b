"""Checks at the door: what may be scored together, and what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from algorithmic_efficiency.definition import DEFAULT_EDITION, EDITIONS
from algorithmic_efficiency.errors import UsageError
from scoring.reading.benchmark import Benchmark, Workload, from_run, nearest
from scoring.reading.records import shorten
from scoring.reading.trials import Trial
from scoring.rules.table import Cells, hit_index

EDITION = "benchmark_version"  # in a run's record
HOST_KEYS = {"host", "hostname", "node"}  # two equal machines differ in their name
SMALL_KEYS = {"source", "system", "memory_bytes"}  # commit, kernel, a few megabytes
MANY = 3  # more workloads than this are counted rather than named
REMEDY = (
    "Their times cannot be put into one score: score them apart, or look at both with "
    "`python -m scoring.compare`."
)


def refuse_mixtures(trials: Sequence[Trial]) -> list[str]:
    """Return notes on small differences between runs.

    Raises UsageError if runs differ in what makes their times comparable.
    """
    kinds: tuple[tuple[str, Callable[[Trial], Any]], ...] = (
        ("scale", lambda trial: trial.scale),
        ("tuning ruleset", lambda trial: trial.run.get("tuning_ruleset")),
    )
    for what, value in kinds:
        if difference := _difference(what, [(t, value(t)) for t in trials]):
            raise UsageError(difference + _damage(trials) + REMEDY)
    notes = []
    for record in ("versions", "hardware"):
        records = [(t, t.run[record]) for t in trials if _is_record(t.run.get(record))]
        for key in sorted({key for _, found in records for key in found} - HOST_KEYS):
            values = [(trial, found.get(key)) for trial, found in records]
            difference = _difference(f"{record} ({key})", values)
            if difference and key not in SMALL_KEYS:
                raise UsageError(difference + REMEDY)
            if difference:
                notes.append(difference + "They are scored together.")
    return notes


def edition_of(trials: Sequence[Trial], asked: str) -> str:
    """Return the edition of the benchmark whose constants the runs had.

    A run says it in its record. Runs that say nothing, those of other harnesses and of
    earlier versions, are taken for what was asked, else for the default.

    Raises UsageError for runs of more than one edition, or of none that we know.
    """
    silent = asked or DEFAULT_EDITION
    first: dict[str, Trial] = {}
    for trial in trials:
        first.setdefault(trial.run.get(EDITION) or silent, trial)
    for edition in first.keys() - set(EDITIONS):
        raise UsageError(
            f"{first[edition].path} was run with the constants of benchmark version "
            f"{shorten(json.dumps(edition))}, but known are {', '.join(EDITIONS)}. "
            "Leave it out, or score it where it was run."
        )
    if len(first) > 1:
        said = [_edition_said(*item) for item in list(first.items())[:2]]
        raise UsageError(
            f"The runs differ in benchmark version: {' and '.join(said)}. One score "
            "has the budgets of one version: score them apart."
        )
    edition = next(iter(first), silent)
    if asked and edition != asked:
        raise UsageError(
            f"--benchmark_version={asked}, but {first[edition].path} was run with the "
            f"constants of {edition}. Leave the flag out."
        )
    return edition


def _edition_said(edition: str, trial: Trial) -> str:
    """Return in words what a run says of its edition."""
    if trial.run.get(EDITION):
        return f"{trial.path} has {edition}"
    return f"{trial.path} says none and is taken for {edition} (--benchmark_version)"


def refuse_duplicates(trials: Sequence[Trial], published: bool) -> None:
    """Raise UsageError if one submission has two runs for one place."""
    places: dict[Any, Trial] = {}
    frameworks: dict[Any, Trial] = {}
    for trial in trials:
        cell = (trial.submission, trial.workload)
        other = frameworks.setdefault(cell, trial)
        if other.framework != trial.framework:
            raise UsageError(
                f"Submission {trial.submission} has runs of {trial.workload} in two "
                f"frameworks, {other.path} and {trial.path}; choose with "
                "--framework=jax or --framework=pytorch, or --framework=each."
            )
        if published:
            continue
        other = places.setdefault((*cell, trial.study, trial.trial), trial)
        if other is not trial:
            raise UsageError(
                f"Submission {trial.submission} has two runs of {trial.study}, "
                f"{trial.workload}, trial {trial.trial}: {other.path} and "
                f"{trial.path}; keep one, or give the submissions different names."
            )


def define(
    trials: Sequence[Trial], benchmark: Benchmark, problems: list[str]
) -> dict[str, Workload]:
    """Return the definition of every workload that was run.

    Mini workloads bring theirs in run.json; a workload without a known target is left
    out, which is added to `problems`.
    """
    definitions: dict[str, Workload] = {}
    for trial in trials:
        known = benchmark.definitions.get(trial.workload)
        carried = from_run(trial.workload, trial.run)
        found = definitions.setdefault(trial.workload, known or carried)  # type: ignore[arg-type]  # None is removed below
        if found and carried and carried.validation != found.validation:
            problems.append(
                f"{trial.path}: its run.json gives the validation target "
                f"{carried.validation:g}, but {found.validation:g} is used."
            )
        if not found and carried:
            definitions[trial.workload] = carried
    for name in [name for name, found in definitions.items() if not found]:
        del definitions[name]
        trial = next(trial for trial in trials if trial.workload == name)
        damage = next((n for n in trial.notes if n.startswith("run.json")), "")
        why = f"no target in a run.json{f' ({damage})' if damage else ''}"
        problems.append(
            f"{trial.path}: unknown workload {name}, and {why}; left out. "
            f"The nearest known one is {nearest(name, benchmark.definitions)}."
        )
    return {name: _with_origin(w, trials) for name, w in definitions.items()}


def missing_parts(
    cells: Cells,
    submissions: Sequence[str],
    workloads: Sequence[str],
    expected: tuple[int | None, int | None],
) -> list[str]:
    """Return a sentence for every workload, study or trial that the rules expect."""
    studies, trials = expected
    problems = []
    for submission in submissions:
        odd: dict[str, list[str]] = {}
        for workload in workloads:
            found = cells.get((submission, workload), {})
            if not found:
                odd.setdefault("no run", []).append(workload)
                continue
            if studies is not None and len(found) != studies:
                number = "1 study" if len(found) == 1 else f"{len(found)} studies"
                text = f"{number} instead of {studies}; the median is over those."
                odd.setdefault(text, []).append(workload)
            counts = sorted({len(runs) for runs in found.values()} - {trials})
            if trials is not None and counts:
                number = " or ".join(map(str, counts))
                number += " trial" if counts == [1] else " trials"
                text = f"{number} in a study instead of {trials}; the best one counts."
                odd.setdefault(text, []).append(workload)
        for text, names in odd.items():
            problems.append(_missing(submission, text, names))
    return problems


def trial_problems(trials: Sequence[Trial], cells: dict[str, Workload]) -> list[str]:
    """Return a sentence for every trial that could not be used, or was repaired."""
    problems = []
    for trial in trials:
        workload = cells.get(trial.workload)
        name = f"validation/{workload.metric}" if workload else ""
        if workload and trial.columns and name not in trial.columns:
            trial.unusable = trial.unusable or f"has no column {name}"
        if trial.unusable:
            problems.append(f"{trial.path}: {trial.unusable}; counts as a miss.")
        elif trial.failed and workload and _had_reached(trial, workload):
            problems.append(
                f"{trial.path}: failed after it had reached its target; counts as a "
                "miss, as in the runner."
            )
        problems += [f"{trial.path}: {note}." for note in trial.notes]
    return problems


def _had_reached(trial: Trial, workload: Workload) -> bool:
    """Tell whether a trial had reached its target before it failed."""
    return hit_index(replace(trial, failed=False), workload) >= 0


def refuse_nothing(
    used: Sequence[Trial], counted: Sequence[str], problems: Sequence[str]
) -> None:
    """Raise UsageError if there is no trial to score."""
    if not used:
        raise UsageError(
            f"There is no trial to score on {', '.join(counted)}: "
            f"{' '.join(problems[:3])}"
        )


def refuse_problems(problems: Sequence[str]) -> None:
    """Raise UsageError if there is any problem, as --strict asks."""
    if problems:
        raise UsageError(
            f"--strict: {problems[0]} ({len(problems)} such finding(s) in all; without "
            "--strict they are listed in the output.)"
        )


def _missing(submission: str, text: str, names: list[str]) -> str:
    """Return a sentence on workloads of a submission that lack the same thing."""
    if text == "no run":
        return f"{submission}: no run of {', '.join(names)}; counts as not reached."
    if len(names) > MANY:
        return f"{submission}: {len(names)} workloads have {text}"
    verb = "has" if len(names) == 1 else "have"
    return f"{submission}: {', '.join(names)} {verb} {text}"


def _with_origin(workload: Workload, trials: Sequence[Trial]) -> Workload:
    """Return a definition with an origin: the worst first evaluation, if none is given.

    Only losses lack a natural origin; the ladder and the reasons need one.
    """
    if workload.origin is not None:
        return workload
    runs = [trial for trial in trials if trial.workload == workload.name]
    columns = [trial.column(f"validation/{workload.metric}") for trial in runs]
    first = [v[0] for v in columns if v.size and np.isfinite(v[0])]
    pick = min if workload.maximize else max
    return replace(workload, origin=float(pick(first)) if first else workload.origin)


def _difference(what: str, values: list[tuple[Trial, Any]]) -> str:
    """Return which two runs have different values, '' if none have."""
    first: dict[str, Trial] = {}
    for trial, value in values:
        if value is not None:
            first.setdefault(json.dumps(value, sort_keys=True, default=str), trial)
    if len(first) < 2:
        return ""
    (a, left), (b, right), *_ = first.items()
    a, b = shorten(a, 200), shorten(b, 200)
    return f"The runs differ in {what}: {left.path} has {a} and {right.path} has {b}. "


def _damage(trials: Sequence[Trial]) -> str:
    """Return what is wrong with the first damaged run record, '' if none is."""
    for trial in trials:
        for note in trial.notes:
            if note.startswith("run.json"):
                return f"(In {trial.path}, {note}.) "
    return ""


def _is_record(value: Any) -> bool:
    """Tell whether a part of run.json is an object with something in it."""
    return isinstance(value, dict) and bool(value)
