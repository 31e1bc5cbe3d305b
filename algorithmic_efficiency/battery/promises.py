"""What a submission may lean on: the members of the workload, and that it runs."""

import math
from typing import Any

import jax
import numpy as np

from algorithmic_efficiency import registry, submission
from algorithmic_efficiency.battery import Unmet
from algorithmic_efficiency.battery.pair import EVAL, FRAMEWORKS, TRAIN, Pair, backend
from algorithmic_efficiency.public_workload import PublicWorkload
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.trainer import Trainer
from algorithmic_efficiency.runner.trial import NoRecords, Progress, Rules, run_trial

TEMPLATE = registry.ROOT / "submissions" / "template"
STEPS = 2


def members(pair: Pair) -> str:
    """Checks trees, modes and losses of the workload as submissions see it."""
    for framework in FRAMEWORKS:
        made, parameters, state = pair.with_weights(framework)
        public = PublicWorkload(made)
        if framework == "pytorch":
            tree = dict(parameters.named_parameters())
        else:
            tree = parameters
        # As public submissions do: a tree of zeros, and both trees in one map.
        zeros = jax.tree.map(lambda x: np.zeros(x.shape_tuple), public.param_shapes)
        fits = jax.tree.map(lambda x, zero: x.shape == zero.shape, tree, zeros)
        if not all(jax.tree.leaves(fits)):
            raise Unmet(f"param_shapes are not those of the parameters in {framework}")
        types: Any = jax.tree.structure(public.model_params_types)
        if types != jax.tree.structure(tree):
            raise Unmet(f"model_params_types has another form in {framework}")
        _check_passes(public, parameters, state, made.place(pair.batch(8)))
    return "trees, modes and losses are as promised"


def _check_passes(public: Any, parameters: Any, state: Any, batch: Any) -> None:
    """Checks that every mode gives outputs with a finite loss for each example."""
    passes = ((TRAIN, True), (TRAIN, False), (EVAL, False))
    for mode, update in passes:
        outputs, _ = public.model_fn(parameters, batch, state, mode, None, update)
        weights = batch.get("weights")
        loss = public.loss_fn(batch["targets"], outputs, weights)
        values = [float(_plain(loss[key])) for key in ("summed", "n_valid_examples")]
        if not all(map(math.isfinite, values)) or not values[1] > 0:
            raise Unmet(f"the loss in mode {mode.name} is {values[0]} of {values[1]}")
        if tuple(loss["per_example"].shape) != tuple(weights.shape):
            raise Unmet(
                f"per_example has shape {tuple(loss['per_example'].shape)} and the "
                f"weights {tuple(weights.shape)}"
            )


def _plain(value: Any) -> Any:
    return value.detach() if hasattr(value, "detach") else value


def template_runs(pair: Pair, frameworks: tuple[str, ...] = FRAMEWORKS) -> str:
    """Checks that the smallest submission trains, as the runner calls it."""
    for framework in frameworks:
        path = TEMPLATE / f"{framework}.py"
        made = pair.workloads[framework]
        trainer = Trainer(made, submission.load(path), backend(framework), None, seed=1)
        before = _copied(trainer)
        try:
            trainer.open_data(0)
            rules = Rules(math.inf, math.inf, max_global_steps=STEPS, skip_evals=True)
            run_trial(trainer, NoRecords(), Clock(), rules, Progress())
        finally:
            trainer.close()
        after = _copied(trainer)
        if all(np.array_equal(before[name], after[name]) for name in before):
            raise Unmet(f"{path} has changed no parameter in {STEPS} steps")
    return f"submissions/template makes {STEPS} steps"


def _copied(trainer: Trainer) -> dict[str, Any]:
    params, state = trainer.state["params"], trainer.state["model_state"]
    flat = trainer.backend.canonical(params, state)
    return {name: np.array(value) for name, value in flat.items()}
