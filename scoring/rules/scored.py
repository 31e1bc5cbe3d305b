"""From trials and options to tables, rules and resamples, with every check done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from algorithmic_efficiency.errors import UsageError
from scoring.reading.benchmark import Benchmark, Workload, load, nearest
from scoring.reading.trials import Floats, Trial
from scoring.rules import checks
from scoring.rules.scores import Rules, make_rules
from scoring.rules.table import (
    Cells,
    Table,
    cells_of,
    fixed_points,
    longest_runs,
    tabulate,
)
from scoring.rules.uncertainty import Bootstrap, bootstrap


@dataclass(frozen=True)
class Options:
    """The choices of a scoring run, as the flags of score_submissions name them.

    `benchmark_version` is an edition, or '' for what the run records say.
    """

    benchmark_version: str = ""
    rules: str = "exact"
    time: str = "submission_time"
    self_tuning_ruleset: bool | None = None
    strict: bool = False
    reference: str = ""
    workloads: tuple[str, ...] = ()
    resamples: int = 10_000
    seed: int = 0


@dataclass(frozen=True)
class Scored:
    """The tables behind the rows: `workloads` are counted ones and their variants."""

    trials: Sequence[Trial]
    cells: Cells
    edition: str
    ruleset: str
    workloads: tuple[Workload, ...]
    budgets: dict[str, float]
    table: Table
    rules: Rules
    penalty: Floats
    boot: Bootstrap


@np.errstate(over="ignore")  # a clock of 1e308 s is as good as a miss
def prepare(
    trials: Sequence[Trial], options: Options, mix: bool = False
) -> tuple[Scored, list[str]]:
    """Return tables, rules and resamples, and sentences on what is not as it should.

    `mix` allows runs on different machines, for a comparison that shows differences.
    Raises UsageError for what must not be scored together.
    """
    benchmark = load(checks.edition_of(trials, options.benchmark_version))
    problems: list[str] = []
    checks.refuse_duplicates(trials, options.rules == "published")
    if not mix:
        problems += checks.refuse_mixtures(trials)
    definitions = checks.define(trials, benchmark, problems)
    if not definitions:
        raise UsageError("There is nothing to score: " + " ".join(problems[:3]))
    workloads, counted = _workload_set(definitions, benchmark, options, problems)
    problems += checks.trial_problems(trials, definitions)
    published = options.rules == "published"
    used = [trial for trial in trials if trial.workload in workloads]
    if published:  # the public tool skips a trial without a file
        used = [trial for trial in used if trial.columns]
    checks.refuse_nothing(used, counted, problems)
    cells = cells_of(used)
    everyone = tuple(sorted({trial.submission for trial in trials}))
    ruleset = ruleset_of(trials, options)
    expected = (None, None) if mix else _expected(benchmark, counted, ruleset)
    problems += checks.missing_parts(cells, everyone, list(workloads), expected)
    if options.strict:
        checks.refuse_problems(problems)
    budgets = _budgets(workloads.values(), benchmark, ruleset, options)
    held_out = {v: b for v, b in benchmark.held_out.items() if v in workloads}
    rules = make_rules(list(workloads), counted, held_out, benchmark.r_max, published)
    penalty = _penalties(used, counted, budgets, options)
    rows = tuple(workloads.values())
    table = tabulate(cells, everyone, rows, clock=options.time, published=published)
    fixed = fixed_points(cells, everyone, list(workloads))
    boot = bootstrap(table, rules, fixed, penalty, (options.resamples, options.seed))
    edition = benchmark.version
    return Scored(
        used, cells, edition, ruleset, rows, budgets, table, rules, penalty, boot
    ), problems


def _expected(
    benchmark: Benchmark, counted: Sequence[str], ruleset: str
) -> tuple[int | None, int | None]:
    """Return how many studies and trials the rules foresee, None for any number."""
    if tuple(counted) != benchmark.workloads:
        return None, None
    return benchmark.studies, benchmark.trials[ruleset]


def ruleset_of(trials: Sequence[Trial], options: Options) -> str:
    """Return 'self' or 'external': the flag's choice, otherwise the run records'."""
    if options.self_tuning_ruleset is not None:
        return "self" if options.self_tuning_ruleset else "external"
    recorded = {trial.run.get("tuning_ruleset") for trial in trials}
    return "self" if "self" in recorded else "external"


def _workload_set(
    definitions: dict[str, Workload],
    benchmark: Benchmark,
    options: Options,
    problems: list[str],
) -> tuple[dict[str, Workload], tuple[str, ...]]:
    """Return the workloads to tabulate, and the names of those that count."""
    known = {**benchmark.definitions, **definitions}
    unknown = [name for name in options.workloads if name not in known]
    if unknown:
        raise UsageError(
            f"--workloads names {unknown[0]!r}, which is not known; the nearest is "
            f"{nearest(unknown[0], known)}."
        )
    official = {*benchmark.workloads, *benchmark.held_out}
    counted = options.workloads or benchmark.workloads
    if not options.workloads and not official & set(definitions):
        counted = tuple(sorted(definitions))
        problems.append(
            "None of the runs is on an official workload; the score is over the "
            f"{len(counted)} found: {', '.join(counted)}."
        )
    variants = benchmark.held_out if counted == benchmark.workloads else ()
    held_out = [variant for variant in variants if variant in definitions]
    if absent := [variant for variant in variants if variant not in definitions]:
        problems.append(
            f"Nobody has run these held-out workloads, whose rule is not used: "
            f"{', '.join(absent)}."
        )
    names = [*counted, *held_out]
    if others := sorted(set(definitions) - set(names)):
        problems.append(f"Left out, as not counted in this score: {', '.join(others)}.")
    return {name: known[name] for name in names}, counted


def _penalties(
    trials: Sequence[Trial],
    counted: Sequence[str],
    budgets: dict[str, float],
    options: Options,
) -> Floats:
    """Return what a miss counts in a speed-up: one unit more than there was to use."""
    longest = longest_runs(trials, counted, options.time)
    if options.time == "steps":
        return longest + 1.0
    known = np.array([budgets[name] for name in counted])
    return np.where(np.isnan(known), longest, known) + 1.0


def _budgets(
    workloads: Iterable[Workload], benchmark: Benchmark, ruleset: str, options: Options
) -> dict[str, float]:
    """Return each workload's budget in seconds, NaN where nobody says one.

    A run record tells the budget that the run really had. The public tool's speed-ups
    use the budgets of version 0.5 and a factor of 3 in every version.
    """
    old, published = load("0.5"), options.rules == "published"
    factor = (old if published else benchmark).budget_factor(ruleset)
    budgets = {}
    for workload in workloads:
        own = workload.budget_seconds or np.nan
        if workload.name in benchmark.definitions:
            named = old.definitions.get(workload.name, workload)
            own = (named.budget_seconds or np.nan) if published else own
            own *= factor
        budgets[workload.name] = own
    return budgets
