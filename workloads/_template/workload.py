"""Rows of numbers and a small network: the smallest workload, made to be copied.

Data only: both frameworks and the harness read this row. `algorithmic_efficiency/
definition.py` says what each field is; docs/workloads/your_own.md how to go on.
"""

from algorithmic_efficiency.definition import Definition, Evaluate, Field
from algorithmic_efficiency.initializers import Constant, LecunNormal

BASE = Definition(
    name="template",
    package=__package__,
    data=f"{__package__}.data",
    model={"width": 64},
    initial=((r".*\.weight", LecunNormal()), (r".*\.bias", Constant(0.0))),
    output_layer="fc2",
    fields={
        "inputs": Field((4,), "float32"),
        "targets": Field((), "float32"),
    },
    # The targets' noise has this standard deviation, so that the best mean squared
    # error is its square: 0.01, for who knows the function behind the rows.
    data_arguments={"noise": 0.1},
    loss="mean_squared_error",
    evaluations=(Evaluate(("loss",)),),
    target_metric_name="loss",
    validation_target_value=0.0115,
    test_target_value=0.0115,
    num_train_examples=8_000,
    num_eval_train_examples=1_000,
    num_validation_examples=1_000,
    num_test_examples=1_000,
    eval_batch_size=500,
    max_allowed_runtime_sec=60,
    eval_period_time_sec=1,
    step_hint=600,
    scale="mini",
)
# Variants are rows: variants(BASE, {"wide": {"model": {"width": 256}}}).
WORKLOADS = {BASE.name: BASE}
