"""The command `submission_runner.py` with mini workloads made smaller still.

Everything is real but the size of the model and of its images, so that a trial takes
seconds: `python tiny_runner.py EVAL_PERIOD BUDGET TARGET --workload=...`.
"""

import dataclasses
import functools
import sys
from typing import Any

from algorithmic_efficiency import registry
from algorithmic_efficiency.cli import main
from algorithmic_efficiency.definition import Definition, Field

SIZE = 16
SMALL = {"width": 4, "stage_sizes": (1, 1)}  # images
SMALL |= {"features": 16, "channels": 4, "lstm_layers": 1, "dense_layers": 1}  # speech


def shrink(definition: Definition, changes: dict[str, Any]) -> Definition:
    small = {key: value for key, value in SMALL.items() if key in definition.model}
    changes = {**changes, "model": {**definition.model, **small}}
    if "image_size" in definition.data_arguments:
        changes["fields"] = {
            **definition.fields,
            "inputs": Field((SIZE, SIZE, 3), "float32", "HWC"),
        }
        changes["data_arguments"] = {
            **definition.data_arguments,
            "image_size": SIZE,
            "resize_size": SIZE,
        }
    return dataclasses.replace(definition, **changes)


def install(period: float, budget: float, target: float) -> None:
    """Puts the small definitions in the place of the registered mini ones."""
    changes = {
        "eval_period_time_sec": period,
        "max_allowed_runtime_sec": budget,
        "validation_target_value": target,
        "test_target_value": target,
    }
    table = {
        name: shrink(definition, changes) if registry.is_mini(name) else definition
        for name, definition in registry.definitions().items()
    }
    registry.definitions = functools.cache(lambda: table)


if __name__ in ("__main__", "__mp_main__"):  # in the fresh process of a trial too
    install(*map(float, sys.argv[1:4]))
if __name__ == "__main__":
    sys.exit(main(["submission_runner.py", *sys.argv[4:]]))
