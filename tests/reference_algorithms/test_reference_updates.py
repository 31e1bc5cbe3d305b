"""The four algorithms against their equations, and PyTorch against JAX."""

import functools
import json
import math

import linear_workload as linear
import numpy as np
import pytest

from algorithmic_efficiency import registry

FRAMEWORKS = ("pytorch", "jax")
SGD = {
    "learning_rate": 0.3,
    "one_minus_beta1": 0.1,
    "weight_decay": 0.02,
    "warmup_factor": 0.3,
}
ADAM = {**SGD, "learning_rate": 0.05, "beta2": 0.95, "weight_decay": 0.5}
ALGORITHMS = {"adamw": ADAM, "nadamw": ADAM, "momentum": SGD, "nesterov": SGD}
OPTIONS = ({}, {"grad_clip": 0.5, "label_smoothing": 0.1, "dropout_rate": 0.0})


def gradients(theta, batch, hp):
    """Of the mean over real examples, for the rows of the weight and the bias."""
    scale = 1.0 - hp.get("dropout_rate", 0.25)
    real = batch["weights"] != 0
    inputs = np.c_[batch["inputs"], np.ones(len(real))][real].astype(np.float64)
    logits = scale * inputs @ theta.T
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    smoothing = hp.get("label_smoothing", 0.0)
    labels = (1 - smoothing) * np.eye(3)[batch["targets"][real]] + smoothing / 3
    gradient = scale * (probabilities - labels).T @ inputs / real.sum()
    norm = np.linalg.norm(gradient)
    return gradient * min(1.0, hp.get("grad_clip", math.inf) / (norm + 1e-6)), norm


def adam_update(theta, g, moments, t, hp, *, nesterov):
    beta1, beta2 = 1 - hp["one_minus_beta1"], hp["beta2"]
    m = moments["m"] = beta1 * moments["m"] + (1 - beta1) * g
    v = moments["v"] = beta2 * moments["v"] + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    if nesterov:
        m_hat = beta1 * m / (1 - beta1 ** (t + 1)) + (1 - beta1) * g / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return m_hat / (np.sqrt(v_hat) + 1e-8) + hp["weight_decay"] * theta


def sgd_update(theta, g, moments, t, hp, *, nesterov):
    momentum = 1 - hp["one_minus_beta1"]
    g = g + hp["weight_decay"] * theta
    m = moments["m"] = momentum * moments["m"] + g
    return g + momentum * m if nesterov else m


def rate_factor(algorithm, step):
    """Warm-up over the first three of ten steps, then down to 0."""
    if step < 3:
        return step / 3
    progress = (step - 3) / 7
    if algorithm in ("adamw", "nadamw"):
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 1 - progress


def expected(algorithm, hp):
    """Ten updates in float64 from the initial values; also the gradient norms."""
    workload = linear.make_workload("pytorch")
    params, _ = workload.init_model_fn(np.array([1, 2], np.int32))
    weight, bias = (p.detach().numpy().astype(np.float64) for p in params.parameters())
    theta = np.c_[weight, bias]
    moments = {"m": np.zeros_like(theta), "v": np.zeros_like(theta)}
    update = functools.partial(
        adam_update if "adam" in algorithm else sgd_update,
        nesterov=algorithm in ("nadamw", "nesterov"),
    )
    norms = []
    for step, batch in enumerate(linear.make_batches()):
        g, norm = gradients(theta, batch, hp)
        norms.append(norm)
        direction = update(theta, g, moments, step + 1, hp)
        rate = hp["learning_rate"] * rate_factor(algorithm, step)
        theta = theta - rate * direction
    return {"fc.weight": theta[:, :-1], "fc.bias": theta[:, -1]}, norms


@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "all_options"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_ten_updates_follow_the_equations(framework, algorithm, options):
    hp = {**ALGORITHMS[algorithm], **options}
    want, norms = expected(algorithm, hp)
    assert "grad_clip" not in hp or max(norms) > hp["grad_clip"]
    got = linear.train(
        linear.load(f"reference_algorithms/{algorithm}", framework),
        linear.make_workload(framework),
        framework,
        linear.hyperparameters(**hp),
    )
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_both_frameworks_make_the_same_ten_updates_with_batch_norm(algorithm):
    results = [
        linear.train(
            linear.load(f"reference_algorithms/{algorithm}", framework),
            linear.make_workload(framework, batch_norm=True),
            framework,
            linear.hyperparameters(**ALGORITHMS[algorithm]),
        )
        for framework in FRAMEWORKS
    ]
    pytorch, jax = results
    assert pytorch.keys() == jax.keys()
    assert pytorch["bn1.num_batches_tracked"] == jax["bn1.num_batches_tracked"] == 10
    for name, value in pytorch.items():
        np.testing.assert_allclose(jax[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_default_point_lies_in_the_search_space(algorithm):
    folder = registry.ROOT / "reference_algorithms" / algorithm
    space = json.loads((folder / "tuning_search_space.json").read_text())
    (point,) = json.loads((folder / "default_hyperparameters.json").read_text())
    assert set(ALGORITHMS[algorithm]) <= set(point) <= set(space)
    for name, value in point.items():
        row = space[name]
        points = row.get("feasible_points")
        if points:
            assert value in points, name
        else:
            assert row["min"] <= value <= row["max"], name
            assert row["scaling"] == "log"
