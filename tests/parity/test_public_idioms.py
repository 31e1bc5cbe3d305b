"""What public submissions do with the members of a workload, in the forms they use."""

from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from parity import pairs

from algorithmic_efficiency import losses
from algorithmic_efficiency.numpy_ops import NumpyOps

NAME = "imagenet_resnet_mini"
PASSES = ((pairs.TRAIN, True), (pairs.TRAIN, False), (pairs.EVAL, False))
CONTAINERS = {
    "plain": lambda params, state, batch: (params, state, batch),
    "frozen": lambda *trees: tuple(map(flax.core.freeze, trees)),
    "without weights": lambda params, state, batch: (
        params,
        state,
        {key: value for key, value in batch.items() if key != "weights"},
    ),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("key", [jax.random.key, jax.random.PRNGKey, lambda seed: None])
def test_a_pass_takes_any_key_and_container(container: str, key: Any) -> None:
    made, params, state = pairs.started(NAME, "jax")
    batch = made.place(pairs.random_batch(made, size=4, padded=1))
    trees = CONTAINERS[container](params, state, batch)
    for mode, update in PASSES:

        def forward(params: Any, state: Any, batch: Any, how: Any) -> Any:
            return made.model_fn(params, batch, state, how[0], key(0), how[1])

        outputs, moved = jax.eval_shape(
            lambda *x, how=(mode, update): forward(*x, how), *trees
        )
        assert outputs.shape == (4, 10)
        shapes = [x.shape for x in jax.tree.leaves(moved)]
        assert shapes == [x.shape for x in jax.tree.leaves(state)]


def test_recalibration_takes_a_frozen_state() -> None:
    made, params, state = pairs.started("librispeech_deepspeech_mini", "jax")
    frozen = flax.core.freeze(state)
    same = made.recalibrate(params, frozen, [])
    for ours, theirs in zip(*map(jax.tree.leaves, (same, state)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("framework", pairs.FRAMEWORKS)
@pytest.mark.parametrize("form", ["index", "one hot"])
@pytest.mark.parametrize("size", [257, 1001])
def test_half_precision_logits_have_a_loss_of_float32(
    framework: str, form: str, size: int
) -> None:
    """In bfloat16, a sum of more than 256 ones is wrong."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(size, 10)).astype(np.float32)
    targets = random.integers(0, 10, size)
    if form == "one hot":
        targets = np.eye(10, dtype=np.int32)[targets]
    if framework == "jax":
        tensors = jnp.asarray(targets), jnp.asarray(logits, jnp.bfloat16)
    else:
        tensors = torch.tensor(targets), torch.tensor(logits, dtype=torch.bfloat16)
    ops = pairs.backend(framework).ops
    loss = losses.masked_loss("softmax_cross_entropy", ops, *tensors)
    exact = losses.masked_loss("softmax_cross_entropy", NumpyOps(), targets, logits)
    assert float(loss["n_valid_examples"]) == size
    assert float(loss["summed"]) == pytest.approx(float(exact["summed"]), rel=1e-3)


@pytest.mark.parametrize("framework", pairs.FRAMEWORKS)
def test_half_precision_logits_of_speech(framework: str) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(2, 20, 5)).astype(np.float32)
    labels = random.integers(1, 5, (2, 4)).astype(np.float32)
    case = (labels, np.zeros((2, 4), "f4")), (logits, np.zeros((2, 20), "f4"))
    exact = losses.masked_loss("ctc", NumpyOps(), *case)
    if framework == "jax":
        targets, outputs = jax.tree.map(jnp.asarray, case)
        outputs = jax.tree.map(lambda x: x.astype(jnp.bfloat16), outputs)
    else:
        targets, outputs = jax.tree.map(torch.tensor, case)
        outputs = jax.tree.map(torch.Tensor.bfloat16, outputs)
    ops = pairs.backend(framework).ops
    loss = losses.masked_loss("ctc", ops, targets, outputs)
    assert float(loss["summed"]) == pytest.approx(float(exact["summed"]), rel=1e-2)
