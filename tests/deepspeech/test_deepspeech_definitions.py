"""The rows of DeepSpeech against AlgoPerf v0.6."""

import pytest

from algorithmic_efficiency import registry
from algorithmic_efficiency.initializers import Uniform
from algorithmic_efficiency.spec import LossType

# Suffix -> what the variant changes in the model, and its targets.
VARIANTS = {
    "": ({}, 0.119936, 0.074143),
    "_tanh": ({"activation": "tanh"}, 0.150883, 0.098613),
    "_no_resnet": ({"residual": False}, 0.131564, 0.079297),
    "_norm_and_spec_aug": (
        {"norm": "ln", "final_norm": False, "time_masks": 15, "frequency_masks": 4},
        0.14342,
        0.090976,
    ),
}
MODEL = {
    "vocabulary_size": 1024,
    "features": 512,
    "channels": 512,
    "lstm_layers": 6,
    "dense_layers": 3,
    "activation": "relu",
    "residual": True,
    "norm": "bn",
    "momentum": 0.001,
    "final_norm": True,
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
    "max_allowed_runtime_sec": 44_405,
    "eval_period_time_sec": 1_440,
    "step_hint": 38_400,
}
each = pytest.mark.parametrize("suffix", VARIANTS)


@each
def test_published_constants(suffix):
    definition = registry.get(f"librispeech_deepspeech{suffix}")
    changes, validation, test = VARIANTS[suffix]
    for field, value in PUBLISHED.items():
        assert getattr(definition, field) == value, field
    assert definition.eval_batch_size == (128 if "norm" in suffix else 256)
    assert dict(definition.model) == {**MODEL, **changes}
    assert definition.validation_target_value == validation
    assert definition.test_target_value == test


@each
def test_a_mini_keeps_what_makes_its_variant(suffix):
    full = registry.get(f"librispeech_deepspeech{suffix}")
    mini = registry.get(f"librispeech_deepspeech{suffix}_mini")
    for same in ("package", "data", "output_layer", "loss_type", "metrics"):
        assert getattr(mini, same) == getattr(full, same)
    smaller = {"vocabulary_size", "features", "channels", "lstm_layers", "dense_layers"}
    for name in full.model.keys() - smaller - {"momentum"}:
        assert mini.model[name] == full.model[name]
    for name in smaller:
        assert mini.model[name] < full.model[name]


@pytest.mark.parametrize(("scale", "units"), [("", 256), ("_mini", 64)])
def test_the_lstm_starts_as_torch_does(scale, units):
    definition = registry.get(f"librispeech_deepspeech{scale}")
    assert definition.model["features"] == 2 * units
    assert dict(definition.initial)[r".*\.lstm\..*"] == Uniform(units**-0.5)
