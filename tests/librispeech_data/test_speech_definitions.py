"""The rows of the speech workloads against AlgoPerf v0.6."""

import dataclasses

import pytest

from algorithmic_efficiency import registry
from algorithmic_efficiency.initializers import Uniform
from algorithmic_efficiency.spec import LossType

DOCUMENTED = (registry.ROOT / "docs" / "workloads" / "speech.md").read_text()
PUBLISHED = {  # of both workloads and all variants, where they say nothing else
    "loss_type": LossType.CTC_LOSS,
    "target_metric_name": "wer",
    "num_train_examples": 263_840,
    "num_eval_train_examples": 5_376,
    "num_validation_examples": 5_348,
    "num_test_examples": 2_472,
    "reference_batch_size": 256,
    "eval_batch_size": 256,
    "eval_period_time_sec": 1_440,
}
MODEL = {
    "vocabulary_size": 1024,
    "features": 512,
    "channels": 512,
    "momentum": 0.001,
    "time_masks": 10,
    "frequency_masks": 2,
    "dropout_rate": 0.1,
    "aux_dropout_rate": None,
}
CONFORMER = {"max_allowed_runtime_sec": 58_015, "step_hint": 76_000}
CONFORMER_MODEL = MODEL | {
    "blocks": 4,
    "heads": 8,
    "activation": "silu",
    "attention_temperature": 1.0,
    "post_layer_norm": True,
}
DEEPSPEECH = {"max_allowed_runtime_sec": 44_405, "step_hint": 38_400}
DEEPSPEECH_MODEL = MODEL | {
    "lstm_layers": 6,
    "dense_layers": 3,
    "activation": "relu",
    "residual": True,
    "norm": "bn",
    "final_norm": True,
}
BASES = {
    "librispeech_conformer": (CONFORMER, CONFORMER_MODEL),
    "librispeech_deepspeech": (DEEPSPEECH, DEEPSPEECH_MODEL),
}
# Variant -> what it changes in the model, its targets, what else it changes.
ROWS = {
    "librispeech_conformer": ({}, 0.085884, 0.052981, {}),
    "librispeech_conformer_attention_temperature": (
        {"attention_temperature": 1.6},
        0.109977,
        0.068065,
        {},
    ),
    "librispeech_conformer_layernorm": (
        {"post_layer_norm": False},
        0.09731,
        0.05996,
        {},
    ),
    "librispeech_conformer_gelu": ({"activation": "gelu"}, 0.094114, 0.056629, {}),
    "librispeech_deepspeech": ({}, 0.119936, 0.074143, {}),
    "librispeech_deepspeech_tanh": ({"activation": "tanh"}, 0.150883, 0.098613, {}),
    "librispeech_deepspeech_no_resnet": ({"residual": False}, 0.131564, 0.079297, {}),
    "librispeech_deepspeech_norm_and_spec_aug": (
        {"norm": "ln", "final_norm": False, "time_masks": 15, "frequency_masks": 4},
        0.14342,
        0.090976,
        {"eval_batch_size": 128},
    ),
}
SMALLER = {"vocabulary_size", "features", "channels", "blocks", "heads"}
SMALLER |= {"lstm_layers", "dense_layers"}
OF_SCALE = SMALLER | {"momentum", "time_masks", "frequency_masks"}
each = pytest.mark.parametrize("name", ROWS)


def base_of(name):
    """Returns the name of the workload that a variant is one of."""
    (base,) = (base for base in BASES if name.startswith(base))
    return base


@each
def test_published_constants(name):
    definition = registry.get(name)
    constants, model = BASES[base_of(name)]
    changes, validation, test, others = ROWS[name]
    for field, value in (PUBLISHED | constants | others).items():
        assert getattr(definition, field) == value, field
    assert dict(definition.model) == {**model, **changes}
    assert definition.validation_target_value == validation
    assert definition.test_target_value == test


# (budget in s, evaluation period in s, step hint) of the other editions; no published
# edition changes another constant.
EDITIONS = {
    "librispeech_conformer": {
        "0.5": (61_068, 1_440, 80_000),
        "2026": (43_680, 1_747, 76_000),
    },
    "librispeech_deepspeech": {
        "0.5": (55_506, 1_440, 48_000),
        "2026": (36_949, 1_447, 38_400),
    },
}


@each
@pytest.mark.parametrize("edition", ["0.5", "0.6", "2026"])
def test_constants_of_other_editions(name, edition):
    definition = registry.get(name)
    found = definition.in_edition(edition)
    fields = ("max_allowed_runtime_sec", "eval_period_time_sec", "step_hint")
    expected = EDITIONS[base_of(name)].get(edition)
    if expected is None:
        assert found == definition
        return
    assert tuple(getattr(found, field) for field in fields) == expected
    same = {field: getattr(definition, field) for field in fields}
    assert dataclasses.replace(found, **same) == definition
    mini = registry.get(f"{name}_mini")
    assert mini.in_edition(edition) == mini


@each
def test_a_mini_keeps_what_makes_its_variant(name):
    full, mini = registry.get(name), registry.get(f"{name}_mini")
    same = ("package", "data", "output_layer", "loss", "evaluations")
    for field in (*same, "target_metric_name"):
        assert getattr(mini, field) == getattr(full, field)
    base = registry.get(f"{base_of(name)}_mini").model
    assert dict(mini.model) == {**base, **ROWS[name][0]}
    for argument, value in full.model.items():
        if argument in SMALLER:
            assert mini.model[argument] < value
        elif argument not in OF_SCALE:
            assert mini.model[argument] == value


def test_there_are_no_other_variants():
    names = {name for name in registry.definitions() if name.startswith("librispeech_")}
    assert names == {*ROWS, *(f"{name}_mini" for name in ROWS)}


@each
def test_documented_targets(name):
    (line,) = (r for r in DOCUMENTED.splitlines() if r.startswith(f"| `{name}` "))
    cells = line.split("|")[-3:-1]
    for scale, cell in zip(("", "_mini"), cells, strict=True):
        definition = registry.get(name + scale)
        validation, test = (float(text.strip("() ")) for text in cell.split())
        assert validation == definition.validation_target_value
        assert test == definition.test_target_value


@pytest.mark.parametrize(("scale", "units"), [("", 256), ("_mini", 64)])
def test_the_lstm_starts_as_torch_does(scale, units):
    definition = registry.get(f"librispeech_deepspeech{scale}")
    assert definition.model["features"] == 2 * units
    assert dict(definition.initial)[r".*\.lstm\..*"] == Uniform(units**-0.5)
