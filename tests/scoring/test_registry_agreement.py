"""What the editions say of workloads, from definitions and from scoring's own table."""

import json
from pathlib import Path

import pytest

from algorithmic_efficiency import registry
from algorithmic_efficiency.definition import EDITIONS
from scoring.reading import benchmark
from scoring.reading.benchmark import load

# Seconds, as published; what a definition or a row says must come to the same.
BUDGETS = {
    "0.5": {
        "criteo1tb": 7_703,
        "fastmri": 8_859,
        "imagenet_resnet": 63_008,
        "imagenet_vit": 77_520,
        "librispeech_conformer": 61_068,
        "librispeech_deepspeech": 55_506,
        "ogbg": 18_477,
        "wmt": 48_151,
    },
    "0.6": {
        "criteo1tb": 7_703,
        "fastmri": 4_430,
        "imagenet_resnet": 66_159,
        "imagenet_vit": 69_768,
        "librispeech_conformer": 58_015,
        "librispeech_deepspeech": 44_405,
        "ogbg": 12_011,
        "wmt": 43_336,
    },
    "2026": {
        "criteo1tb": 8_915,
        "fastmri": 2_745,
        "finewebedu_lm": 31_967,
        "imagenet_resnet": 49_918,
        "imagenet_vit": 64_292,
        "librispeech_conformer": 43_680,
        "librispeech_deepspeech": 36_949,
        "ogbg": 11_303,
        "wmt": 16_114,
    },
}


@pytest.mark.parametrize("version", EDITIONS)
def test_an_edition_is_complete(version):
    edition = load(version)
    budgets = {w: edition.definitions[w].budget_seconds for w in edition.workloads}
    assert budgets == BUDGETS[version]
    for variant, base in edition.held_out.items():
        assert base in edition.workloads
        own = edition.definitions[variant].budget_seconds
        assert own == budgets[base]
    for name in (*edition.workloads, *edition.held_out):
        workload = edition.definitions[name]
        assert (workload.validation > workload.origin) == workload.maximize


def test_what_else_editions_change():
    old, new, newest = map(load, ("0.5", "0.6", "2026"))
    assert new.definitions["wmt_glu_tanh"].validation == 29.5779
    assert old.definitions["wmt_glu_tanh"].validation == 29.6517
    assert old.budget_factor("self") == 3.0
    assert new.budget_factor("self") == newest.budget_factor("self") == 1.5
    assert new.budget_factor("external") == 1.0
    assert (old.studies, new.studies, newest.studies) == (5, 3, 3)


@pytest.mark.parametrize("version", EDITIONS)
def test_a_registered_workload_has_the_constants_of_its_definition(version):
    edition = load(version)
    full = [d for d in registry.definitions().values() if d.scale == "full"]
    assert full
    for definition in full:
        known = edition.definitions[definition.name]
        ours = definition.in_edition(version)
        assert known.metric == ours.target_metric_name
        assert known.validation == ours.validation_target_value
        assert known.test == ours.test_target_value
        assert known.budget_seconds == ours.max_allowed_runtime_sec


def test_the_own_table_agrees_with_definitions_that_have_come_since(monkeypatch):
    """Such a row may go, but as long as it is there it must not say anything else."""
    before = {version: load(version).definitions for version in EDITIONS}
    path = Path(benchmark.__file__).with_name("benchmark.json")
    rows = json.loads(path.read_text())["elsewhere"]
    monkeypatch.setattr(registry, "definitions", dict)
    for version in EDITIONS:
        own = benchmark._workloads(version)
        assert own.keys() == rows.keys()
        for name, workload in own.items():
            assert workload == before[version][name], (version, name)


def test_the_origin_of_a_metric_follows_from_its_kind_or_from_the_base():
    known = load("0.6").definitions
    assert known["librispeech_conformer_gelu"].origin == 1.0
    assert known["imagenet_resnet_silu"].origin == 0.0
    assert known["criteo1tb_layernorm"].origin == pytest.approx(0.6931, abs=1e-4)
    assert known["finewebedu_lm"].origin == 50_257
