"""The model argument `norm`: which member of the family a model's batch norms are.

    batch                     plain batch norm
    ghost:32                  normalised by ghost batches of 32 examples
    ghost:32,statistics=exact the same with running statistics of the whole batch
    ema                       normalised by the moving average of the statistics
    ema:warmup=500            the same, reached over 500 updates
    accumulated               micro-batches of one step count as one batch

docs/batch_norm.md says what each is for. This module knows no framework.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

GHOST_STATISTICS = ("sequential", "exact")


@dataclasses.dataclass(frozen=True)
class Norm:
    """One member of the family.

    Attributes:
      kind: 'batch', 'ghost', 'ema' or 'accumulated'.
      options: arguments of the layer that only this kind has.
    """

    kind: str
    options: dict[str, Any]


def parse(norm: str) -> Norm:
    """Returns what a word such as 'ghost:32' means.

    Raises:
      ValueError: the word is none of those that this module lists.
    """
    kind, _, rest = norm.partition(":")
    try:
        if kind in ("batch", "accumulated") and not rest:
            return Norm(kind, {})
        if kind == "ghost":
            size, _, statistics = rest.partition(",statistics=")
            options = {"ghost_batch_size": int(size)}
            if statistics:
                options["statistics"] = statistics  # type: ignore[assignment]
            return Norm(kind, check_ghost(**options))
        if kind == "ema" and (not rest or rest.startswith("warmup=")):
            steps = int(rest.removeprefix("warmup=") or 1)
            return Norm(kind, {"warmup_steps": check_warmup(steps)})
    except ValueError as error:
        raise ValueError(_unknown(norm)) from error
    raise ValueError(_unknown(norm))


def _unknown(norm: str) -> str:
    return (
        f"Found norm={norm!r}; expected 'batch', 'ghost:SIZE', "
        "'ghost:SIZE,statistics=exact', 'ema', 'ema:warmup=STEPS' or 'accumulated', "
        "with a size and steps of 1 or more."
    )


def check_ghost(
    ghost_batch_size: int, statistics: str = "sequential"
) -> dict[str, Any]:
    """Returns the options of ghost batch norm.

    Raises:
      ValueError: the size is less than 1, or the statistics are not known.
    """
    if ghost_batch_size < 1:
        raise ValueError(
            f"Found ghost_batch_size={ghost_batch_size}; expected 1 example or more."
        )
    if statistics not in GHOST_STATISTICS:
        raise ValueError(
            f"Found statistics={statistics!r}; expected one of {GHOST_STATISTICS}."
        )
    return {"ghost_batch_size": ghost_batch_size, "statistics": statistics}


def check_warmup(steps: int) -> int:
    """Returns the number of updates of a warm-up.

    Raises:
      ValueError: it is less than 1.
    """
    if steps < 1:
        raise ValueError(
            f"Found warmup_steps={steps}; expected 1 or more. With 1 only the first "
            "update is normalised by its batch."
        )
    return steps


def ghost_groups(examples: int, ghost_batch_size: int) -> Sequence[tuple[int, int]]:
    """Returns (number of chunks, examples in each), for one or two sizes of chunks.

    The chunks are those of torch.chunk: c = ceil(examples / size) chunks of
    ceil(examples / c) examples, the last one with what is left. A batch that is not
    larger than a ghost batch is one chunk.
    """
    chunks = math.ceil(examples / ghost_batch_size)
    size = math.ceil(examples / chunks)
    tail = examples - (chunks - 1) * size
    return [(chunks, size)] if tail == size else [(chunks - 1, size), (1, tail)]
