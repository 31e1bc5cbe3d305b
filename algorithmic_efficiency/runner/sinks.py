"""Receivers of scalars beside the CSV files: TensorBoard, Weights & Biases."""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from algorithmic_efficiency.errors import UsageError
from algorithmic_efficiency.runner import records
from algorithmic_efficiency.runner.config import RunConfig

_WANDB_RUN = "wandb_run.json"


class Sink(Protocol):
    """What receives scalars, off the clock."""

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Adds the scalars of one step."""

    def close(self, *, failed: bool = False) -> None:
        """Writes what is left; nothing is added after it."""


def make(config: RunConfig, folder: Path, point: Mapping[str, Any]) -> list[Sink]:
    """Returns the receivers that a run asks for, opened."""
    found: list[Sink] = []
    if config.use_tensorboard:
        found.append(TensorBoard(folder))
    if config.use_wandb:
        found.append(WandB(folder, "/".join(folder.parts[-3:]), point))
    return found


class TensorBoard:
    """Writes scalars as TensorBoard events, by PyTorch's own writer or tensorboardX."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary import Writer  # noqa: PLC0415 - an optional extra

        self._writer = Writer(str(folder))

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Adds the scalars of one step."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def close(self, *, failed: bool = False) -> None:
        """Writes what is left."""
        del failed
        self._writer.close()


class WandB:
    """Sends scalars to Weights & Biases; a resumed trial is one run there.

    Raises:
      UsageError: Weights & Biases cannot be reached or does not know the user.
    """

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        import wandb  # noqa: PLC0415 - an optional extra

        path = folder / _WANDB_RUN
        run = records.read_json(path) or {"id": secrets.token_hex(8)}
        records.write_json(path, run)
        try:
            self._run = wandb.init(
                dir=str(folder),
                name=name,
                config=dict(config),
                id=run.get("id"),
                resume="allow",
            )
        except Exception as error:  # its own classes, of many kinds
            raise UsageError(
                f"Weights & Biases did not start the run {json.dumps(run.get('id'))} "
                f"({type(error).__name__}: {error}). Log in with `wandb login`, set "
                "WANDB_MODE=offline, or leave out --use_wandb."
            ) from error

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Adds the scalars of one step."""
        self._run.log(dict(scalars), step=step)

    def close(self, *, failed: bool = False) -> None:
        """Ends the run."""
        self._run.finish(exit_code=int(failed))
