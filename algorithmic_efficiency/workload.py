"""The workload object that submissions receive: a definition bound to a framework."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from algorithmic_efficiency import evaluation, losses, metrics, params, rates, spec
from algorithmic_efficiency.backends.base import Backend, Pass, import_model
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.data.splits import Splits
from algorithmic_efficiency.definition import Definition
from algorithmic_efficiency.errors import DataError
from algorithmic_efficiency.nn.batch_norm import resolve


class Workload:
    """One workload in one framework; members have the names of the public API.

    Every field of `definition.Definition` is an attribute too: `step_hint`,
    `loss_type`, `num_train_examples`, `validation_target_value`, ...

    Attributes:
      definition: the row of data behind this workload.
      metrics_logger: has `append_scalar_metrics(metrics, global_step)`, or is None.
      eval_num_workers: processes that read evaluation data; 0 reads in this process.
      bad_examples: name -> why, of the training examples that could not be decoded.
    """

    def __init__(
        self, definition: Definition, backend: Backend, folders: Folders
    ) -> None:
        self.definition = definition
        self.folders = folders
        self.metrics_logger: Any = None
        self.eval_num_workers = 0
        self._splits = Splits(definition, folders)
        self.bad_examples = self._splits.bad
        self._backend = backend
        self._model = backend.build(definition)
        self._shapes = self._types = None

    def __getattr__(self, name: str) -> Any:
        """Returns a field of the definition."""
        if name == "definition":  # not set yet, as while unpickling
            raise AttributeError(name)
        return getattr(self.definition, name)

    # Parameters.

    def init_model_fn(
        self,
        rng: spec.RandomState,
        dropout_rate: float | None = None,
        aux_dropout_rate: float | None = None,
    ) -> tuple[Any, Any]:
        """Returns (parameters, model state).

        Equal seeds give equal values in both frameworks. PyTorch's container is the
        module and its state None; JAX's are pytrees.

        The rates hold in every later `model_fn` that is given none; a `dropout_rate`
        given there wins, and is that of all dropout of the model. The runner passes the
        hyperparameters of these names, so a search space can set them. A model without
        such dropout ignores them.

        Args:
          rng: gives the initial values.
          dropout_rate: of the dropout in the layers; None means the workload's own.
          aux_dropout_rate: of the second kind of dropout, in models that have one; None
            means the workload's own, whatever `dropout_rate` is.

        Raises:
          ValueError: a rate is no number from 0 to 1.
        """
        arguments = rates.with_rates(
            self.definition.model, dropout_rate, aux_dropout_rate
        )
        definition = dataclasses.replace(self.definition, model=arguments)
        seed = self._backend.seed_from(rng)
        self._model = self._backend.build(definition)
        initial = self._backend.init(self._model, definition, seed)
        shapes = self._backend.shapes(self._model, definition)
        self._shapes = self._backend.tree(lambda name, x: spec.ShapeTuple(x), shapes)
        self._types = self._backend.tree(
            lambda name, x: params.parameter_type(name, definition.all_rules), shapes
        )
        return initial[0], initial[1]

    @property
    def param_shapes(self) -> spec.ParameterShapeTree:
        """The shape of every parameter as `ShapeTuple`, in the form of the parameters.

        Raises:
          ValueError: `init_model_fn` has not been called.
        """
        return _known("param_shapes", self._shapes)

    @property
    def model_params_types(self) -> spec.ParameterTypeTree:
        """The `ParameterType` of every parameter, in the form of the parameters.

        Raises:
          ValueError: `init_model_fn` has not been called.
        """
        return _known("model_params_types", self._types)

    def is_output_params(self, param_key: str) -> bool:
        """Says whether this top-level key belongs to the layer that gives logits."""
        return param_key.split(".")[0] == self.definition.output_layer

    # Forward pass and loss.

    def model_fn(
        self,
        params: spec.ParameterContainer,
        augmented_and_preprocessed_input_batch: Mapping[str, Any],
        model_state: spec.ModelAuxiliaryState,
        mode: spec.ForwardPassMode,
        rng: spec.RandomState,
        update_batch_norm: bool,
        use_running_average_bn: bool | None = None,
        dropout_rate: Any = None,
    ) -> tuple[Any, spec.ModelAuxiliaryState]:
        """Returns (outputs, new model state).

        Who may change the running statistics is decided by `update_batch_norm` alone;
        docs/batch_norm.md has the table of all combinations.

        Args:
          params: what `init_model_fn` returned, or its successor.
          augmented_and_preprocessed_input_batch: `inputs`, what else the model reads,
            and `weights`, whose zeros mark what is padded.
          model_state: likewise.
          mode: TRAIN or EVAL.
          rng: for dropout; unused where a workload has none.
          update_batch_norm: whether running statistics move.
          use_running_average_bn: normalise with running statistics; None means in
            EVAL only.
          dropout_rate: a number, or an array of shape (), in JAX traced or not; None
            means the workload's own; ignored without dropout.

        Raises:
          ValueError: mode is EVAL and update_batch_norm is True; dropout_rate is no
            number from 0 to 1; or the pass draws random numbers and JAX has no rng.
        """
        use_running_average, update = resolve(
            mode, update_batch_norm, use_running_average_bn
        )
        options = {}
        if dropout_rate is not None and "dropout_rate" in self.model:
            options["dropout_rate"] = rates.dropout("dropout_rate", dropout_rate)
        how = Pass(
            train=mode is spec.ForwardPassMode.TRAIN,
            use_running_average=use_running_average,
            update=update,
            rng=rng,
            options=options,
        )
        batch = augmented_and_preprocessed_input_batch
        outputs, new_state = self._backend.forward(
            self._model, params, batch, model_state, how
        )
        return outputs, new_state

    def recalibrate(
        self,
        params: spec.ParameterContainer,
        model_state: spec.ModelAuxiliaryState,
        batches: Iterable[Mapping[str, Any]],
    ) -> spec.ModelAuxiliaryState:
        """Returns the model state with exact running statistics over the batches.

        For `prepare_for_eval` of algorithms that evaluate other weights than they
        train, such as averages and schedule-free methods: their running statistics
        belong to the training weights. In PyTorch the module's buffers are set.

        Args:
          params: the weights that will be evaluated.
          model_state: as `model_fn` takes it.
          batches: training batches, for example drawn from the input queue.
        """
        return self._backend.recalibrate(self._model, params, model_state, batches)

    def loss_fn(
        self,
        label_batch: Any,
        logits_batch: Any,
        mask_batch: Any = None,
        label_smoothing: Any = 0.0,
    ) -> dict[str, Any]:
        """Returns `summed`, `n_valid_examples` and `per_example`; see `losses`.

        label_smoothing may be a number or an array of shape (), in JAX traced or not;
        None is 0.
        """
        what = (self.definition.loss, self._backend.ops, label_batch, logits_batch)
        return losses.masked_loss(*what, mask_batch, label_smoothing)

    def output_activation_fn(self, logits_batch: Any, framework: str = "") -> Any:
        """Returns probabilities where the loss has them, else the logits."""
        del framework
        what = (self.definition.loss_type, self._backend.ops)
        return losses.activation(*what, logits_batch)

    # Goals and evaluation.

    def has_reached_validation_target(self, eval_result: Mapping[str, float]) -> bool:
        """Says whether the validation metric is as good as its target."""
        return self._reaches(
            eval_result, "validation", self.definition.validation_target_value
        )

    def has_reached_test_target(self, eval_result: Mapping[str, float]) -> bool:
        """Says the same of the test metric; True where there is no test target."""
        target = self.definition.test_target_value
        return target is None or self._reaches(eval_result, "test", target)

    def _reaches(
        self, eval_result: Mapping[str, float], split: str, target: float
    ) -> bool:
        name = self.definition.target_metric_name
        value = eval_result[f"{split}/{name}"]
        return metrics.target(self.definition).reaches(value, target)

    def eval_model(
        self,
        global_batch_size: int,
        params: spec.ParameterContainer,
        model_state: spec.ModelAuxiliaryState,
        rng: spec.RandomState = None,
        data_dir: str | None = None,
        *,
        global_step: int = 0,
        **elsewhere: str | None,
    ) -> dict[str, float]:
        """Returns every metric of every split, keyed `train/...`, `validation/...`.

        Metrics do not depend on the batch size; it only bounds memory.

        Args:
          global_batch_size: examples in a forward pass.
          params, model_state: what is evaluated.
          rng: not used.
          data_dir: another folder of the data than the run's.
          global_step: not used.
          elsewhere: other paths, by the names of the data modules' flags.
        """
        del rng, global_step
        folders = self.folders.replaced(data_dir, **elsewhere)

        def predict(batch: Mapping[str, Any], how: str) -> Any:
            function = None
            if how:
                function = import_model(self.definition, self._backend.name, how)
            return self._backend.predict(
                self._model, params, model_state, self.place(batch), function
            )

        return evaluation.evaluate(
            self.definition,
            lambda split: self._splits.open(split, folders),
            predict,
            batch_size=global_batch_size,
            workers=self.eval_num_workers,
            bad=self.bad_examples,
        )

    # Data.

    def open_evaluation(self) -> None:
        """Opens what evaluation reads; a fault is better found before the training."""
        for split, _ in evaluation.splits(self.definition).values():
            self._splits.open(split)

    def train_queue(
        self, batch_size: int, seed: int, *, workers: int = 0, start: int = 0
    ) -> Any:
        """Returns the stream of training batches, NumPy, from position `start`.

        Raises:
          SubmissionError: a batch of this size takes more memory than there is.
        """
        return self._splits.train_batches(
            batch_size, seed, workers=workers, start=start
        )

    def place(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a NumPy batch as tensors on the devices."""
        return dict(self._backend.place(batch, self.definition.fields))

    def _build_input_queue(
        self,
        data_rng: spec.RandomState,
        split: str,
        data_dir: str | None,
        global_batch_size: int,
        **unused: Any,
    ) -> Iterator[dict[str, Any]]:
        """Yields batches on the devices; the public API's name for the harness."""
        del unused
        if split != "train":
            raise DataError(
                f"Submissions read the split 'train' only, not {split!r}; evaluation "
                "is done by eval_model."
            )
        seed = self._backend.seed_from(data_rng)[0]
        folders = self.folders.replaced(data_dir)
        batches = self._splits.train_batches(global_batch_size, seed, folders=folders)
        return map(self.place, batches)

    def attach_metrics_logger(self, metrics_logger: Any) -> None:
        """Gives submissions a place for their own scalars."""
        self.metrics_logger = metrics_logger


def _known(what: str, value: Any) -> Any:
    if value is None:
        raise ValueError(f"{what} is known once init_model_fn has been called.")
    return value
