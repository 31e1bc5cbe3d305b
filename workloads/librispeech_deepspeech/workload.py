"""DeepSpeech on LibriSpeech (Amodei et al., 2015, as AlgoPerf changed it).

Targets and budgets are those of AlgoPerf v0.6; `editions` says where others differ. The
targets are word error rates by the public benchmark's formula, `wer`;
docs/decisions/006-speech.md.
"""

from algorithmic_efficiency.definition import Definition, mini_twins, variants
from algorithmic_efficiency.initializers import (
    Constant,
    Initializer,
    Uniform,
    XavierUniform,
)
from workloads._librispeech import scale


def initial(lstm_bound: float) -> tuple[tuple[str, Initializer], ...]:
    """Returns the laws of the initial values.

    `lstm_bound` is PyTorch's for its own LSTM: 1 / sqrt(units of one direction).
    """
    return (
        (r".*\.lstm\..*", Uniform(lstm_bound)),
        (r"(.*\.)?(bn|ln)\.weight", Constant(0.0)),  # the scale is 1 at 0
        (r".*\.weight", XavierUniform()),
        (r".*\.bias", Constant(0.0)),
    )


BASE = Definition(
    **scale.FULL,
    name="librispeech_deepspeech",
    package="workloads.librispeech_deepspeech",
    model={
        "vocabulary_size": scale.FULL["data_arguments"]["vocabulary_size"],
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
        "aux_dropout_rate": None,  # as dropout_rate
    },
    initial=initial(1 / 16),
    validation_target_value=0.119936,
    test_target_value=0.074143,
    max_allowed_runtime_sec=44_405,
    step_hint=38_400,
    num_parameters=18_393_600,
    editions={
        "0.5": {"max_allowed_runtime_sec": 55_506, "step_hint": 48_000},
        "2026": {"max_allowed_runtime_sec": 36_949, "eval_period_time_sec": 1_447},
    },
)

# The same workload at laptop size: the same code on speech that the project made.
MINI_CHANGES = {
    **scale.MINI,
    "model": {
        "vocabulary_size": scale.MINI["data_arguments"]["vocabulary_size"],
        "features": 128,
        "channels": 16,
        "lstm_layers": 2,
        "dense_layers": 1,
        "momentum": 0.05,  # running statistics must settle in few steps
    },
    "initial": initial(1 / 8),
}

FULL = variants(
    BASE,
    {
        "tanh": {
            "model": {"activation": "tanh"},
            "validation_target_value": 0.150883,
            "test_target_value": 0.098613,
        },
        "no_resnet": {
            "model": {"residual": False},
            "validation_target_value": 0.131564,
            "test_target_value": 0.079297,
        },
        "norm_and_spec_aug": {
            "num_parameters": 18_392_576,
            "model": {
                "norm": "ln",
                "final_norm": False,
                "time_masks": 15,
                "frequency_masks": 4,
            },
            "eval_batch_size": 128,
            "validation_target_value": 0.14342,
            "test_target_value": 0.090976,
        },
    },
)
# Full-scale name -> (validation target, test target, step hint) of its mini twin; the
# targets are those of `python -m benchmarks.mini_targets`, docs/performance.md.
MINI_ROWS = {
    "librispeech_deepspeech": (0.244, 0.263, 800),
    "librispeech_deepspeech_tanh": (0.309, 0.371, 800),
    "librispeech_deepspeech_no_resnet": (0.286, 0.331, 800),
    # More masks and no batch norm: it learns more slowly.
    "librispeech_deepspeech_norm_and_spec_aug": (0.473, 0.497, 1_400),
}
WORKLOADS = {**FULL, **mini_twins(FULL, MINI_CHANGES, MINI_ROWS)}
