"""The rows of the Conformer against AlgoPerf v0.6."""

import pytest

from algorithmic_efficiency import registry
from algorithmic_efficiency.spec import LossType

# Suffix -> what the variant changes in the model, and its targets.
VARIANTS = {
    "": ({}, 0.085884, 0.052981),
    "_attention_temperature": ({"attention_temperature": 1.6}, 0.109977, 0.068065),
    "_layernorm": ({"post_layer_norm": False}, 0.09731, 0.05996),
    "_gelu": ({"activation": "gelu"}, 0.094114, 0.056629),
}
MODEL = {
    "vocabulary_size": 1024,
    "features": 512,
    "channels": 512,
    "blocks": 4,
    "heads": 8,
    "activation": "silu",
    "attention_temperature": 1.0,
    "post_layer_norm": True,
    "momentum": 0.001,
    "time_masks": 10,
    "frequency_masks": 2,
    "dropout_rate": 0.1,
}
PUBLISHED = {
    "loss_type": LossType.CTC_LOSS,
    "target_metric_name": "wer_published",
    "num_train_examples": 263_840,
    "num_eval_train_examples": 5_376,
    "num_validation_examples": 5_348,
    "num_test_examples": 2_472,
    "default_batch_size": 256,
    "eval_batch_size": 256,
    "max_allowed_runtime_sec": 58_015,
    "eval_period_time_sec": 1_440,
    "step_hint": 76_000,
}
each = pytest.mark.parametrize("suffix", VARIANTS)


@each
def test_published_constants(suffix):
    definition = registry.get(f"librispeech_conformer{suffix}")
    changes, validation, test = VARIANTS[suffix]
    for field, value in PUBLISHED.items():
        assert getattr(definition, field) == value, field
    assert dict(definition.model) == {**MODEL, **changes}
    assert definition.validation_target_value == validation
    assert definition.test_target_value == test


@each
def test_a_mini_keeps_what_makes_its_variant(suffix):
    full = registry.get(f"librispeech_conformer{suffix}")
    mini = registry.get(f"librispeech_conformer{suffix}_mini")
    same = ("package", "data", "initial", "output_layer", "loss_type", "metrics")
    for field in (*same, "target_metric_name"):
        assert getattr(mini, field) == getattr(full, field)
    for name in ("activation", "attention_temperature", "post_layer_norm"):
        assert mini.model[name] == full.model[name]
    assert mini.model.keys() == full.model.keys()


def test_there_are_no_other_variants():
    base = "librispeech_conformer"
    names = {name for name in registry.definitions() if name.startswith(base)}
    full = {base + suffix for suffix in VARIANTS}
    assert names == full | {name + "_mini" for name in full}
