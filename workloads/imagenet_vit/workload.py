"""ViT S/16 on ImageNet (Dosovitskiy et al., 2021; Beyer et al., 2022).

Targets and budgets are those of AlgoPerf v0.6; those of the mini scale were measured
here, by the command in docs/performance.md.
"""

import dataclasses

from algorithmic_efficiency.definition import Field, mini_twins, variants
from algorithmic_efficiency.initializers import (
    Constant,
    LecunNormal,
    Normal,
    XavierUniform,
)
from algorithmic_efficiency.params import Rule
from algorithmic_efficiency.spec import ParameterType
from workloads._imagenet.randaugment import RandAugment
from workloads.imagenet_resnet import workload as resnet

INITIAL = (
    (r"conv_patch\.weight|linear\.weight", LecunNormal()),
    (r"linear_head\.weight", Constant(0.0)),
    (r".*mlp\.\w+\.weight|.*attention\.\w+\.weight|map\.probe", XavierUniform()),
    (r".*mlp\.\w+\.bias", Normal(1e-6)),
    (r"(.*\.)?ln\d*\.weight", Constant(1.0)),
    (r".*\.bias", Constant(0.0)),
)
# The images are those of the ResNet workload; training changes them further.
BASE = dataclasses.replace(
    resnet.BASE,
    name="imagenet_vit",
    package="workloads.imagenet_vit",
    model={
        "num_classes": 1000,
        "size": 224,
        "patch": 16,
        "width": 384,
        "depth": 12,
        "heads": 6,
        "hidden": 1536,
        "gated": False,
        "post_layer_norm": False,
        "attention_pooling": False,
        "dropout_rate": 0.0,
    },
    initial=INITIAL,
    output_layer="linear_head",
    rules=(Rule("map", "probe", ParameterType.WEIGHT, "probe"),),
    data_arguments={
        **resnet.BASE.data_arguments,
        "augment": RandAugment(translation=100, cutout=40),
        "mixup": 0.2,
    },
    validation_target_value=0.77309,
    test_target_value=0.6519,
    eval_batch_size=2048,
    num_eval_train_examples=51_200,
    max_allowed_runtime_sec=69_768,
    eval_period_time_sec=420,
    step_hint=167_999,
    num_parameters=22_122_472,
    editions={
        "0.5": {"max_allowed_runtime_sec": 77_520, "step_hint": 186_666},
        "2026": {"max_allowed_runtime_sec": 64_292, "eval_period_time_sec": 2_571},
    },
)
FULL = variants(
    BASE,
    {
        "glu": {
            "model": {"gated": True},
            "num_parameters": 50_452_456,
            "validation_target_value": 0.75738,
            "test_target_value": 0.6359,
        },
        "post_ln": {
            "model": {"post_layer_norm": True},
            "num_parameters": 22_121_704,
            "validation_target_value": 0.75312,
            "test_target_value": 0.6286,
        },
        "map": {
            "model": {"attention_pooling": True},
            "num_parameters": 23_896_552,
            "validation_target_value": 0.77113,
            "test_target_value": 0.6523,
        },
    },
)
# The same workload at laptop size: 36 tokens of 4 x 4 pixels of the images drawn here.
# Steps of the reference rate are too long for tokens of more than 32 numbers, and at
# full strength RandAugment hides the shapes: nothing is learnt then in so few steps.
MINI_CHANGES = {
    **resnet.MINI_CHANGES,
    "model": {
        "num_classes": 10,
        "size": 24,
        "patch": 4,
        "width": 32,
        "depth": 2,
        "heads": 4,
        "hidden": 64,
    },
    "fields": {"inputs": Field((24, 24, 3), "float32", "HWC")},
    "data_arguments": {
        **resnet.MINI_CHANGES["data_arguments"],
        "image_size": 24,
        "resize_size": 27,
        "area": (0.85, 1.0),
        "augment": RandAugment(
            translation=2, cutout=3, rotation=10.0, shear=0.1, count=1
        ),
    },
    "reference_batch_size": 512,
    "max_allowed_runtime_sec": 300,
}
# Full-scale name -> (validation target, test target, step hint) of its mini twin.
MINI_ROWS = {
    "imagenet_vit": (0.283, 0.255, 240),
    "imagenet_vit_glu": (0.336, 0.327, 240),
    "imagenet_vit_post_ln": (0.267, 0.285, 240),
    "imagenet_vit_map": (0.271, 0.283, 240),
}
WORKLOADS = {**FULL, **mini_twins(FULL, MINI_CHANGES, MINI_ROWS)}
