"""Three steps of a submission on one workload, watched; the dry run's own process.

    python -m scoring.checker.rehearsal '{"submission": ..., "framework": ..., ...}'

Writes `rehearsal.json` (findings, and why it could not end if it could not) and
`end.npz` (all parameters and running statistics) into the folder `out` of the request.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from algorithmic_efficiency import registry, submission
from algorithmic_efficiency.backends import base, compilation_caches
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.errors import SubmissionError, UserError
from algorithmic_efficiency.runner import tuning
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.trainer import Trainer
from algorithmic_efficiency.runner.trial import NoRecords, Progress, Rules, run_trial
from algorithmic_efficiency.workload import Workload
from scoring.checker.surroundings import (
    forwards,
    harness_code,
    hooks,
    own_values,
    settings,
)
from scoring.checker.syntax import Finding
from scoring.checker.watch import Watch

STEPS = 3


class NoEvaluation:
    """A trainer that trains as always and whose evaluations take no time."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    def __getattr__(self, name: str) -> Any:
        """Return what the trainer has."""
        return getattr(self._trainer, name)

    def evaluate(self, progress: Progress) -> dict[str, float]:
        """Return no metrics."""
        return {}

    def reached(self, result: Mapping[str, float]) -> tuple[bool, bool]:
        """Say that no target is reached."""
        return False, False

    def diverged(self, result: Mapping[str, float] | None) -> str | None:
        """Say that nothing diverged, of which three steps tell nothing."""
        return None


class Rehearsal:
    """One rehearsal, as `request` asks; see `dry_run.DryRun` for most of its keys."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self.request = request
        self.path = Path(request["submission"])
        self.watch = Watch(self.path)
        self.model: Any = None  # the parameters: in PyTorch the module itself
        # Compiling would take minutes and find nothing more.
        plain = {"compile_models": False} if request["framework"] == "pytorch" else {}
        self.backend = base.make(request["framework"], submission=self.path, **plain)
        definition = registry.get(request["workload"])
        self.original = copy.deepcopy(definition)
        folders = Folders(Path(request["data_dir"]))
        self.workload = Workload(definition, self.backend, folders)

    def run(self) -> None:
        """Make three steps and get ready for an evaluation, as the runner does."""
        self.watch.surroundings = self.surroundings
        self.watch.start()
        self.watch.look()
        loaded = self._load()
        for name in self.request["names"]:
            self._ask_batch_size(loaded, name)
        point = self.request["point"]
        hyperparameters = tuning.namedtuple(point) if point is not None else None
        trainer = Trainer(
            self.workload, loaded, self.backend, hyperparameters, self.request["seed"]
        )
        self.model = trainer.state["params"]
        self.watch.look()
        start = self._copy(trainer.state["params"], None)
        self._train(trainer)
        end = self._copy(trainer.state["params"], trainer.state["model_state"])
        moved = sum(float(np.sum((end[name] - start[name]) ** 2.0)) for name in start)
        np.savez(Path(self.request["out"]) / "end.npz", moved=math.sqrt(moved), **end)

    def _train(self, trainer: Trainer) -> None:
        """Run the trial loop."""
        rules = Rules(math.inf, math.inf, max_global_steps=STEPS)
        try:
            trainer.open_data(0)
            trainee: Any = NoEvaluation(trainer)  # it has the rest by __getattr__
            run_trial(trainee, NoRecords(), Clock(), rules, Progress())
        finally:
            trainer.close()

    def surroundings(self) -> dict[str, dict[str, Any]]:
        """Return what the submission must leave as it is, and what it had better."""
        return {
            "evaluation": {
                **harness_code(),
                **own_values(self.workload, "workload"),
                **own_values(self.backend, "the backend"),
                "the workload's data": self.workload.definition == self.original,
                **forwards(self.model),
            },
            "environment": {
                **settings(self.request["framework"]),
                **{f"jax.config.{k}": v for k, v in compilation_caches.IGNORED.items()},
                **hooks(self.model),
            },
        }

    def _load(self) -> submission.Submission:
        """Return the submission with its functions watched."""
        load = self.watch.function("the import", submission.load)
        loaded: submission.Submission = load(self.path)
        for name in (*submission.REQUIRED, *submission.OPTIONAL):
            place = name if hasattr(loaded, name) else f"_{name}"
            function = getattr(loaded, place)
            if function is not None:
                setattr(loaded, place, self.watch.function(name, function))
        return loaded

    def _ask_batch_size(self, loaded: submission.Submission, name: str) -> None:
        """Find batch sizes that cannot be used, or are not the same every time."""
        sizes = []
        try:
            sizes = [loaded.batch_size(name, 1) for _ in range(2)]
        except SubmissionError as error:
            unknown = f"knows none of {name}" in str(error)
            message = str(error).partition(": ")[2]
            self._find("get_batch_size", "batch size", not unknown, message)
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            message = f"get_batch_size({name!r}) raises {type(error).__name__}: {error}"
            self._find("get_batch_size", "batch size", False, message)
        if len(set(sizes)) > 1:
            message = f"get_batch_size({name!r}) gives {sizes[0]}, then {sizes[1]}"
            self._find("get_batch_size", "determinism", True, message)

    def _find(self, function: str, rule: str, certain: bool, message: str) -> None:
        line = self.watch.lines.get(function, 1)
        self.watch.findings.add(Finding(line, rule, certain, message))

    def _copy(self, params: Any, model_state: Any) -> dict[str, Any]:
        """Return copies of all parameters and running statistics."""
        values = self.backend.canonical(params, model_state)
        return {name: np.array(value) for name, value in values.items()}

    def failed(self, error: BaseException) -> str:
        """Make a finding of an error of the submission, return a sentence on others."""
        said = f"{type(error).__name__}: {error}"
        if isinstance(error, MemoryError) or "out of memory" in said.lower():
            return f"there is too little memory ({said})"
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename == str(self.path)]
        if isinstance(error, SubmissionError):
            said = str(error).removeprefix(f"{self.path}: ")
        elif isinstance(error, UserError) or not own:
            return said
        name = self.request["workload"]
        message = f"it does not run on {name}: {said}"
        line = (own[-1].lineno if own else None) or 1
        self.watch.findings.add(Finding(line, "dry run", True, message))
        return ""


def main(request: Mapping[str, Any]) -> None:
    """Rehearse as asked, and write what was found."""
    rehearsal = Rehearsal(request)
    failure = ""
    try:
        rehearsal.run()
    except BaseException as error:  # noqa: BLE001 - SystemExit too is the user's
        failure = rehearsal.failed(error)
    written = {
        "findings": [dataclasses.astuple(f) for f in rehearsal.watch.findings],
        "failure": failure,
        "line": rehearsal.watch.lines.get("update_params", 1),
    }
    (Path(request["out"]) / "rehearsal.json").write_text(json.dumps(written))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)  # whatever threads the submission has left
