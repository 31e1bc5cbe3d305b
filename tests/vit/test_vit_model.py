"""The Vision Transformer is one function in both frameworks and in plain NumPy."""

import functools

import jax
import numpy as np
import pytest
import torch
from vit_reference import logits as reference

from algorithmic_efficiency import params, spec
from workloads.imagenet_vit import jax as vit_jax
from workloads.imagenet_vit import pytorch as vit_pytorch
from workloads.imagenet_vit.positions import positions
from workloads.imagenet_vit.workload import BASE

SMALL = {
    "num_classes": 5,
    "size": 12,
    "patch": 4,
    "width": 16,
    "depth": 2,
    "heads": 2,
    "hidden": 24,
}
CHANGES = {  # two of the variants at once: compiling is what takes time
    "base": {},
    "post_ln": {"post_layer_norm": True, "depth": 1},
    "glu_map": {"gated": True, "attention_pooling": True, "depth": 1},
}
WAYS = {"gated": "gated", "post_layer_norm": "post", "attention_pooling": "pooled"}


def torch_shapes(arguments):
    with torch.device("meta"):
        model = vit_pytorch.Model(**arguments)
    return {name: tuple(p.shape) for name, p in model.named_parameters()}


@functools.cache
def values(name):
    """Weights far from the initial ones: no zeros, no scale of 1."""
    random = np.random.default_rng(1)
    shapes = torch_shapes(SMALL | CHANGES[name])
    return {
        key: np.float32(random.normal(size=shape) / np.sqrt(np.prod(shape[1:])))
        for key, shape in shapes.items()
    }


@functools.cache
def images():
    random = np.random.default_rng(2)
    return random.normal(size=(3, 12, 12, 3)).astype(np.float32)


COTANGENT = np.random.default_rng(3).normal(size=(3, 5)).astype(np.float32)


@functools.cache
def torch_results(name):
    model = vit_pytorch.Model(**SMALL | CHANGES[name])
    model.load_state_dict({k: torch.from_numpy(v) for k, v in values(name).items()})
    outputs = model({"inputs": torch.from_numpy(images()).permute(0, 3, 1, 2)})
    (outputs * torch.from_numpy(COTANGENT)).sum().backward()
    gradients = {key: p.grad.numpy() for key, p in model.named_parameters()}
    return outputs.detach().numpy(), gradients


@functools.cache
def jax_results(name):
    model = vit_jax.Model(**SMALL | CHANGES[name])

    @jax.jit
    def run(weights):
        def objective(weights):
            outputs = model.apply({"params": weights}, {"inputs": images()})
            return (outputs * COTANGENT).sum(), outputs

        return jax.grad(objective, has_aux=True)(weights)

    gradients, outputs = run(params.to_jax(values(name), BASE.all_rules))
    return np.asarray(outputs), params.from_jax(gradients, BASE.all_rules)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("results", [torch_results, jax_results])
def test_outputs_are_those_of_plain_numpy(name, results):
    ways = {WAYS[key]: value for key, value in CHANGES[name].items() if key in WAYS}
    for image, found in zip(images(), results(name)[0], strict=True):
        expected = reference(values(name), image, patch=4, heads=2, **ways)
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", CHANGES)
def test_gradients_are_the_same_in_both_frameworks(name):
    (_, ours), (_, theirs) = torch_results(name), jax_results(name)
    assert ours.keys() == theirs.keys()
    for key, gradient in ours.items():
        scale = abs(theirs[key]).max()
        # The softmax does not see what is added to all keys: no gradient but rounding.
        least = 0 if key.endswith("key.bias") else 1e-4
        assert scale > least, key
        assert abs(gradient - theirs[key]).max() <= 2e-5 * max(scale, 1), key


def test_types_are_the_published_ones():
    kinds = [
        params.rule(name, BASE.all_rules).type for name in torch_shapes(BASE.model)
    ]
    kind = spec.ParameterType
    assert {each: kinds.count(each) for each in set(kinds)} == {
        kind.ATTENTION_Q: 12,
        kind.ATTENTION_K: 12,
        kind.ATTENTION_V: 12,
        kind.ATTENTION_OUT: 12,
        kind.ATTENTION_BIAS: 48,
        kind.LAYER_NORM_SCALE: 25,
        kind.LAYER_NORM_BIAS: 25,
        kind.CONV_WEIGHT: 1,
        kind.WEIGHT: 26,
        kind.BIAS: 27,
    }


def test_initial_values_are_the_published_ones():
    model = {**BASE.model, "depth": 1, "attention_pooling": True}
    flat = params.initial(BASE.initial, torch_shapes(model), (1, 2))
    limit = {
        "map.probe": np.sqrt(6 / 768),
        "map.attention.key.weight": np.sqrt(6 / 768),
        "blocks.0.attention.out.weight": np.sqrt(6 / 768),
        "blocks.0.mlp.linear1.weight": np.sqrt(6 / 1920),
    }
    for name, most in limit.items():
        assert 0.98 * most < abs(flat[name]).max() <= most * 1.0001
    for name, fan_in in (("conv_patch.weight", 768), ("linear.weight", 384)):
        assert flat[name].std() == pytest.approx(fan_in**-0.5, rel=0.02)
    assert 5e-7 < flat["blocks.0.mlp.linear2.bias"].std() < 2e-6
    assert not flat["linear_head.weight"].any() and (flat["ln.weight"] == 1).all()
    rest = [n for n in flat if n.endswith("bias") and ".mlp." not in n]
    assert len(rest) > 10 and not any(flat[name].any() for name in rest)


def test_each_place_has_a_code_of_its_own():
    code = positions(3, 16)
    assert code.shape == (9, 16) and code.dtype == np.float32
    assert len(np.unique(code.round(4), axis=0)) == 9
    # The sixth place is the third of the second row: column 2, row 1.
    slow = [1, 10_000 ** (-1 / 3), 10_000 ** (-2 / 3), 1e-4]
    angles = np.concatenate([np.multiply(2, slow), np.multiply(1, slow)])
    expected = [*np.sin(angles[:4]), *np.cos(angles[:4])]
    expected += [*np.sin(angles[4:]), *np.cos(angles[4:])]
    np.testing.assert_allclose(code[5], expected, rtol=1e-6)


@pytest.mark.parametrize("framework", ["pytorch", "jax"])
def test_dropout_is_in_training_only_and_a_rate_given_wins(framework):
    run = _torch_at if framework == "pytorch" else _jax_at
    evaluated = run(train=False, own=0.5)
    np.testing.assert_array_equal(evaluated, run(train=False, own=0.0, rate=0.9))
    np.testing.assert_array_equal(evaluated, run(train=True, own=0.5, rate=0.0))
    trained = run(train=True, own=0.5)
    assert abs(trained - evaluated).max() > 0.01
    # Where everything is dropped no image is left; the last layers go on.
    nothing = run(train=True, own=0.0, rate=1.0)
    np.testing.assert_allclose(nothing, nothing[:1].repeat(3, 0), rtol=1e-6)
    assert np.isfinite(nothing).all() and abs(nothing).max() > 0.01


def _torch_at(train, own, rate=None):
    model = vit_pytorch.Model(**SMALL, dropout_rate=own).train(train)
    model.load_state_dict({k: torch.from_numpy(v) for k, v in values("base").items()})
    x = torch.from_numpy(images()).permute(0, 3, 1, 2)
    return model({"inputs": x}, rate).detach().numpy()


def _jax_at(train, own, rate=None):
    model = vit_jax.Model(**SMALL | {"depth": 1}, dropout_rate=own)
    run = functools.partial(model.apply, train=train, dropout_rate=rate)
    weights = {"params": params.to_jax(values("base"), BASE.all_rules)}
    draws = {"dropout": jax.random.key(1)}
    return np.asarray(jax.jit(run)(weights, {"inputs": images()}, rngs=draws))
