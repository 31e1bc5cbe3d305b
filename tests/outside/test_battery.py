"""Each check of the battery finds the fault that it is there for, and says where."""

from pathlib import Path

import pytest

from algorithmic_efficiency import registry
from algorithmic_efficiency.battery import (
    Unmet,
    agreement,
    command,
    invariance,
    promises,
)
from algorithmic_efficiency.battery.pair import Pair
from algorithmic_efficiency.data import Folders

INPUTS = 'batch["inputs"]'
FORWARD = 'return self.fc2(self.fc1(batch["inputs"]).tanh())'
# What is wrong -> (changes of the template, the check that finds it, its words).
FAULTS = {
    "a layer's name": (
        {"jax": ('name="fc1"', 'name="fc3"')},
        lambda pair: agreement.names_and_shapes(pair.definition),
        "fc1.weight is .64, 4. in PyTorch and missing in JAX",
    ),
    "a layer's kind": (
        {"jax": ('name="fc1"', 'name="hidden"'), "pytorch": ("fc1", "hidden")},
        lambda pair: agreement.names_and_shapes(pair.definition),
        "No rule for parameter",
    ),
    "the output layer": (
        {"workload": ('"fc2"', '"fc9"')},
        lambda pair: agreement.names_and_shapes(pair.definition),
        "no layer is called 'fc9', as output_layer says; there are fc1, fc2",
    ),
    "another activation": (
        {"pytorch": (".tanh()", ".sigmoid()")},
        agreement.one_pass,
        "the outputs differ by .* of the largest entry",
    ),
    "an evaluation of its own": (
        {"pytorch": (FORWARD, f"{FORWARD} * (1 if self.training else 2)")},
        agreement.evaluation,
        "a forward pass returns differ by",
    ),
    "a mean over the batch": (
        {
            "pytorch": (INPUTS, f"{INPUTS} - {INPUTS}.mean(0)"),
            "jax": (INPUTS, f"{INPUTS} - {INPUTS}.mean(0)"),
        },
        invariance.padding,
        "differ by",
    ),
    "metrics that depend on the batch": (
        {
            "pytorch": (INPUTS, f"{INPUTS} - {INPUTS}[:1]"),
            "jax": (INPUTS, f"{INPUTS} - {INPUTS}[:1]"),
        },
        invariance.metrics,
        "loss is .* in jax with batches of 16, and .* in jax with batches of 10",
    ),
    "a shape": (
        {"workload": ("Field((4,)", "Field((5,)")},
        invariance.data,
        "'inputs' is float32 .8, 4. in a batch of 8; `fields` says float32 .8, 5.",
    ),
    "chance in the data": (
        {"data": ("row[0],", "row[0] + np.random.standard_normal(4).astype('f4'),")},
        invariance.data,
        "a batch is another one when a process reads it from the middle",
    ),
    "nothing is trained": (
        {
            "pytorch": (FORWARD, f"return 0 * {FORWARD[7:]}"),
            "jax": ("return nn.Dense", "return 0 * nn.Dense"),
        },
        promises.template_runs,
        "has changed no parameter in 2 steps",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault, copied) -> None:
    changes, check, said = FAULTS[fault]
    name = f"faulty_{list(FAULTS).index(fault)}"
    folder = copied(name, **changes)
    pair = Pair(registry.get(registry.add(folder)[0]), Folders(Path("absent")))
    with pytest.raises((Unmet, KeyError), match=said):
        check(pair)


def test_the_command_tells_what_fails_and_goes_on(copied, capsys) -> None:
    folder = copied("faulty", data=("    rows = Rows(", "    rows = Row("))
    code = command.main([str(folder)])
    said = capsys.readouterr().out
    assert code == 1
    assert "holds     names and shapes: 4 parameters with 385 values" in said
    assert "holds     initial values: 4 arrays" in said
    assert "FAILS     one training pass: NameError: name 'Row' is not" in said
    assert f"({folder / 'data.py'}:" in said


def test_names_that_are_not_there_are_sentences(copied, capsys) -> None:
    assert command.main(["no_such_workload"]) == 2
    assert "There is no workload 'no_such_workload'" in capsys.readouterr().err
    assert command.main(["no/folder"]) == 2
    assert "There is no folder no/folder" in capsys.readouterr().err
    assert command.main([str(copied("table")), "--workload=other"]) == 2
    assert "it has template" in capsys.readouterr().err


def test_a_full_workload_without_data_is_checked_as_far_as_it_goes(
    tmp_path, capsys
) -> None:
    count = registry.get("mnist").num_parameters
    assert command.main(["mnist", f"--data_dir={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert f"parameters with {count:,} values" in said
    assert said.count("  not done  ") == 10
    assert "1 of 1 checks hold." in said
