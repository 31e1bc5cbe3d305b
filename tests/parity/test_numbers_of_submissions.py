"""Label smoothing and dropout rates in every form that a submission may have."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen
from parity import pairs

from algorithmic_efficiency import losses, registry
from algorithmic_efficiency.backends.jax_ops import JaxOps
from algorithmic_efficiency.backends.pytorch_ops import TorchOps
from algorithmic_efficiency.nn.jax import Dropout
from algorithmic_efficiency.workload import Workload

KEY = jax.random.key(3)
LOGITS = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
TARGETS = np.array([0, 4, 2, 2, 1, 3], np.int32)
BITS = (LOGITS > 0.5).astype(np.float32)
LOSSES = {
    "softmax_cross_entropy": TARGETS,
    "sigmoid_cross_entropy": BITS,
}
FORMS = {
    "float": float,
    "np.float32": np.float32,
    "np.float64": np.float64,
    "numpy array": np.array,
    "jax array": jnp.asarray,
    "jax float16 array": lambda x: jnp.asarray(x, jnp.float16),
}
TORCH_FORMS = {**dict(list(FORMS.items())[:4]), "tensor": torch.tensor}
SMALL = {
    "imagenet_resnet_mini": {"width": 4, "stage_sizes": (1,)},
    "librispeech_conformer_mini": {"features": 16, "channels": 4, "heads": 2},
    "librispeech_deepspeech_mini": {"features": 16, "channels": 4, "lstm_layers": 1},
}


@functools.cache
def small(name: str, framework: str) -> tuple[Workload, Any, Any, Any]:
    """Returns (workload, params, state, batch) of few channels, with SpecAugment."""
    definition = registry.get(name)
    changed = {**definition.model, **SMALL[name]}
    definition = dataclasses.replace(definition, model=changed)
    backend = pairs.backend(framework)
    made = Workload(definition, backend, pairs.NO_DATA)
    batch = made.place(pairs.random_batch(made, size=4, padded=1))
    return made, *made.init_model_fn(backend.make_rng((1, 2))), batch


def in_jax(loss_type: str, smoothing: Any, logits: Any = LOGITS) -> Any:
    return losses.masked_loss(
        loss_type,
        JaxOps(),
        jnp.asarray(LOSSES[loss_type]),
        jnp.asarray(logits),
        label_smoothing=smoothing,
    )["per_example"]


@pytest.mark.parametrize("form", [*FORMS, "traced"])
@pytest.mark.parametrize("value", [0.0, 0.125, 1])
@pytest.mark.parametrize("loss_type", LOSSES)
def test_label_smoothing_of_any_form_in_jax(
    loss_type: str, value: float, form: str
) -> None:
    expected = in_jax(loss_type, value)
    if form == "traced":
        got = jax.jit(in_jax, static_argnums=0)(loss_type, value)
    else:
        got = in_jax(loss_type, FORMS[form](value))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    if value == 0.0:
        np.testing.assert_array_equal(in_jax(loss_type, None), expected)


@pytest.mark.parametrize("form", TORCH_FORMS)
@pytest.mark.parametrize("value", [0.0, 0.125])
@pytest.mark.parametrize("loss_type", LOSSES)
def test_label_smoothing_of_any_form_in_pytorch(
    loss_type: str, value: float, form: str
) -> None:
    targets, logits = torch.tensor(LOSSES[loss_type]), torch.tensor(LOGITS)
    compute = functools.partial(
        losses.masked_loss, loss_type, TorchOps(), targets, logits
    )
    got = compute(label_smoothing=TORCH_FORMS[form](value))["per_example"]
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got, in_jax(loss_type, value), rtol=1e-5)
    if value == 0.0:
        assert torch.equal(compute(label_smoothing=None)["per_example"], got)


def test_a_traced_smoothing_of_0_leaves_an_impossible_class_alone() -> None:
    logits = LOGITS.copy()
    logits[:, 0] = -np.inf
    loss_type = "softmax_cross_entropy"

    def loss(logits: Any, smoothing: Any) -> Any:
        return in_jax(loss_type, smoothing, logits)[1:].sum()

    known = jax.value_and_grad(loss)(logits, 0.0)
    traced = jax.jit(jax.value_and_grad(loss))(logits, 0.0)
    np.testing.assert_array_equal(traced[0], known[0])
    np.testing.assert_allclose(traced[1], known[1], atol=1e-7)
    slope = jax.grad(loss, argnums=1)(LOGITS, 0.0)
    expected = loss(LOGITS, 1.0) - loss(LOGITS, 0.0)  # the loss is linear in it
    np.testing.assert_allclose(slope, expected, rtol=1e-5)


@pytest.mark.parametrize("smoothing", ["0.1", np.array([0.1, 0.2]), [0.1]])
def test_what_is_no_number_is_an_error_in_a_sentence(smoothing: Any) -> None:
    with pytest.raises(ValueError, match=r"label_smoothing=.*expected one number"):
        in_jax("softmax_cross_entropy", smoothing)
    for framework in pairs.FRAMEWORKS:
        made, params, state, batch = small("librispeech_deepspeech_mini", framework)
        for rate, match in ((smoothing, "expected one number"), (1.5, "from 0 to 1")):
            with pytest.raises(ValueError, match=match):
                made.model_fn(
                    params, batch, state, pairs.TRAIN, KEY, True, dropout_rate=rate
                )


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5])
def test_dropout_is_that_of_flax(rate: float) -> None:
    x = jnp.asarray(np.random.default_rng(1).normal(size=(64, 65)), jnp.float32)

    class Net(linen.Module):
        layer: Any

        @linen.compact
        def __call__(self, x: Any) -> Any:
            if self.layer is linen.Dropout:
                return linen.Dropout(rate)(x, deterministic=False)
            return Dropout()(x, rate)

    ours, theirs = (
        Net(layer).apply({}, x, rngs={"dropout": KEY})
        for layer in (Dropout, linen.Dropout)
    )
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("rate", [0, 0.0, 0.3, 0.9, 1, 1.0])
def test_dropout_at_a_traced_rate_is_dropout(rate: float, dtype: Any) -> None:
    x = jnp.asarray(LOGITS, dtype)

    def dropped(x: Any, rate: Any) -> Any:
        return Dropout().apply({}, x, rate, rngs={"dropout": KEY})

    def gradients(x: Any, rate: Any) -> Any:
        return jax.grad(lambda x: dropped(x, rate).astype("float32").sum())(x)

    for function in (dropped, gradients):
        known, traced = function(x, float(rate)), jax.jit(function)(x, rate)
        assert known.dtype == traced.dtype == dtype
        np.testing.assert_array_equal(traced, known)
        assert np.isfinite(np.asarray(traced, np.float32)).all()
    if rate in (0, 1):
        np.testing.assert_array_equal(dropped(x, float(rate)), x if rate == 0 else 0)
    slope = jax.grad(lambda rate: dropped(LOGITS, rate).sum())(float(rate))
    assert np.isfinite(slope)


def test_dropout_at_a_known_rate_of_0_or_1_draws_nothing() -> None:
    for rate in (0.0, 1.0):
        program = jax.make_jaxpr(lambda x, r=rate: Dropout().apply({}, x, r))(LOGITS)
        assert "random" not in str(program)


@pytest.mark.parametrize("name", SMALL)
def test_a_jitted_step_takes_traced_numbers_and_compiles_once(name: str) -> None:
    made, params, state, batch = small(name, "jax")
    traces = []

    def step(params: Any, rng: Any, smoothing: Any, rate: Any) -> Any:
        traces.append(rate)

        def loss(params: Any) -> Any:
            outputs, _ = made.model_fn(
                params, batch, state, pairs.TRAIN, rng, True, dropout_rate=rate
            )
            result = made.loss_fn(batch["targets"], outputs, None, smoothing)
            return result["summed"] / result["n_valid_examples"]

        return jax.value_and_grad(loss)(params) if traced else loss(params)

    traced = True
    compiled = jax.jit(step)
    points = ((0.0, 0.0), (0.1, 0.4), (0.2, 0.9))
    results = {rate: compiled(params, KEY, a, rate) for a, rate in points}
    assert len(traces) == 1
    for _, gradients in results.values():
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradients))
    traced = False
    known = jax.jit(functools.partial(step, smoothing=0.1, rate=0.4))(params, KEY)
    np.testing.assert_allclose(results[0.4][0], known, rtol=1e-5)
    if "librispeech" in name:  # ResNet has no dropout
        assert float(results[0.0][0]) != float(results[0.4][0])


@pytest.mark.parametrize("form", TORCH_FORMS)
def test_dropout_rate_of_any_form_in_pytorch(form: str) -> None:
    made, module, state, batch = small("librispeech_conformer_mini", "pytorch")

    def logits(rate: Any) -> Any:
        torch.manual_seed(0)
        return made.model_fn(
            module, batch, state, pairs.TRAIN, None, False, dropout_rate=rate
        )[0][0]

    for rate in (0.0, 0.5):
        assert torch.equal(logits(TORCH_FORMS[form](rate)), logits(rate))
    assert torch.equal(logits(None), logits(0.1))
    assert not torch.equal(logits(0.0), logits(0.5))


def test_switches_must_be_known_when_a_step_is_compiled() -> None:
    made, params, state, batch = small("imagenet_resnet_mini", "jax")

    def forward(update: Any, running: Any) -> Any:
        return made.model_fn(params, batch, state, pairs.TRAIN, KEY, update, running)[0]

    with pytest.raises(ValueError, match="update_batch_norm as a traced value"):
        jax.jit(functools.partial(forward, running=None))(True)
    with pytest.raises(ValueError, match="use_running_average_bn as a traced value"):
        jax.jit(functools.partial(forward, True))(True)


def test_training_without_an_rng_is_an_error_in_a_sentence() -> None:
    made, params, state, batch = small("librispeech_deepspeech_mini", "jax")
    with pytest.raises(ValueError, match=r"rng=None in mode TRAIN.*dropout"):
        made.model_fn(params, batch, state, pairs.TRAIN, None, True)
    evaluate = functools.partial(made.model_fn, mode=pairs.EVAL, rng=None)
    jax.eval_shape(
        lambda *x: evaluate(*x, update_batch_norm=False), params, batch, state
    )
