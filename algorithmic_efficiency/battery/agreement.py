"""The two frameworks are one workload: checks of values, not of shapes alone."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

import jax
import numpy as np
import torch

from algorithmic_efficiency import adapters, params, registry, seeds, submission
from algorithmic_efficiency.backends.base import import_model
from algorithmic_efficiency.battery import NotChecked, Unmet
from algorithmic_efficiency.battery.pair import (
    FRAMEWORKS,
    Pair,
    backend,
    forward_backward,
    is_statistic,
    padded,
    visible,
)
from algorithmic_efficiency.definition import Definition
from algorithmic_efficiency.public_workload import PublicWorkload
from algorithmic_efficiency.runner.trainer import InputQueue
from algorithmic_efficiency.runner.tuning import namedtuple

# Largest difference of an array, relative to its largest entry.
OUTPUTS, LOSSES, GRADIENTS, STATISTICS = 2e-4, 1e-4, 2e-3, 1e-4
TRAJECTORY = 1e-3  # relative difference of a loss
STEPS = 20
SIZE, PADDING = 8, 2  # examples of a batch, and how many of them are padding

_NADAMW = registry.ROOT / "reference_algorithms" / "nadamw"


def names_and_shapes(definition: Definition) -> str:
    """Checks that both models have the same parameters, of the same types.

    It needs no data, and no memory for the parameters.
    """
    shapes = {}
    for framework in FRAMEWORKS:
        ours = backend(framework)
        shapes[framework] = ours.shapes(ours.build(definition), definition)
    there, here = shapes["pytorch"], shapes["jax"]
    for name in {**there, **here}:
        if there.get(name) != here.get(name):
            raise Unmet(
                f"the parameter {name} is {_form(there, name)} in PyTorch and "
                f"{_form(here, name)} in JAX; layers have the same names in both"
            )
        params.parameter_type(name, definition.all_rules)
    if not any(definition.output_layer == name.split(".")[0] for name in there):
        raise Unmet(
            f"no layer is called {definition.output_layer!r}, as output_layer says; "
            f"there are {', '.join(dict.fromkeys(n.split('.')[0] for n in there))}"
        )
    total = sum(math.prod(shape) for shape in there.values())
    return f"{len(there)} parameters with {total:,} values"


def _form(shapes: Mapping[str, Any], name: str) -> str:
    return str(list(shapes[name])) if name in shapes else "missing"


def same_start(pair: Pair) -> str:
    """Checks that one seed gives the same initial values, bit for bit."""
    flat = {}
    for framework in FRAMEWORKS:
        _, parameters, state = pair.started(framework)
        flat[framework] = backend(framework).canonical(parameters, state)
    if set(flat["jax"]) != set(flat["pytorch"]):
        odd = sorted(set(flat["jax"]) ^ set(flat["pytorch"]))
        raise Unmet(f"only one framework has {', '.join(odd[:3])}")
    for name, value in flat["jax"].items():
        if not np.array_equal(value, flat["pytorch"][name]):
            raise Unmet(f"{name} starts with other values in PyTorch than in JAX")
    return f"{len(flat['jax'])} arrays are equal bit for bit"


def one_pass(pair: Pair) -> str:
    """Checks outputs, losses, gradients and running statistics, with a padded row."""
    runs = {}
    batch = padded(pair.batch(SIZE), PADDING) if is_plain(pair) else pair.batch(SIZE)
    for framework in FRAMEWORKS:
        runs[framework] = forward_backward(pair.with_weights(framework), batch)
    ours, theirs = runs["jax"], runs["pytorch"]
    real = SIZE - PADDING if is_plain(pair) else None
    close("the outputs", ours["outputs"][:real], theirs["outputs"][:real], OUTPUTS)
    for key in ("summed", "n_valid_examples", "per_example"):
        close(f"the loss's {key}", ours["loss"][key], theirs["loss"][key], LOSSES)
    close_gradients(ours["gradients"], theirs["gradients"], GRADIENTS)
    for name, value in theirs["statistics"].items():
        close(name, ours["statistics"][name], value, STATISTICS)
    return "outputs, losses, gradients and statistics are equal"


def evaluation(pair: Pair) -> str:
    """Checks what an evaluation computes on the device, every pass of it."""
    for how in dict.fromkeys(one.how for one in pair.definition.evaluations):
        found = {}
        for framework in FRAMEWORKS:
            made, parameters, state = pair.with_weights(framework)
            function = import_model(pair.definition, framework, how) if how else None
            batch = made.place(pair.batch(SIZE))
            given = (made._model, parameters, state, batch, function)
            outputs = backend(framework).predict(*given)
            found[framework] = outputs if how else visible(outputs)
        ours, theirs = found["jax"], found["pytorch"]
        form: Any = jax.tree.structure(ours)
        if form != jax.tree.structure(theirs):
            raise Unmet(f"{how!r} returns other arrays in JAX than in PyTorch")
        leaves = map(jax.tree.leaves, (ours, theirs))
        for one, other in zip(*leaves, strict=True):
            close(f"what {how or 'a forward pass'} returns", one, other, OUTPUTS)
    return f"{len(pair.definition.evaluations)} pass(es) give the same"


def recalibration(pair: Pair) -> str:
    """Checks `workload.recalibrate`, exact running statistics over some batches."""
    statistics = {}
    for framework in FRAMEWORKS:
        made, parameters, state = pair.with_weights(framework)
        batches = [pair.batch(SIZE)]
        if is_plain(pair):
            batches += [padded(batches[0], rows) for rows in (2, 4)]
        moved = made.recalibrate(parameters, state, map(made.place, batches))
        flat = backend(framework).canonical(parameters, moved)
        statistics[framework] = {k: v for k, v in flat.items() if is_statistic(k)}
    if not statistics["pytorch"]:
        raise NotChecked("there is no batch norm")
    for name, value in statistics["pytorch"].items():
        close(name, statistics["jax"][name], value, STATISTICS)
    return f"{len(statistics['pytorch'])} running statistics are equal"


def twenty_steps(pair: Pair, learning_rate: float | None = None) -> str:
    """Checks the losses of twenty steps of the reference NadamW on the real data.

    Args:
      pair: the workload.
      learning_rate: another than the reference's, where a step of that multiplies the
        frameworks' different rounding.
    """
    ours, theirs = (trajectory(pair, f, learning_rate) for f in FRAMEWORKS)
    if not np.isfinite(ours).all():
        raise Unmet(f"the loss is not finite after {len(ours)} steps: {ours[-1]}")
    apart = np.abs(ours - theirs) / np.abs(theirs)
    if apart.max() > TRAJECTORY:
        step = int(apart.argmax())
        raise Unmet(
            f"the losses differ by {apart.max():.2g} of them in step {step}: "
            f"{ours[step]:.6g} in JAX and {theirs[step]:.6g} in PyTorch"
        )
    if np.abs(ours / ours[0] - 1).max() < TRAJECTORY:
        raise Unmet(f"the loss stays at {ours[0]:.6g}: nothing is trained")
    return f"the loss goes from {ours[0]:.4g} to {ours[-1]:.4g}, alike in both"


class _Losses:
    """A metrics logger that keeps the loss."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def append_scalar_metrics(self, metrics: Any, global_step: int) -> None:
        """Keeps the loss of one step."""
        self.values.append(float(metrics["loss"]))


def trajectory(pair: Pair, framework: str, learning_rate: float | None) -> Any:
    """Returns the loss of every step of the reference NadamW, float64 [STEPS]."""
    made, ours = pair.workloads[framework], backend(framework)
    public, losses = PublicWorkload(made), _Losses()
    public.attach_metrics_logger(losses)
    algorithm = submission.load(_NADAMW / f"{framework}.py")
    point = json.loads((_NADAMW / "default_hyperparameters.json").read_text())[0]
    point["learning_rate"] = learning_rate or point["learning_rate"]
    hyperparameters = namedtuple(point)
    parameters, state = made.init_model_fn(ours.make_rng(seeds.pair(1, "model")))
    optimizer = algorithm.init_optimizer_state(
        public, parameters, state, hyperparameters, ours.make_rng((1, 2))
    )
    batches = made.train_queue(32, seed=4)
    queue = InputQueue(batches, made)
    with mock.patch.object(adapters, "logs_at", lambda step: True):
        for step in range(STEPS):
            optimizer, parameters, state = algorithm.update_params(
                workload=public,
                current_param_container=parameters,
                current_params_types=made.model_params_types,
                model_state=state,
                hyperparameters=hyperparameters,
                batch=next(queue),
                loss_type=made.loss_type,
                optimizer_state=optimizer,
                eval_results=[],
                global_step=step,
                rng=ours.make_rng(seeds.pair(1, "step", step)),
            )
    batches.close()
    return np.array(losses.values)


def is_plain(pair: Pair) -> bool:
    """Says whether row i of every entry of a batch is example i."""
    fields = jax.tree.leaves(
        dict(pair.definition.fields), is_leaf=lambda x: hasattr(x, "rows")
    )
    return all(field.rows == 1 for field in fields)


def close_gradients(ours: Any, theirs: Any, tolerance: float) -> None:
    """Raises Unmet unless all gradients agree, each relative to its layer's largest.

    A bias whose gradient is 0 but for rounding, as one right before a batch norm or
    that of attention's keys, is thus compared with the gradient of its weight.
    """
    if set(ours) != set(theirs):
        raise Unmet("not the same parameters have gradients")
    for name, value in theirs.items():
        layer = name.rpartition(".")[0]
        near = [x for other, x in theirs.items() if other.rpartition(".")[0] == layer]
        close(f"the gradient of {name}", ours[name], value, tolerance, near)


def close(
    what: str,
    ours: Any,
    theirs: Any,
    tolerance: float,
    yardstick: Sequence[Any] | None = None,
) -> None:
    """Raises Unmet unless two arrays are equal, relative to the largest entry.

    Args:
      what: they are called in the sentence.
      ours: one array.
      theirs: the other, whose largest entry is the yardstick.
      tolerance: of the largest difference.
      yardstick: arrays whose largest entry is the yardstick instead.
    """
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape:
        raise Unmet(f"{what} have shape {ours.shape} once and {theirs.shape} once")
    scale = max((np.abs(x).max(initial=0) for x in yardstick or [theirs]), default=0.0)
    worst = np.abs(ours - theirs).max(initial=0) / max(scale, 1e-6)
    if not worst <= tolerance:
        raise Unmet(
            f"{what} differ by {worst:.2g} of the largest entry; {tolerance:g} is "
            "allowed for rounding"
        )


def module_of(pair: Pair) -> torch.nn.Module:
    """Returns the PyTorch model."""
    module: torch.nn.Module = pair.started("pytorch")[1]
    return module
