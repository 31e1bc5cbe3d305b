"""Every submission in the repository keeps the contract and learns."""

import inspect
import json
from pathlib import Path

import linear_workload as linear
import numpy as np
import pytest
from test_adapters import mean_loss, start_loss

ARGUMENTS = {
    "get_batch_size": "workload_name",
    "init_optimizer_state": "workload model_params model_state hyperparameters rng",
    "data_selection": "workload input_queue optimizer_state current_param_container "
    "model_state hyperparameters global_step rng",
    "update_params": "workload current_param_container current_params_types "
    "model_state hyperparameters batch loss_type optimizer_state eval_results "
    "global_step rng",
}
FILES = sorted(
    path
    for folder in ("reference_algorithms/*", "submissions/*", "submissions/*/*")
    for path in Path().glob(f"{folder}/*.py")
    if path.stem in ("jax", "pytorch")
)


def test_every_folder_is_seen():
    assert len(FILES) == 4 * 2 + 2 + 2


@pytest.mark.parametrize("path", FILES, ids=str)
def test_submission_keeps_the_contract_and_learns(path):
    submission = linear.load(str(path.parent), path.stem)
    for name, arguments in ARGUMENTS.items():
        function = getattr(submission, name)
        assert list(inspect.signature(function).parameters) == arguments.split()
    assert submission.get_batch_size("imagenet_resnet") in (128, 1024)
    points = path.parent / "default_hyperparameters.json"
    hp = None
    if points.exists():
        hp = linear.hyperparameters(**json.loads(points.read_text())[0])
    workload = linear.make_workload(path.stem)
    got = linear.train(submission, workload, path.stem, hp)
    assert mean_loss(got) < start_loss()


def test_templates_make_the_same_steps_of_plain_gradient_descent():
    results = [
        linear.train(
            linear.load("submissions/template", framework),
            linear.make_workload(framework, batch_norm=True),
            framework,
        )
        for framework in ("pytorch", "jax")
    ]
    for name, value in results[0].items():
        np.testing.assert_allclose(results[1][name], value, rtol=1e-5, atol=1e-6)
