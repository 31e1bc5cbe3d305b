"""Every submission in the repository keeps the contract and learns."""

import json

import linear_workload as linear
import numpy as np
import pytest
from test_adapters import mean_loss, start_loss

from algorithmic_efficiency import registry
from algorithmic_efficiency.errors import TrainingCompleteError

FILES = sorted(
    path.relative_to(registry.ROOT)
    for folder in ("reference_algorithms", "submissions", "submissions/examples")
    for path in (registry.ROOT / folder).glob("*/*.py")
    if path.stem in ("jax", "pytorch")
)


def test_every_folder_is_seen():
    assert len(FILES) == 4 * 2 + 2 + 2 + 2 + 2 + 2


@pytest.mark.parametrize("path", FILES, ids=str)
def test_submission_keeps_the_contract_and_learns(path):
    submission = linear.load(path.parent, path.stem)
    assert submission.get_batch_size("imagenet_resnet") in (128, 1024)
    points = registry.ROOT / path.parent / "default_hyperparameters.json"
    hp = None
    if points.exists():
        hp = linear.hyperparameters(**json.loads(points.read_text())[0])
    workload = linear.make_workload(path.stem)
    got = linear.train(submission, workload, path.stem, hp)
    assert mean_loss(got) < start_loss()


@pytest.mark.parametrize("folder", ["template", "examples/micro_batches"])
def test_frameworks_make_the_same_steps_of_plain_gradient_descent(folder):
    results = [
        linear.train(
            linear.load(f"submissions/{folder}", framework),
            linear.make_workload(framework, batch_norm=True),
            framework,
        )
        for framework in ("pytorch", "jax")
    ]
    for name, value in results[0].items():
        np.testing.assert_allclose(results[1][name], value, rtol=1e-5, atol=1e-6)


def test_examples_of_the_whole_api_evaluate_the_same_average():
    hp = linear.hyperparameters(
        learning_rate=0.1, momentum=0.9, average_decay=0.9, label_smoothing=0.1
    )
    results = {}
    for framework in ("pytorch", "jax"):
        algorithm = linear.load("submissions/examples/whole_api", framework)
        workload = linear.make_workload(framework, batch_norm=True)
        trained = linear.train(algorithm, workload, framework, hp)
        ended = linear.train(algorithm, workload, framework, hp, prepare=True)
        results[framework] = trained, ended
        assert any(not np.allclose(trained[n], ended[n], rtol=1e-3) for n in ended)
        with pytest.raises(TrainingCompleteError):
            linear.train(algorithm, workload, framework, hp, reached=True)
    for ours, theirs in zip(results["pytorch"], results["jax"], strict=True):
        for name, value in ours.items():
            np.testing.assert_allclose(theirs[name], value, rtol=1e-5, atol=1e-6)
