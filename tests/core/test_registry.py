import dataclasses
from collections.abc import Mapping

import pytest

from algorithmic_efficiency import losses, metrics, registry
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.definition import Definition, Field, mini_twins, variants
from algorithmic_efficiency.errors import UsageError
from algorithmic_efficiency.initializers import Constant
from algorithmic_efficiency.spec import LossType

# AlgoPerf v0.6: (activation, validation target, test target) of each variant.
RESNETS = {
    "imagenet_resnet": ("relu", 0.77431, 0.6560),
    "imagenet_resnet_silu": ("silu", 0.75445, 0.6323),
    "imagenet_resnet_gelu": ("gelu", 0.76765, 0.6519),
    "imagenet_resnet_large_bn_init": ("relu", 0.76526, 0.6423),
}
PUBLISHED = {
    "loss_type": LossType.SOFTMAX_CROSS_ENTROPY,
    "target_metric_name": "accuracy",
    "num_train_examples": 1_281_167,
    "num_eval_train_examples": 50_176,
    "num_validation_examples": 50_000,
    "num_test_examples": 10_000,
    "eval_batch_size": 1024,
    "max_allowed_runtime_sec": 66_159,
    "eval_period_time_sec": 510,
    "step_hint": 195_999,
    "train_mean": pytest.approx((123.675, 116.28, 103.53), rel=1e-12),
    "train_stddev": pytest.approx((58.395, 57.12, 57.375), rel=1e-12),
    "fields": {
        "inputs": Field((224, 224, 3), "float32", "HWC"),
        "targets": Field((), "int32"),
    },
}
ALL = registry.definitions()
FULL = [name for name in ALL if not registry.is_mini(name)]


def differing(one, other):
    """Returns the names of fields, and of entries of mappings, that differ."""
    names = set()
    for field in dataclasses.fields(Definition):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, Mapping):
            keys = a.keys() | b.keys()
            names |= {f"{field.name}.{k}" for k in keys if a.get(k) != b.get(k)}
        elif a != b:
            names.add(field.name)
    return names


# The table itself.


@pytest.mark.parametrize("name", RESNETS)
def test_published_constants(name):
    definition = registry.get(name)
    activation, validation, test = RESNETS[name]
    for field, value in PUBLISHED.items():
        assert getattr(definition, field) == value, field
    assert definition.validation_target_value == validation
    assert definition.test_target_value == test
    assert dict(definition.model) == {
        "num_classes": 1000,
        "stage_sizes": (3, 4, 6, 3),
        "width": 64,
        "activation": activation,
    }
    arguments = definition.data_arguments
    assert (arguments["image_size"], arguments["resize_size"]) == (224, 256)
    assert arguments["area"] == (0.08, 1.0)
    assert arguments["aspect"] == (0.75, pytest.approx(4 / 3, rel=1e-12))


@pytest.mark.parametrize(
    "name", [name for name in RESNETS if name != "imagenet_resnet"]
)
def test_a_variant_differs_in_what_its_row_names_and_in_nothing_else(name):
    special = "initial" if name.endswith("large_bn_init") else "model.activation"
    small = {"reference_batch_size"} if special == "model.activation" else set()
    assert differing(registry.get("imagenet_resnet"), registry.get(name)) - small == {
        "name",
        "base",
        special,
        "validation_target_value",
        "test_target_value",
    }


@pytest.mark.parametrize("name", [f"{name}_mini" for name in RESNETS])
def test_a_mini_keeps_what_makes_its_variant(name):
    mini, full = registry.get(name), registry.get(name.removesuffix("_mini"))
    for same in ("package", "data", "initial", "output_layer", "loss", "evaluations"):
        assert getattr(mini, same) == getattr(full, same)
    assert mini.model["activation"] == full.model["activation"]
    assert mini.fields["targets"] == full.fields["targets"]
    assert mini.num_train_examples < full.num_train_examples
    assert mini.max_allowed_runtime_sec < 600


@pytest.mark.parametrize("scale", ["", "_mini"])
@pytest.mark.parametrize(("variant", "value"), [("", 0.0), ("_large_bn_init", 8.0)])
def test_the_last_scale_of_a_branch_starts_at_the_published_value(
    variant, value, scale
):
    definition = registry.get(f"imagenet_resnet{variant}{scale}")
    rows = [law for pattern, law in definition.initial if "bn3" in pattern]
    assert rows[0] == Constant(value)


def test_names_are_unique_and_those_of_the_definitions():
    assert len(ALL) >= 8
    assert all(name == definition.name for name, definition in ALL.items())
    assert all(name.isidentifier() and name.islower() for name in ALL)
    assert all(f"{name}_mini" in ALL for name in FULL)


@pytest.mark.parametrize("name", ALL)
def test_a_definition_makes_sense(name):
    definition = registry.get(name)
    assert metrics.target(definition).final
    assert losses.find(definition.loss).type is definition.loss_type
    assert {"inputs", "targets"} <= set(definition.fields)
    assert 0 < definition.eval_period_time_sec < definition.max_allowed_runtime_sec
    assert definition.step_hint > 0
    assert definition.name.startswith(definition.package.removeprefix("workloads."))
    with pytest.raises(dataclasses.FrozenInstanceError):
        definition.step_hint = 1


# Names.


def test_an_unknown_name_lists_the_known_ones_nearest_first():
    with pytest.raises(UsageError) as caught:
        registry.get("imagenet_resnet_silo")
    message = str(caught.value)
    assert message.startswith("There is no workload 'imagenet_resnet_silo'.")
    listed = message.partition("nearest first: ")[2].rstrip(".").split(", ")
    assert listed[0] == "imagenet_resnet_silu"
    assert sorted(listed) == sorted(ALL)


@pytest.mark.parametrize("name", ["", "IMAGENET_RESNET", "resnet", "imagenet-resnet"])
def test_other_wrong_names_are_sentences(name):
    with pytest.raises(UsageError, match=f"There is no workload {name!r}"):
        registry.get(name)


def test_nearest_orders_by_likeness():
    known = ["wmt", "ogbg", "imagenet_vit", "imagenet_resnet"]
    assert registry.nearest("imagenet_vot", known)[0] == "imagenet_vit"
    assert registry.nearest("ogb", known)[0] == "ogbg"
    assert sorted(registry.nearest("x", known)) == sorted(known)


@pytest.mark.parametrize(
    ("name", "bases"),
    [
        ("imagenet_resnet", []),
        ("imagenet_resnet_silu", ["imagenet_resnet"]),
        ("imagenet_resnet_mini", ["imagenet_resnet"]),
        ("imagenet_resnet_silu_mini", ["imagenet_resnet_silu", "imagenet_resnet"]),
        (
            "imagenet_resnet_large_bn_init_mini",
            ["imagenet_resnet_large_bn_init", "imagenet_resnet"],
        ),
        ("imagenet_resnetx", []),
        ("unknown", []),
    ],
)
def test_base_names_are_nearest_first(name, bases):
    assert registry.base_names(name) == bases


def test_mini_is_told_by_its_definition():
    assert registry.is_mini("imagenet_resnet_mini")
    assert not registry.is_mini("imagenet_resnet")
    assert not registry.is_mini("minimal")


# Rows.


def test_a_row_merges_mappings_and_leaves_the_base_alone():
    base = registry.get("imagenet_resnet")
    before = dataclasses.asdict(base)
    table = variants(
        base,
        {
            "a": {"model": {"width": 8}, "step_hint": 5},
            "b": {"loss": "mean_squared_error"},
        },
    )
    assert list(table) == ["imagenet_resnet", "imagenet_resnet_a", "imagenet_resnet_b"]
    assert table["imagenet_resnet"] is base
    assert differing(base, table["imagenet_resnet_a"]) == {
        "name",
        "base",
        "model.width",
        "step_hint",
    }
    assert differing(base, table["imagenet_resnet_b"]) == {"name", "base", "loss"}
    assert dataclasses.asdict(base) == before


def test_mini_twins_share_their_changes_and_have_rows_of_their_own():
    base = registry.get("imagenet_resnet")
    full = variants(base, {"a": {"model": {"width": 8}}})
    rows = {"imagenet_resnet": (0.1, 0.2, 5), "imagenet_resnet_a": (0.3, 0.4, 6)}
    twins = mini_twins(full, {"model": {"num_classes": 3}}, rows)
    assert list(twins) == ["imagenet_resnet_mini", "imagenet_resnet_a_mini"]
    for name, twin in twins.items():
        original = full[name.removesuffix("_mini")]
        assert differing(original, twin) == {
            "name",
            "base",
            "scale",
            "num_parameters",
            *(f"editions.{edition}" for edition in original.editions),
            "step_hint",
            "model.num_classes",
            "validation_target_value",
            "test_target_value",
        }
        goals = (twin.validation_target_value, twin.test_target_value)
        assert (*goals, twin.step_hint) == rows[original.name]


def test_a_row_with_a_field_that_does_not_exist_is_an_error():
    with pytest.raises((TypeError, AttributeError), match="no_such_field"):
        variants(registry.get("imagenet_resnet"), {"a": {"no_such_field": 1}})


# Data.


def test_missing_data_names_the_folder_and_the_command(tmp_path):
    lost = registry.missing_data(registry.get("imagenet_resnet"), Folders(tmp_path))
    assert str(tmp_path) in lost
    assert "python -m dataset_setup" in lost
    assert lost.endswith(".")


def test_mini_data_are_never_missing(tmp_path):
    for name in ALL.keys() - set(FULL):
        assert registry.missing_data(registry.get(name), Folders(tmp_path)) is None
