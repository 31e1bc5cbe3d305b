"""A submission changes `weights` of a batch: what is 0 then counts nowhere."""

import copy
from typing import Any

import jax
import numpy as np
import pytest
import torch
from parity import pairs

from algorithmic_efficiency.backends.pytorch_weights import RealWeights

NAME = "imagenet_resnet_mini"


def by_index(batch: Any) -> Any:
    batch["weights"][5:] = 0
    return batch


def by_slice(batch: Any) -> Any:
    batch["weights"][4:][1:].zero_()
    return batch


def by_product(batch: Any) -> Any:
    batch["weights"] *= (torch.arange(8) < 5).float()
    return batch


def by_data(batch: Any) -> Any:
    batch["weights"].data[5:] = 0
    return batch


def by_numpy(batch: Any) -> Any:
    batch["weights"].numpy()[5:] = 0
    return batch


def in_a_copy(batch: Any) -> Any:
    return by_index(copy.copy(batch))


def in_a_deep_copy(batch: Any) -> Any:
    return copy.deepcopy(by_index(batch))


def by_another_tensor(batch: Any) -> Any:
    return {**batch, "weights": (torch.arange(8) < 5).float()}


def in_a_clone(batch: Any) -> Any:
    batch["weights"] = batch["weights"].clone().to("cpu")
    return by_index(batch)


def in_jax(batch: Any) -> Any:
    return {**batch, "weights": batch["weights"].at[5:].set(0)}


def half_of_it(batch: Any) -> Any:
    return {key: value[:5] for key, value in batch.items()}


IN_PYTORCH = (
    by_index,
    by_slice,
    by_product,
    by_data,
    by_numpy,
    in_a_copy,
    in_a_deep_copy,
    by_another_tensor,
    in_a_clone,
    half_of_it,
)


def updated(made: Any, params: Any, batch: Any, state: Any) -> Any:
    return made.model_fn(params, batch, state, pairs.TRAIN, None, True)


compiled = jax.jit(updated, static_argnums=0)
CASES = [("jax", in_jax), *(("pytorch", change) for change in IN_PYTORCH)]


@pytest.mark.parametrize(("framework", "change"), CASES)
def test_what_is_0_afterwards_counts_nowhere(framework: str, change: Any) -> None:
    statistics = {}
    for key, padded in (("placed", 3), ("changed", 0)):
        made, params, state = pairs.with_weights(NAME, framework)
        batch = made.place(pairs.random_batch(made, size=8, padded=padded))
        forward = compiled if framework == "jax" else updated
        if key == "changed":
            if framework == "pytorch":
                # As of a submission that looks at the loss first.
                made.model_fn(params, batch, state, pairs.TRAIN, None, False)
            batch = change(batch)
        outputs, state = forward(made, params, batch, state)
        loss = made.loss_fn(batch["targets"], outputs, batch["weights"])
        assert float(loss["n_valid_examples"]) == 5
        backend = pairs.backend(framework)
        statistics[key] = backend.canonical(params, state)
    for name, value in statistics["placed"].items():
        np.testing.assert_allclose(
            statistics["changed"][name], value, rtol=1e-4, atol=1e-5, err_msg=name
        )


@pytest.mark.parametrize("change", [by_index, by_slice, by_product, by_another_tensor])
def test_a_gpu_is_not_asked_but_for_changed_weights(change: Any) -> None:
    """The part that serves a GPU; it looks at no value."""
    real, batch = RealWeights(), {"weights": torch.ones(8)}
    real.remember(batch["weights"])
    assert real.unchanged(batch["weights"])
    assert real.unchanged(batch["weights"].to("cpu"))  # the same tensor
    copies = [batch["weights"].clone(), copy.deepcopy(batch["weights"])]
    copies += [batch["weights"][:4], batch["weights"].view(8)]
    assert not any(map(real.unchanged, copies))
    assert not real.unchanged(change(batch)["weights"])
    assert not any(map(real.unchanged, copies))
    with torch.inference_mode():
        real.remember(weights := torch.ones(8))
    assert not real.unchanged(weights)
