"""Whole runs of the command in fresh processes, on real images, in both frameworks."""

import json

import pytest
from commands import FRAMEWORKS, NAME, ROOT, Command, rows, run_json


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_run_reaches_its_target_and_leaves_its_records(
    command: Command, framework: str
) -> None:
    done = command.run(
        f"--framework={framework}", "--experiment_name=a", limits=(0.3, 60, 0.11)
    )
    assert done.returncode == 0, done.stderr
    folder = command.trial("a", framework)
    run = run_json(folder)
    assert run["status"] == "target_reached"
    assert run["stop_reason"] == "targets_reached"
    last = done.stdout.strip().splitlines()[-1]
    assert last == f"Final {NAME} score: {run['score']:.6g}"

    clock = run["clock"]
    parts = [clock[k] for k in ("submission", "evaluation", "logging", "other")]
    assert sum(parts) == pytest.approx(clock["wall"], rel=0.01)
    assert run["scale"] == "mini"
    assert run["seed"] == 7

    evals = rows(folder / "eval_measurements.csv")
    reached = [r for r in evals if float(r["validation/accuracy"]) > 0.11]
    assert float(reached[0]["score"]) == pytest.approx(run["score"])
    assert set(evals[0]) == {
        "accumulated_eval_time",
        "accumulated_logging_time",
        "accumulated_submission_time",
        "global_step",
        "preemption_count",
        "score",
        "total_duration",
        *(
            f"{split}/{metric}"
            for split in ("train", "validation", "test")
            for metric in ("accuracy", "loss", "num_examples")
        ),
    }
    assert {r["validation/num_examples"] for r in evals} == {"1000"}
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    logged = rows(folder / "measurements.csv")
    assert any(row.get("grad_norm") for row in logged)
    hparams = json.loads((folder / "hparams.json").read_text())
    assert hparams == run["hyperparameters"]
    flags = json.loads((folder / "flags_0.json").read_text())
    assert flags["workload"] == NAME
    facts = json.loads((folder / "meta_data_0.json").read_text())
    assert facts["workload.step_hint"] > 0


def test_several_trials_and_studies(command: Command) -> None:
    space = command.folder / "space.json"
    space.write_text(
        json.dumps(
            {
                "learning_rate": {"min": 1e-4, "max": 1e-2, "scaling": "log"},
                "one_minus_beta1": {"feasible_points": [0.1]},
                "beta2": {"feasible_points": [0.99]},
                "weight_decay": {"feasible_points": [0.0, 0.1]},
                "warmup_factor": {"feasible_points": [0.05]},
            }
        )
    )
    done = command.run(
        f"--tuning_search_space={space}",
        "--num_tuning_trials=2",
        "--hparam_end_index=1",
        "--num_studies=2",
        "--experiment_name=many",
        "--max_global_steps=2",
        limits=(60, 60, 0.01),
    )
    assert done.returncode == 0, done.stderr
    found = sorted(command.folder.glob("many/study_*/*/trial_*/run.json"))
    assert [path.parts[-4] for path in found] == ["study_0", "study_1"]
    first, second = (json.loads(path.read_text()) for path in found)
    rates = [run["hyperparameters"]["learning_rate"] for run in (first, second)]
    assert rates[0] != rates[1]  # each study has points of its own
    assert first["score"] != second["score"]
    start = [rows(path.with_name("measurements.csv"))[0]["loss"] for path in found]
    assert start[0] != start[1]  # another study draws other numbers
    median = (first["score"] + second["score"]) / 2
    assert f"score: {median:.6g}" in done.stdout


BROKEN_STEP = """
from reference_algorithms.nadamw import pytorch as good
from reference_algorithms.nadamw.pytorch import *
def update_params(workload, current_param_container, current_params_types, model_state,
                  hyperparameters, batch, loss_type, optimizer_state, eval_results,
                  global_step, rng):
    {body}
    return optimizer_state, current_param_container, model_state
"""


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("next(current_param_container.parameters()).data.fill_(float('nan'))",
         "diverged", 0),
        ("raise RuntimeError('the optimizer broke')", "failed", 1),
    ],
)  # fmt: skip
def test_runs_that_go_wrong_say_so(
    command: Command, body: str, status: str, code: int
) -> None:
    path = command.folder / "broken_pytorch.py"
    path.write_text(BROKEN_STEP.format(body=body))
    space = ROOT / "reference_algorithms" / "nadamw" / "default_hyperparameters.json"
    done = command.run(
        f"--submission_path={path}",
        f"--tuning_search_space={space}",
        "--experiment_name=wrong",
        limits=(0, 60, 0.5),
    )
    assert done.returncode == code, done.stderr
    run = run_json(command.trial("wrong", "pytorch"))
    assert run["status"] == status
    assert run["score"] is None
    assert "Traceback" not in done.stderr
    if status == "diverged":
        assert "conv1.weight" in run["diverged"]
        assert run["global_step"] == 1  # the period is 0: each step is evaluated
        assert "score: inf" in done.stdout
    else:
        assert "the optimizer broke" in done.stderr
        text = (command.trial("wrong", "pytorch") / "traceback.txt").read_text()
        assert "broken_pytorch.py" in text
