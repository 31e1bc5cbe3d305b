"""A submission's state as a file: saved exactly, or what cannot be is named.

`walk` goes over the state and knows no type; the types are rows in `plain`,
`containers`, `functions`, `objects`, `arrays`, and of a framework in `pytorch` and
`jax`. `file` is the format. docs/decisions/014-state.md says why.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from algorithmic_efficiency.state import (
    arrays,
    containers,
    functions,
    objects,
    plain,
)
from algorithmic_efficiency.state.parts import Block, Lost, Misfit, Problem
from algorithmic_efficiency.state.walk import Decoder, Encoder, Kind, Origin

__all__ = [
    "Block",
    "Decoder",
    "Encoder",
    "Kind",
    "Lost",
    "Misfit",
    "Origin",
    "Problem",
    "decode",
    "encode",
    "kinds",
]


def kinds(of_arrays: Sequence[Kind], of_code: Sequence[Kind]) -> tuple[Kind, ...]:
    """Returns the kinds of all objects, the special ones first.

    Args:
      of_arrays: of a framework.
      of_code: of a framework, what is never in the file.
    """
    return (
        *of_arrays,
        *plain.KINDS,
        *arrays.KINDS,
        *containers.KINDS,
        *functions.KINDS,
        *of_code,
        *objects.KINDS,
    )


def encode(
    state: Mapping[str, Any], origin: Origin
) -> tuple[dict[str, Any], list[Block], list[Problem]]:
    """Returns a state as JSON and blocks of bytes, and what of it cannot be saved.

    Args:
      state: params, model_state, optimizer_state and others.
      origin: of the same submission's start.
    """
    encoder = Encoder(origin.kinds, origin)
    nodes = {name: encoder.encode(value, name) for name, value in state.items()}
    lost = [str(problem) for problem in encoder.problems if problem.fatal]
    content = {"state": nodes, "model": origin.model, "lost": lost}
    return content, encoder.blocks, encoder.problems


def decode(
    content: Mapping[str, Any],
    blocks: Sequence[Any],
    state: Mapping[str, Any],
    origin: Origin,
) -> dict[str, Any]:
    """Returns the saved state; what a fresh state holds is filled and used in it.

    Args:
      content: of `encode`.
      blocks: of the file.
      state: params, model_state and optimizer_state after a fresh start.
      origin: of that start.

    Raises:
      Misfit: the state is of another submission or workload.
      Lost: some of it could not be saved.
    """
    if content["lost"]:
        raise Lost(f"it lacks {content['lost'][0]}")
    _check_model(content["model"], origin.model)
    fresh: dict[str, Any] = {}
    for path, value in origin.survey(state).places():
        fresh.setdefault(path, value)
    decoder = Decoder(origin.kinds, fresh, blocks)
    return {name: decoder.decode(node) for name, node in content["state"].items()}


def _check_model(saved: Mapping[str, Any], fresh: Mapping[str, Any]) -> None:
    for name in {**saved, **fresh}:
        if name not in saved or name not in fresh:
            owner = "model" if name in fresh else "checkpoint"
            raise Misfit(f"only the {owner} has {name}")
        forms = [tuple(form) for form in (saved[name], fresh[name])]
        shapes, dtypes = zip(*forms, strict=True)
        if list(map(list, shapes)) != [list(shapes[0])] * 2 or len(set(dtypes)) > 1:
            told = [f"{dtype} {list(shape)}" for shape, dtype in forms]
            raise Misfit(f"{name} is {told[0]} in the checkpoint and {told[1]} here")
