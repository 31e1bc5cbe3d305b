import types

import numpy as np
import pytest

from algorithmic_efficiency import params
from algorithmic_efficiency.initializers import Constant, Normal
from algorithmic_efficiency.spec import ParameterType

# Canonical name, type, JAX path, PyTorch shape, JAX shape.
TABLE = [
    ("conv1.weight", "CONV_WEIGHT", "conv1.kernel", (8, 3, 5, 7), (5, 7, 3, 8)),
    ("layer1.0.conv2.weight", "CONV_WEIGHT", "layer1.0.conv2.kernel", (4, 2, 3),
     (3, 2, 4)),
    ("conv1.bias", "BIAS", "conv1.bias", (8,), (8,)),
    ("bn1.weight", "BATCH_NORM_SCALE", "bn1.scale", (8,), (8,)),
    ("layer4.12.downsample.bn.bias", "BATCH_NORM_BIAS",
     "layer4.12.downsample.bn.bias", (8,), (8,)),
    ("ln.weight", "LAYER_NORM_SCALE", "ln.scale", (6,), (6,)),
    ("block.3.ln2.bias", "LAYER_NORM_BIAS", "block.3.ln2.bias", (6,), (6,)),
    ("fc.weight", "WEIGHT", "fc.kernel", (10, 8), (8, 10)),
    ("fc12.bias", "BIAS", "fc12.bias", (10,), (10,)),
    ("lin.weight", "WEIGHT", "lin.kernel", (10, 8), (8, 10)),
    ("ff1.linear2.bias", "BIAS", "ff1.linear2.bias", (8,), (8,)),
    ("mhsa.query.weight", "ATTENTION_Q", "mhsa.query.kernel", (6, 4), (4, 6)),
    ("mhsa.key.weight", "ATTENTION_K", "mhsa.key.kernel", (6, 4), (4, 6)),
    ("mhsa.value.weight", "ATTENTION_V", "mhsa.value.kernel", (6, 4), (4, 6)),
    ("mhsa.out.weight", "ATTENTION_OUT", "mhsa.out.kernel", (6, 4), (4, 6)),
    ("mhsa.key.bias", "ATTENTION_BIAS", "mhsa.key.bias", (6,), (6,)),
    ("mhsa.qs.weight", "WEIGHT", "mhsa.qs.scale", (4,), (4,)),
    ("conv_patch.weight", "CONV_WEIGHT", "conv_patch.kernel", (8, 3, 5, 7),
     (5, 7, 3, 8)),
    ("embedding.weight", "EMBEDDING", "embedding.embedding", (9, 4), (9, 4)),
    ("up.0.upconv.weight", "CONV_WEIGHT", "up.0.upconv.kernel", (8, 3, 5, 7),
     (5, 7, 8, 3)),
    ("lstms.0.lstm.bias_hh_l0", "BIAS", "lstms.0.lstm.bias_hh_l0", (8,), (8,)),
]  # fmt: skip
NAMES = [row[0] for row in TABLE]


def values():
    random = np.random.default_rng(0)
    return {
        name: random.standard_normal(shape).astype(np.float32)
        for name, _, _, shape, _ in TABLE
    }


def at(tree, path):
    for part in path.split("."):
        tree = tree[part]
    return tree


@pytest.mark.parametrize("row", TABLE, ids=NAMES)
def test_types_are_a_table(row):
    assert params.parameter_type(row[0]) is ParameterType[row[1]]


@pytest.mark.parametrize("row", TABLE, ids=NAMES)
def test_jax_has_the_same_path_and_its_own_layout(row):
    name, _, path, _, shape = row
    value = values()[name]
    moved = at(params.to_jax(values()), path)
    assert moved.shape == shape
    # Written out by index: [out, in, *kernel] here, [*kernel, in, out] there.
    for index in np.ndindex(value.shape):
        mirrored = index
        if name.endswith("upconv.weight"):
            mirrored = (*index[2:], *index[:2])
        elif value.ndim > 1 and name != "embedding.weight":
            mirrored = (*index[2:], *index[1::-1])
        assert moved[mirrored] == value[index]


def test_weights_that_jax_keeps_as_pytorch_does():
    name = "lstm.weight_ih_l0_reverse"
    value = np.arange(24, dtype=np.float32).reshape(8, 3)
    tree = params.to_jax({name: value})
    np.testing.assert_array_equal(at(tree, name), value)
    np.testing.assert_array_equal(params.from_jax(tree)[name], value)
    assert params.parameter_type(name) is ParameterType.WEIGHT


def test_there_and_back_is_the_same():
    before = values()
    after = params.from_jax(params.to_jax(before))
    assert after.keys() == before.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)
    again = params.to_jax(after)
    np.testing.assert_array_equal(
        at(again, "conv1.kernel"), before["conv1.weight"].transpose(2, 3, 1, 0)
    )


def test_shapes_from_jax_are_those_of_pytorch():
    tree = {}
    for _, _, path, _, shape in TABLE:
        node = tree
        for part in path.split(".")[:-1]:
            node = node.setdefault(part, {})
        node[path.rpartition(".")[2]] = types.SimpleNamespace(shape=shape)
    assert params.shapes_from_jax(tree) == {row[0]: row[3] for row in TABLE}


def test_shapes_in_jax_are_those_of_its_arrays():
    tree = params.to_jax(values())
    for name, _, path, shape, _ in TABLE:
        assert params.shape_in_jax(name, shape) == at(tree, path).shape


def test_tree_like_jax_carries_values_of_any_kind():
    tree = params.tree_like_jax({"fc.weight": "w", "layer1.0.bn1.bias": None})
    assert tree == {"fc": {"kernel": "w"}, "layer1": {"0": {"bn1": {"bias": None}}}}


@pytest.mark.parametrize(
    "name",
    [
        "weird.weight",
        "weight",
        "conv1.kernel",
        "convout.weight",
        "convolution.weight",
        "conv1.gamma",
        "bn1.running_mean",
        "0.weight",
        "fcx.weight",
        "Conv.weight",
        "",
    ],
)
def test_a_name_without_a_rule_is_an_error_that_says_what_to_do(name):
    with pytest.raises(KeyError, match="add a row to `rules`") as caught:
        params.rule(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    "tree", [{"odd": {"kernel": 0}}, {"conv1": {"scale": 0}}, {"bn1": {"kernel": 0}}]
)
def test_a_jax_leaf_that_its_layer_does_not_have_is_an_error(tree):
    with pytest.raises(KeyError, match="add a row to `rules`"):
        params.from_jax(tree)


def test_statistics_there_and_back():
    flat = {
        "bn1.running_mean": np.array([1.0, 2.0], np.float32),
        "bn1.running_var": np.array([3.0, 4.0], np.float32),
        "bn1.num_batches_tracked": np.array(5, np.int64),
        "layer1.0.bn2.running_mean": np.array([6.0], np.float32),
    }
    tree = params.statistics_to_jax(flat)
    assert tree["bn1"]["count"].dtype == np.int32
    assert tree["bn1"]["count"] == 5
    np.testing.assert_array_equal(tree["bn1"]["var"], [3.0, 4.0])
    np.testing.assert_array_equal(tree["layer1"]["0"]["bn2"]["mean"], [6.0])
    back = params.statistics_from_jax(tree)
    assert back.keys() == flat.keys()
    for name, value in flat.items():
        np.testing.assert_array_equal(back[name], value)


def test_initial_statistics_are_mean_0_variance_1_and_count_0():
    def leaf(shape, dtype=np.float32):
        return types.SimpleNamespace(shape=shape, dtype=dtype)

    shapes = {
        "layer1": {"0": {"bn1": {"mean": leaf((3,)), "var": leaf((3,))}}},
        "bn1": {"mean": leaf((2,)), "count": leaf((), np.int32)},
    }
    tree = params.initial_statistics(shapes)
    np.testing.assert_array_equal(tree["layer1"]["0"]["bn1"]["mean"], np.zeros(3))
    np.testing.assert_array_equal(tree["layer1"]["0"]["bn1"]["var"], np.ones(3))
    np.testing.assert_array_equal(tree["bn1"]["mean"], np.zeros(2))
    assert (tree["bn1"]["count"], tree["bn1"]["count"].dtype) == (0, np.int32)


# Initial values.

LAWS = (
    (r"(.*\.)?bn3\.weight", Constant(8.0)),
    (r"(.*\.)?bn\d*\.weight", Constant(1.0)),
    (r"fc\.weight", Normal(0.01)),
)
SHAPES = {"bn1.weight": (4,), "layer1.0.bn3.weight": (2,), "fc.weight": (10, 200)}


def test_first_row_that_fits_gives_the_law():
    initial = params.initial(LAWS, SHAPES, (1, 2))
    np.testing.assert_array_equal(initial["bn1.weight"], np.ones(4))
    np.testing.assert_array_equal(initial["layer1.0.bn3.weight"], [8.0, 8.0])
    assert initial["fc.weight"].shape == (10, 200)
    assert initial["fc.weight"].std() == pytest.approx(0.01, rel=0.07)


def test_values_depend_on_name_and_seed_but_not_on_order():
    row = ((".*", Normal(1.0)),)
    shapes = {"conv1.weight": (5, 5), "conv2.weight": (5, 5)}
    one = params.initial(row, shapes, (1, 2))
    turned = params.initial(row, dict(reversed(shapes.items())), (1, 2))
    for name in shapes:
        np.testing.assert_array_equal(one[name], turned[name])
    assert not np.array_equal(one["conv1.weight"], one["conv2.weight"])
    for seed in [(1, 3), (2, 2), (0, 2)]:
        other = params.initial(row, shapes, seed)
        assert not np.array_equal(one["conv1.weight"], other["conv1.weight"])


def test_a_parameter_without_a_law_is_an_error():
    with pytest.raises(KeyError, match="what the initial value of 'fc.bias' is"):
        params.initial(LAWS, {"fc.bias": (3,)}, (1, 2))
