"""The benchmark's data files against the workloads that we run."""

import pytest

from scoring.reading.benchmark import load

registry = pytest.importorskip("algorithmic_efficiency.registry")


def test_targets_and_budgets_are_those_of_the_registry():
    known = load("0.6").definitions
    ours = {n: d for n, d in registry.definitions().items() if n in known}
    assert ours, "the registry knows no workload of the benchmark"
    for name, theirs in ours.items():
        mine = known[name]
        assert theirs.target_metric_name == mine.metric, name
        assert theirs.validation_target_value == mine.validation, name
        assert theirs.test_target_value == mine.test, name
        assert theirs.max_allowed_runtime_sec == mine.budget_seconds, name


def test_data_files_are_complete():
    for version in ("0.5", "0.6"):
        benchmark = load(version)
        assert len(benchmark.workloads) == 8
        for variant, base in benchmark.held_out.items():
            assert variant.startswith(base)
            assert base in benchmark.workloads
        for name in (*benchmark.workloads, *benchmark.held_out):
            workload = benchmark.definitions[name]
            assert workload.budget_seconds > 0
            assert (workload.validation > workload.origin) == workload.maximize
    assert load("0.6").definitions["wmt_glu_tanh"].validation == 29.5779
    assert load("0.5").definitions["wmt_glu_tanh"].validation == 29.6517
    assert load("0.5").budget_factor("self") == 3.0
    assert load("0.6").budget_factor("self") == 1.5
    assert load("0.6").budget_factor("external") == 1.0
