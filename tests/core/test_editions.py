"""The constants of the published editions, from the flag to the record."""

import pytest
from core_fakes import definition

from algorithmic_efficiency import cli, registry
from algorithmic_efficiency.definition import EDITIONS
from algorithmic_efficiency.runner import experiments, records
from algorithmic_efficiency.runner.rules import SELF_TUNING_FACTORS
from algorithmic_efficiency.runner.run_record import read_run, write_surroundings
from algorithmic_efficiency.runner.session import Session

MINI = "--workload=imagenet_resnet_mini"
RUNS = "imagenet_resnet_mini_pytorch"
OTHERS = {"max_allowed_runtime_sec": 8, "eval_period_time_sec": 4, "step_hint": 60}


@pytest.mark.parametrize(
    ("edition", "constants"), [("0.6", (10, 3, 100)), ("2026", (8, 4, 60))]
)
def test_an_edition_sets_budget_period_and_hint(
    config, monkeypatch, edition, constants
):
    toy = definition(editions={"2026": OTHERS})
    got = config(MINI, f"--benchmark_version={edition}", "--tuning_ruleset=self")
    monkeypatch.setattr(registry, "get", lambda name: toy)
    session = Session(got, 0, 0)
    budget, period, hint = constants
    assert session.rules.budget_seconds == budget * 1.5
    assert session.rules.eval_period_seconds == period
    assert session.definition.step_hint == hint
    session.record.write("running")
    run = read_run(session.folder)
    assert (run["benchmark_version"], run["budget_seconds"]) == (edition, budget * 1.5)
    session.record.facts |= {"versions": {}, "hardware": {}}
    write_surroundings(session.record, got, 0)
    facts = records.read_json(session.folder / "meta_data_0.json")
    assert facts["benchmark_version"] == edition
    assert facts["workload.step_hint"] == hint
    assert facts["workload.max_allowed_runtime_sec"] == budget


@pytest.mark.parametrize("began", ["0.5", "0.6", "2026", None])
def test_a_resume_keeps_its_edition(main, config, make_file, began):
    """A record without an edition is of before there was a choice."""
    edition = {} if began is None else {"benchmark_version": began}
    path = make_file(
        f"experiments/mine/{RUNS}/trial_1/run.json",
        {"seed": 1, "status": "running", **edition},
    )
    before = path.read_bytes()
    resume = [MINI, "--resume_last_run", "--experiment_name=mine"]
    for asked in ("0.5", "0.6", "2026"):
        flags = [*resume, f"--benchmark_version={asked}"]
        if asked == (began or "0.6"):
            experiments.check_folders(config(*flags))
            continue
        code, _, err = main(*flags)
        assert code == 2
        assert f"was begun with --benchmark_version={began or '0.6'}" in err
        assert f"cannot go on with {asked}" in err
    assert path.read_bytes() == before


def test_the_list_shows_the_budgets_of_an_edition(main):
    rows = {}
    for edition in EDITIONS:
        code, out, _ = main("--list", f"--benchmark_version={edition}")
        assert code == 0
        row = next(x for x in out.splitlines() if "librispeech_conformer " in x)
        rows[edition] = row.split()[-2]
    assert rows == {"0.5": "61,068", "0.6": "58,015", "2026": "43,680"}
    assert cli.listing() == cli.listing("0.6") != cli.listing("2026")


def test_another_edition_is_a_sentence(main):
    code, _, err = main(MINI, "--benchmark_version=0.7")
    assert code == 2 and "0.5|0.6|2026" in err


def test_every_edition_has_its_factor():
    assert set(SELF_TUNING_FACTORS) == set(EDITIONS)
