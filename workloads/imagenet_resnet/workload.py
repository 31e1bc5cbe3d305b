"""ResNet-50 on ImageNet (He et al., 2016; v1.5: the stride is on the 3x3).

Targets and budgets are those of AlgoPerf v0.6; those of the mini scale were measured
here, by the command in docs/performance.md.
"""

from algorithmic_efficiency.definition import (
    Definition,
    Evaluate,
    Field,
    mini_twins,
    variants,
)
from algorithmic_efficiency.initializers import Constant, LecunNormal, Normal

INITIAL = (
    (r"(.*\.)?conv\d*\.weight", LecunNormal()),
    (r".*\.bn3\.weight", Constant(0.0)),  # each residual branch starts as zero
    (r"(.*\.)?bn\d*\.weight", Constant(1.0)),
    (r"fc\.weight", Normal(0.01)),
    (r".*\.bias", Constant(0.0)),
)
LARGE_BN_INITIAL = ((r".*\.bn3\.weight", Constant(8.0)), *INITIAL)

BASE = Definition(
    name="imagenet_resnet",
    package="workloads.imagenet_resnet",
    data="workloads._imagenet.data",
    model={
        "num_classes": 1000,
        "stage_sizes": (3, 4, 6, 3),
        "width": 64,
        "activation": "relu",
    },
    initial=INITIAL,
    output_layer="fc",
    fields={
        "inputs": Field((224, 224, 3), "float32", "HWC"),
        "targets": Field((), "int32"),
    },
    data_arguments={
        "source": "imagenet",
        "image_size": 224,
        "resize_size": 256,
        "area": (0.08, 1.0),
        "aspect": (3 / 4, 4 / 3),
    },
    loss="softmax_cross_entropy",
    evaluations=(Evaluate(("accuracy", "loss")),),
    target_metric_name="accuracy",
    validation_target_value=0.77431,
    test_target_value=0.6560,
    num_train_examples=1_281_167,
    num_eval_train_examples=50_176,
    num_validation_examples=50_000,
    num_test_examples=10_000,
    eval_batch_size=1024,
    max_allowed_runtime_sec=66_159,
    eval_period_time_sec=510,
    step_hint=195_999,
    num_parameters=25_557_032,
    editions={
        "0.5": {"max_allowed_runtime_sec": 63_008, "step_hint": 186_666},
        "2026": {"max_allowed_runtime_sec": 49_918, "eval_period_time_sec": 1_996},
    },
    train_mean=(0.485 * 255, 0.456 * 255, 0.406 * 255),
    train_stddev=(0.229 * 255, 0.224 * 255, 0.225 * 255),
    reference_batch_size=1024,
)

# The same workload at laptop size: the same code on images that the project draws.
MINI_CHANGES = {
    "model": {
        "num_classes": 10,
        "stage_sizes": (1, 1, 1, 1),
        "width": 16,
    },
    "fields": {"inputs": Field((48, 48, 3), "float32", "HWC")},
    "data_arguments": {
        "source": "mini",
        "image_size": 48,
        "resize_size": 54,
        "area": (0.6, 1.0),
    },
    "num_train_examples": 4_000,
    "num_eval_train_examples": 1_000,
    "num_validation_examples": 1_000,
    "num_test_examples": 1_000,
    "eval_batch_size": 250,
    "max_allowed_runtime_sec": 240,
    "eval_period_time_sec": 5,
    "reference_batch_size": 128,
}

FULL = variants(
    BASE,
    {
        "silu": {
            "model": {"activation": "silu"},
            "reference_batch_size": 512,
            "validation_target_value": 0.75445,
            "test_target_value": 0.6323,
        },
        "gelu": {
            "model": {"activation": "gelu"},
            "reference_batch_size": 512,
            "validation_target_value": 0.76765,
            "test_target_value": 0.6519,
        },
        "large_bn_init": {
            "initial": LARGE_BN_INITIAL,
            "validation_target_value": 0.76526,
            "test_target_value": 0.6423,
        },
    },
)
# Full-scale name -> (validation target, test target, step hint) of its mini twin.
MINI_ROWS = {
    "imagenet_resnet": (0.856, 0.846, 600),
    "imagenet_resnet_silu": (0.877, 0.875, 600),
    "imagenet_resnet_gelu": (0.893, 0.889, 600),
    "imagenet_resnet_large_bn_init": (0.846, 0.832, 600),
}
WORKLOADS = {**FULL, **mini_twins(FULL, MINI_CHANGES, MINI_ROWS)}
