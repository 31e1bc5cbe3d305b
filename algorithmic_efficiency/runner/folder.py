"""A trial's folder: one process at a time, and emptied only when asked."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from algorithmic_efficiency.errors import StorageError
from algorithmic_efficiency.files import exclusive

# What a trial writes; all else in its folder belongs to somebody else. The last ones
# are those of TensorBoard, of Weights & Biases and of --capture_jax_trace.
_OURS = re.compile(
    r"(run|hparams|wandb_run|(flags|meta_data)_\d+)\.json|(eval_)?measurements\.csv|"
    r"checkpoint_\d+(\.\w+)?|curves\.png|(traceback|faults)\.txt|\..+\.tmp|"
    r"events\.out\.tfevents\..*|wandb|jax_trace"
)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps a second process out of a trial's folder."""
    otherwise = ", or give another --experiment_name"
    with exclusive(folder, "--experiment_dir", otherwise):
        try:
            yield
        finally:
            remove_if_unused(folder)  # nothing was run, so the name is free again


def empty(folder: Path) -> None:
    """Deletes the records of an earlier run, but not the lock that we hold.

    Raises:
      StorageError: one cannot be deleted.
    """
    try:
        for path in folder.iterdir():
            if not _OURS.fullmatch(path.name):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be emptied ({error.strerror}). Grant access to it, or "
            "give another --experiment_name."
        ) from error


def remove_if_unused(folder: Path) -> None:
    """Removes a folder in which there is no more than the lock."""
    with contextlib.suppress(OSError):  # somebody has removed it already
        if [path.name for path in folder.iterdir()] == [".lock"]:
            shutil.rmtree(folder)
