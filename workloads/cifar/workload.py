"""ResNet-18 on CIFAR-10 (He et al., 2016): small enough to develop algorithms on.

Constants are those of AlgoPerf, the same in all editions; the workload is no part of
its score. Those of the mini scale were measured here, by the commands in
docs/performance.md.
"""

from algorithmic_efficiency.definition import (
    Definition,
    Evaluate,
    Field,
    mini_twins,
)
from algorithmic_efficiency.initializers import Constant, LecunNormal, Normal

INITIAL = (
    (r"(.*\.)?conv\d*\.weight", LecunNormal()),
    (r".*\.bn2\.weight", Constant(0.0)),  # each residual branch starts as zero
    (r"(.*\.)?bn\d*\.weight", Constant(1.0)),
    (r"fc\.weight", Normal(0.01)),
    (r".*\.bias", Constant(0.0)),
)

BASE = Definition(
    name="cifar",
    package="workloads.cifar",
    data="workloads.cifar.data",
    model={"num_classes": 10, "stage_sizes": (2, 2, 2, 2), "width": 64},
    initial=INITIAL,
    output_layer="fc",
    fields={
        "inputs": Field((32, 32, 3), "float32", "HWC"),
        "targets": Field((), "int32"),
    },
    data_arguments={"source": "cifar", "padding": 4, "pixel_scale": 255},
    loss="softmax_cross_entropy",
    evaluations=(Evaluate(("accuracy", "loss")),),
    target_metric_name="accuracy",
    validation_target_value=0.85,
    test_target_value=0.85,
    num_train_examples=45_000,
    num_eval_train_examples=5_120,  # the validation's 5,000, in whole batches
    num_validation_examples=5_000,
    num_test_examples=10_000,
    eval_batch_size=1024,
    max_allowed_runtime_sec=3_600,
    eval_period_time_sec=600,
    step_hint=4_883,
    train_mean=(0.49139968, 0.48215827, 0.44653124),  # of pixels from 0 to 1
    train_stddev=(0.24703233, 0.24348505, 0.26158768),
    num_parameters=11_173_962,
    reference_batch_size=128,
)

# The same workload at laptop size: the same code on images that the project draws.
MINI_CHANGES = {
    "model": {"stage_sizes": (1, 1, 1, 1), "width": 16},
    "data_arguments": {"source": "mini"},
    "num_train_examples": 4_000,
    "num_eval_train_examples": 500,
    "num_validation_examples": 1_000,
    "num_test_examples": 1_000,
    "eval_batch_size": 250,
    "max_allowed_runtime_sec": 240,
    "eval_period_time_sec": 10,
    "reference_batch_size": 64,
}

FULL = {"cifar": BASE}
# Full-scale name -> (validation target, test target, step hint) of its mini twin.
MINI_ROWS = {"cifar": (0.70, 0.70, 600)}
WORKLOADS = {**FULL, **mini_twins(FULL, MINI_CHANGES, MINI_ROWS)}
