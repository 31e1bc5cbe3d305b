"""The edition of the benchmark stands in the records; one score has one of them."""

import json

import pytest

from algorithmic_efficiency.errors import UsageError
from scoring import compare, score_submissions
from scoring.rules.results import build
from scoring.rules.scored import Options, prepare
from tests.scoring.trees import made_up, write_tree

FAST = Options(resamples=20)
BUDGET = {"0.5": 18_477, "0.6": 12_011, "2026": 11_303}  # of ogbg, in seconds


def runs(*editions):
    """Return a submission's run on ogbg for each edition, None for no record of one."""
    records = [
        {"benchmark_version": edition} if edition else {} for edition in editions
    ]
    return [
        made_up(name, "ogbg", 0, 1, 10.0, record)
        for name, record in zip("abc", records, strict=False)
    ]


def edition_of(trials, asked=""):
    scored, problems = prepare(trials, Options(benchmark_version=asked, resamples=20))
    settings = build(scored, problems, FAST)["settings"]
    assert scored.budgets["ogbg"] == BUDGET[settings["benchmark_version"]]
    return settings["benchmark_version"]


@pytest.mark.parametrize("edition", list(BUDGET))
def test_the_record_decides_and_the_flag_may_say_the_same(edition):
    assert edition_of(runs(edition, edition)) == edition
    assert edition_of(runs(edition, edition), edition) == edition


def test_runs_that_say_nothing_are_what_was_asked():
    assert edition_of(runs(None, None)) == "0.6"
    assert edition_of(runs(None, None), "0.5") == "0.5"
    assert edition_of(runs("0.6", None)) == "0.6"
    assert edition_of(runs("2026", None), "2026") == "2026"


@pytest.mark.parametrize(
    ("editions", "asked", "said"),
    [
        (("0.6", "2026"), "", r"differ in benchmark version: a/\S+ has 0.6 and b/\S+ "
         "has 2026. .* score them apart"),
        (("0.6", "2026"), "2026", "differ in benchmark version"),
        (("2026", None), "", r"b/\S+ says none and is taken for 0.6 \(--benchmark_ver"),
        (("2026", "2026"), "0.6", r"--benchmark_version=0.6, but a/\S+ was run with "
         "the constants of 2026. Leave the flag out"),
        (("0.6", "2031"), "", r'b/\S+ was run with .* "2031", but known are 0.5, 0.6'),
    ],
)  # fmt: skip
def test_editions_are_never_mixed(editions, asked, said):
    options = Options(benchmark_version=asked, resamples=20)
    for mix in (False, True):  # neither in a score nor in a comparison
        with pytest.raises(UsageError, match=said):
            prepare(runs(*editions), options, mix)


def test_an_edition_has_its_workloads():
    trials = [made_up("a", "finewebedu_lm", 0, 1, 10.0, {"benchmark_version": "2026"})]
    assert len(prepare(trials, FAST)[0].rules.base) == 9
    trials[0].run["benchmark_version"] = "0.6"
    scored, problems = prepare(trials, FAST)
    assert len(scored.rules.base) == 1
    assert any("None of the runs is on an official workload" in p for p in problems)


def test_it_is_read_from_the_tree_and_shown(tmp_path, capsys):
    tree = write_tree(runs("2026", "2026"), tmp_path / "tree")
    flags = ["--noreport", "--resamples=20", f"--output_dir={tmp_path / 'out'}"]
    assert score_submissions.main([f"--submission_directory={tree}", *flags]) == 0
    assert "AlgoPerf 2026" in capsys.readouterr().out
    assert "AlgoPerf 2026" in (tmp_path / "out" / "tables.md").read_text()
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["settings"]["benchmark_version"] == "2026"

    pages = [str(tree / "a"), str(tree / "b"), *flags[1:]]
    assert compare.main(pages) == 0
    assert "Benchmark 2026" in (tmp_path / "out" / "comparison.html").read_text()


def test_an_edition_that_is_no_text_is_a_note(tmp_path, capsys):
    trials = runs("0.6", "0.6")
    trials[1].run["benchmark_version"] = 0.6
    tree = write_tree(trials, tmp_path / "tree")
    flags = ["--noreport", "--resamples=20", f"--output_dir={tmp_path / 'out'}"]
    assert score_submissions.main([f"--submission_directory={tree}", *flags]) == 0
    assert "benchmark_version is 0.6, not text" in capsys.readouterr().out
