"""What the speech workloads share of their definitions, at full and at mini scale.

Numbers of the full scale are those of AlgoPerf v0.6.
"""

from typing import Any

from algorithmic_efficiency.definition import Evaluate, Field
from workloads._librispeech import layout, mini

_METRICS = tuple(
    f"workloads._librispeech.metrics.{name}"
    for name in ("wer", "wer_true", "ctc_loss", "misfits")
)
_SAMPLES, _TOKENS = 320_000, 256
_MINI_SAMPLES, _MINI_TOKENS = 38_400, 28


def _fields(samples: int, tokens: int) -> dict[str, tuple[Field, Field]]:
    """Returns pairs of values and their padding, 1 where padded."""
    sound, text = Field((samples,), "float32"), Field((tokens,), "float32")
    return {"inputs": (sound, sound), "targets": (text, text)}


FULL: dict[str, Any] = {
    "data": "workloads._librispeech.data",
    "fields": _fields(_SAMPLES, _TOKENS),
    "data_arguments": {
        "source": "librispeech",
        "vocabulary_size": layout.VOCABULARY_SIZE,
        # 4, 7, 10, 14 and 20 seconds: see docs/performance.md.
        "buckets": (64_000, 112_000, 160_000, 224_000, _SAMPLES),
    },
    "num_train_examples": 263_840,
    "num_eval_train_examples": 5_376,
    "num_validation_examples": 5_348,
    "num_test_examples": 2_472,
    "output_layer": "lin",
    "loss": "ctc",
    "evaluations": (Evaluate(_METRICS, how="evaluate"),),
    "target_metric_name": "wer",
    "reference_batch_size": 256,
    "eval_batch_size": 256,
    "eval_period_time_sec": 1_440,
}
MINI: dict[str, Any] = {
    "fields": _fields(_MINI_SAMPLES, _MINI_TOKENS),
    "data_arguments": {
        "source": "mini",
        "vocabulary_size": mini.VOCABULARY_SIZE,
        "buckets": (_MINI_SAMPLES,),
    },
    "num_train_examples": mini.COUNTS["train"],
    "num_eval_train_examples": 200,
    "num_validation_examples": mini.COUNTS["validation"],
    "num_test_examples": mini.COUNTS["test"],
    "reference_batch_size": 32,
    "eval_batch_size": 50,
    "max_allowed_runtime_sec": 300,
    "eval_period_time_sec": 10,
}
