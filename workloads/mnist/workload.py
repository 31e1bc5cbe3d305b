"""A network of one hidden layer on MNIST: the smallest workload.

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

from algorithmic_efficiency.initializers import Constant, LecunNormal

BASE = Definition(
    name="mnist",
    package="workloads.mnist",
    data="workloads.mnist.data",
    model={"pixels": 784, "width": 128, "num_classes": 10},
    initial=((r"fc\d\.weight", LecunNormal()), (r"fc\d\.bias", Constant(0.0))),
    output_layer="fc2",
    fields={
        "inputs": Field((28, 28, 1), "float32", "HWC"),
        "targets": Field((), "int32"),
    },
    # Mean and standard deviation are published for pixels from 0 to 1, and applied to
    # pixels from 0 to 255 (docs/decisions/021-small-images.md).
    data_arguments={"source": "mnist", "pixel_scale": 1},
    loss="softmax_cross_entropy",
    evaluations=(Evaluate(("accuracy", "loss")),),
    target_metric_name="accuracy",
    validation_target_value=0.97,
    test_target_value=0.97,
    num_train_examples=50_000,
    num_eval_train_examples=10_000,
    num_validation_examples=10_000,
    num_test_examples=10_000,
    eval_batch_size=10_000,
    max_allowed_runtime_sec=60,
    eval_period_time_sec=10,
    step_hint=7_813,
    train_mean=(0.1307,),
    train_stddev=(0.3081,),
    num_parameters=101_770,
    reference_batch_size=16,
)

# The same workload on the 1,797 digits of 8 x 8 pixels in `digits`, the pixels of which
# go from 0 to 16.
MINI_CHANGES = {
    "model": {"pixels": 64},
    "fields": {"inputs": Field((8, 8, 1), "float32", "HWC")},
    "data_arguments": {"source": "digits", "pixel_scale": 16 / 255},
    "num_train_examples": 1_197,
    "num_eval_train_examples": 300,
    "num_validation_examples": 300,
    "num_test_examples": 300,
    "eval_batch_size": 300,
    "eval_period_time_sec": 1,
    "reference_batch_size": 128,
}

FULL = {"mnist": BASE}
# Full-scale name -> (validation target, test target, step hint) of its mini twin.
MINI_ROWS = {"mnist": (0.95, 0.87, 400)}
WORKLOADS = {**FULL, **mini_twins(FULL, MINI_CHANGES, MINI_ROWS)}
