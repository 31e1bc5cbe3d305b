"""Batch sizes and schedules, which need no framework."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from reference_algorithms._common import batch_sizes, schedules


@pytest.mark.parametrize(
    ("workload", "size"),
    [
        ("imagenet_resnet", 1024),
        ("imagenet_resnet_silu", 512),
        ("imagenet_resnet_gelu", 512),
        ("imagenet_resnet_mini", 128),
        ("librispeech_deepspeech", 256),
        ("librispeech_deepspeech_tanh_mini", 32),
        ("mnist", 16),
    ],
)
def test_batch_sizes_are_those_published(workload, size):
    assert batch_sizes.get_batch_size(workload) == size


def test_unknown_workload_is_a_value_error():
    with pytest.raises(ValueError, match="nonsense"):
        batch_sizes.get_batch_size("nonsense")


def test_cosine_schedule():
    hp = SimpleNamespace(warmup_factor=0.05)
    factors = {
        s: schedules.warmup_cosine(s, 200, hp) for s in (0, 5, 10, 105, 200, 999)
    }
    assert factors == pytest.approx({0: 0, 5: 0.5, 10: 1, 105: 0.5, 200: 0, 999: 0})
    quarter = schedules.warmup_cosine(10 + 95 // 2, 200, hp)
    assert 0.85 < quarter < 0.86


def test_linear_schedule():
    hp = SimpleNamespace(warmup_factor=0.05)
    factors = {
        s: schedules.warmup_linear(s, 200, hp) for s in (0, 5, 10, 105, 200, 999)
    }
    assert factors == pytest.approx({0: 0, 5: 0.5, 10: 1, 105: 0.5, 200: 0, 999: 0})
    assert schedules.warmup_linear(10 + 19, 200, hp) == pytest.approx(0.9)


@pytest.mark.parametrize("warmup_factor", [0.0, 1.0])
def test_schedule_without_warmup_or_without_decay(warmup_factor):
    hp = SimpleNamespace(warmup_factor=warmup_factor)
    values = [schedules.warmup_cosine(step, 4, hp) for step in range(6)]
    want = {0.0: [1, 0.853553, 0.5, 0.146447, 0, 0], 1.0: [0, 0.25, 0.5, 0.75, 1, 0]}
    assert values == pytest.approx(want[warmup_factor], abs=1e-6)


def test_shared_parts_load_no_framework():
    code = (
        "import sys, algorithmic_efficiency.adapters\n"
        "import reference_algorithms._common.schedules\n"
        "import reference_algorithms._common.batch_sizes\n"
        "assert not {'torch', 'jax', 'optax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
