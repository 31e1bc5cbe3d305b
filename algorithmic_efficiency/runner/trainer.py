"""Runs a submission on a workload: the part of a trial that is not pure."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from algorithmic_efficiency import seeds
from algorithmic_efficiency.backends.base import Backend
from algorithmic_efficiency.errors import (
    SubmissionError,
    TrainingCompleteError,
    UserError,
)
from algorithmic_efficiency.public_workload import PublicWorkload
from algorithmic_efficiency.runner import contract
from algorithmic_efficiency.runner.failures import is_out_of_memory
from algorithmic_efficiency.runner.trial import Progress, Result
from algorithmic_efficiency.state import Origin
from algorithmic_efficiency.submission import Submission
from algorithmic_efficiency.workload import Workload


class InputQueue:
    """The stream of batches on the devices that `data_selection` draws from."""

    __slots__ = ("_next",)

    def __init__(self, batches: Any, workload: Workload) -> None:
        self._next = lambda: workload.place(next(batches))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        return self._next()


class Trainer:
    """See `trial.Trainer`.

    Args:
      workload: what submissions see.
      submission: that is run.
      backend: of its framework.
      hyperparameters: the namedtuple of the trial's point, or None.
      seed: of the trial.
      at_once: a context in which a signal breaks off an evaluation.

    Attributes:
      public: the workload as the submission sees it.
      state: params, model_state and optimizer_state.
      origin: where each object of the state was before the first step.
      seconds_in: seconds in functions of the submission, the wait for the device
        included; `init_optimizer_state` is off the clock.
    """

    def __init__(
        self,
        workload: Workload,
        submission: Submission,
        backend: Backend,
        hyperparameters: Any,
        seed: int,
        at_once: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.workload = workload
        self.public = PublicWorkload(workload)
        self.submission = submission
        self.backend = backend
        self.hyperparameters = hyperparameters
        self.seed = seed
        self._batches: Any = None
        self.queue: Any = None
        self._at_once = at_once
        backend.keep_settings()  # the submission has been imported
        backend.seed_globals(seeds.pair(seed, "globals"))
        params, model_state = self._initial()
        self.batch_size = submission.batch_size(
            workload.definition.name, backend.device_count
        )
        self.eval_batch_size = submission.eval_batch_size(
            workload.definition.name,
            workload.definition.eval_batch_size,
            backend.device_count,
        )
        backend.wait()
        begin = time.perf_counter()
        optimizer_state = submission.init_optimizer_state(
            self.public,
            params,
            model_state,
            hyperparameters,
            self._rng("init_optimizer"),
        )
        self._wait()
        self.state = {
            "params": params,
            "model_state": model_state,
            "optimizer_state": backend.adopt(optimizer_state),
        }
        self.origin = Origin(backend.kinds, self.state, workload=self.public)
        self.seconds_in = {
            "init_optimizer_state": time.perf_counter() - begin,
            "data_selection": 0.0,
            "update_params": 0.0,
        }

    def _initial(self) -> tuple[Any, Any]:
        """Returns parameters and model state; hyperparameters may set dropout rates."""
        names = ("dropout_rate", "aux_dropout_rate")
        rates = {name: getattr(self.hyperparameters, name, None) for name in names}
        given = {name: rate for name, rate in rates.items() if rate is not None}
        try:
            return self.workload.init_model_fn(self._rng("init_model"), **given)
        except ValueError as error:
            raise SubmissionError(f"The hyperparameters do not fit. {error}") from error

    def open_data(self, workers: int, start: int = 0, *, evals: bool = True) -> None:
        """Starts the stream of training batches at position `start`.

        Returns when its first batch has been made, so that no start of threads or
        processes is charged to the submission, neither at first nor after a resume.

        Raises:
          DataError: a split that will be read, with `evals` those of the evaluation
            too, is missing, incomplete or older than its data.
        """
        if evals:
            self.workload.open_evaluation()
        self._batches = self.workload.train_queue(
            self.batch_size,
            seeds.integer(self.seed, "data"),
            workers=workers,
            start=start,
        )
        self._batches.get_ready()
        self.queue = InputQueue(self._batches, self.workload)

    def close(self) -> None:
        """Stops the processes and threads that read data."""
        if self._batches is not None:
            self._batches.close()

    @property
    def position(self) -> int:
        """Batches drawn so far."""
        return int(self._batches.position)

    @property
    def bad_examples(self) -> Mapping[str, str]:
        """Names of training files that could not be read, and why."""
        return dict(self.workload.bad_examples)

    def report(self) -> dict[str, Any]:
        """Returns what run.json tells of the training, as it is now."""
        return {
            "batch_size": self.batch_size,
            "bad_examples": self.bad_examples,
            "seconds_in": self.seconds_in,
        }

    def step(self, progress: Progress, train_state: Mapping[str, Any]) -> None:
        """Selects a batch and updates; returns when the device has finished."""
        try:
            self._step(progress, train_state)
        except TrainingCompleteError:
            self._wait()
            raise

    def _step(self, progress: Progress, train_state: Mapping[str, Any]) -> None:
        step = progress.step
        begin = time.perf_counter()
        batch = self.submission.data_selection(
            self.public,
            self.queue,
            self.state["optimizer_state"],
            self.state["params"],
            self.state["model_state"],
            self.hyperparameters,
            step,
            self._rng("data_selection", step),
        )
        selected = time.perf_counter()
        more = {"train_state": train_state} if self.submission.takes_train_state else {}
        try:
            returned = self.submission.update_params(
                **self.arguments(progress),
                batch=batch,
                **more,
                rng=self._rng("update_params", step),
            )
        except Exception as error:
            self._blame_batch(batch, error)
            raise
        self._take("update_params", returned)
        self.seconds_in["data_selection"] += selected - begin
        self.seconds_in["update_params"] += time.perf_counter() - selected

    def prepare_for_eval(self, progress: Progress) -> None:
        """Lets the submission prepare, if it wants to."""
        if self.submission.prepare_for_eval is None:
            return
        returned = self.submission.prepare_for_eval(
            **self.arguments(progress),
            rng=self._rng("prepare_for_eval", progress.step),
        )
        self._take("prepare_for_eval", returned)

    def evaluate(self, progress: Progress) -> Result:
        """Returns all metrics of all splits."""
        with self._at_once():
            return self.workload.eval_model(
                self.eval_batch_size,
                self.state["params"],
                self.state["model_state"],
                self._rng("evaluate", progress.step),
                global_step=progress.step,
            )

    def reached(self, result: Result) -> tuple[bool, bool]:
        """Says whether the validation and the test target are reached."""
        return (
            self.workload.has_reached_validation_target(result),
            self.workload.has_reached_test_target(result),
        )

    def diverged(self, result: Result | None) -> str | None:
        """Names a target's metric, or without a result a parameter, not finite.

        Another metric may be NaN, as the error rate of a split without words.
        """
        if result is None:
            return self.backend.nonfinite(self.state["params"])
        definition = self.workload.definition
        splits = ["validation"] + ["test"] * (definition.test_target_value is not None)
        names = (f"{split}/{definition.target_metric_name}" for split in splits)
        return next((k for k in names if not math.isfinite(result[k])), None)

    def _rng(self, *purpose: str | int) -> Any:
        return self.backend.make_rng(seeds.pair(self.seed, *purpose))

    def arguments(self, progress: Progress) -> dict[str, Any]:
        """Returns the keywords that update_params and prepare_for_eval share."""
        return {
            "workload": self.public,
            "current_param_container": self.state["params"],
            "current_params_types": self.workload.model_params_types,
            "model_state": self.state["model_state"],
            "hyperparameters": self.hyperparameters,
            "loss_type": self.workload.definition.loss_type,
            "optimizer_state": self.state["optimizer_state"],
            "eval_results": progress.evals,
            "global_step": progress.step,
        }

    def _blame_batch(self, batch: Any, error: Exception) -> None:
        """Raises SubmissionError where an error has come of a wrong batch."""
        ends = isinstance(error, UserError | TrainingCompleteError)
        if ends or is_out_of_memory(error):
            return
        fields = self.workload.definition.fields
        fault = contract.fault_of_batch(batch, fields, self.batch_size)
        if fault:
            raise SubmissionError(
                f"{self.submission.path}: data_selection {fault}. With that "
                f"update_params raised {type(error).__name__}: {error}"
            ) from error

    def _take(self, function: str, returned: Any) -> None:
        """Keeps what the submission returned and waits for the device."""
        returned = contract.checked_return(
            self.submission.path, function, returned, self.state["params"]
        )
        optimizer_state, params, model_state = returned
        # First, so that hundreds of old arrays are freed while the device works.
        self.state = {
            "params": params,
            "model_state": model_state,
            "optimizer_state": optimizer_state,
        }
        self._wait()

    def _wait(self) -> None:
        """Ends a call of the submission: nothing of it is left to be done for free."""
        self.backend.wait()
        self.backend.keep_settings()
