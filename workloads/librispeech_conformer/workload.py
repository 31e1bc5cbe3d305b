"""The Conformer on LibriSpeech (Gulati et al., 2020, as AlgoPerf changed it).

Targets and budgets are those of AlgoPerf v0.6; `editions` says where others differ. The
targets are word error rates by the public benchmark's formula, `wer`;
docs/decisions/006-speech.md. Those of the mini scale were measured here, by the command
in docs/performance.md.
"""

from algorithmic_efficiency.definition import Definition, mini_twins, variants
from algorithmic_efficiency.initializers import Constant, XavierUniform
from workloads._librispeech import scale

INITIAL = (
    (r"(.*\.)?(bn|ln|qs)\.weight", Constant(0.0)),  # the scale is 1 at 0
    (r".*\.weight", XavierUniform()),
    (r".*\.bias", Constant(0.0)),
)

BASE = Definition(
    **scale.FULL,
    name="librispeech_conformer",
    package="workloads.librispeech_conformer",
    model={
        "vocabulary_size": scale.FULL["data_arguments"]["vocabulary_size"],
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
        "aux_dropout_rate": None,  # as dropout_rate
    },
    initial=INITIAL,
    validation_target_value=0.085884,
    test_target_value=0.052981,
    max_allowed_runtime_sec=58_015,
    step_hint=76_000,
    num_parameters=32_321_792,
    editions={
        "0.5": {"max_allowed_runtime_sec": 61_068, "step_hint": 80_000},
        "2026": {"max_allowed_runtime_sec": 43_680, "eval_period_time_sec": 1_747},
    },
)

# The same workload at laptop size: the same code on speech that the project made.
MINI_CHANGES = {
    **scale.MINI,
    "model": {
        "vocabulary_size": scale.MINI["data_arguments"]["vocabulary_size"],
        "features": 96,
        "channels": 32,
        "blocks": 1,
        "heads": 4,
        "momentum": 0.05,  # running statistics must settle in few steps
        "time_masks": 4,
        "frequency_masks": 1,
    },
}

FULL = variants(
    BASE,
    {
        "attention_temperature": {
            "model": {"attention_temperature": 1.6},
            "validation_target_value": 0.109977,
            "test_target_value": 0.068065,
        },
        "layernorm": {
            "model": {"post_layer_norm": False},
            "num_parameters": 32_317_696,
            "validation_target_value": 0.09731,
            "test_target_value": 0.05996,
        },
        "gelu": {
            "model": {"activation": "gelu"},
            "validation_target_value": 0.094114,
            "test_target_value": 0.056629,
        },
    },
)
# Full-scale name -> (validation target, test target, step hint) of its mini twin; the
# targets are those of `python -m benchmarks.mini_targets`, docs/performance.md.
MINI_ROWS = {
    "librispeech_conformer": (0.428, 0.447, 800),
    "librispeech_conformer_attention_temperature": (0.423, 0.467, 800),
    "librispeech_conformer_layernorm": (0.410, 0.441, 800),
    "librispeech_conformer_gelu": (0.387, 0.411, 800),
}
WORKLOADS = {**FULL, **mini_twins(FULL, MINI_CHANGES, MINI_ROWS)}
