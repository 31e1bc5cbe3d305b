"""Keeps what earlier runs compiled out of this one: a run pays for its compilation.

With a cache on disk the second run of a submission is faster than its first, and a
score tells how often somebody has tried. Caches in memory stay: they are this run's.
"""

import atexit
import os
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Any

# What this process was asked for and did not do: name of a setting -> value.
IGNORED: dict[str, str] = {}

_JAX_OFF = {"jax_enable_compilation_cache": False, "jax_compilation_cache_dir": None}
_XLA_FLAGS = ("autotune_cache_dir", "kernel_cache_file", "load_autotune_results_from")
_PREFIX = "algoperf_compiled_"
# Environment -> the folder below this run's own. Triton's is made by Inductor.
_TORCH_FOLDERS = {"TORCHINDUCTOR_CACHE_DIR": "", "TRITON_CACHE_DIR": "triton"}


def turn_off_jax() -> None:
    """Turns JAX's persistent cache off, also against whoever sets it up afterwards.

    Call it before anything is compiled. What the environment and `jax.config` say, and
    what they are told later, is kept in `IGNORED`.
    """
    import jax  # noqa: PLC0415 - only in processes of JAX
    from jax.experimental.compilation_cache import compilation_cache  # noqa: PLC0415

    _drop_xla_flags()
    update = jax.config.update
    if getattr(update, "keeps_cache_off", False):
        return
    folder = jax.config.values["jax_compilation_cache_dir"]
    if folder is not None:
        IGNORED["jax_compilation_cache_dir"] = str(folder)
    for name, value in _JAX_OFF.items():
        update(name, value)
    compilation_cache.reset_cache()  # what is used is decided at the next compilation

    def guarded(name: str, value: Any) -> None:
        if name not in _JAX_OFF:
            update(name, value)
        elif value != _JAX_OFF[name]:
            IGNORED[name] = str(value)

    guarded.keeps_cache_off = True  # type: ignore[attr-defined]  # a mark
    jax.config.update = guarded  # type: ignore[method-assign]  # JAX offers no lock


def _drop_xla_flags() -> None:
    """Removes XLA's own caches on disk from XLA_FLAGS, which is read once."""
    kept = []
    for flag in os.environ.get("XLA_FLAGS", "").split():
        name, _, value = flag.removeprefix("--").partition("=")
        if name.endswith(_XLA_FLAGS):
            IGNORED[name] = value
        else:
            kept.append(flag)
    if "XLA_FLAGS" in os.environ:
        os.environ["XLA_FLAGS"] = " ".join(kept)


class TorchCaches:
    """Gives torch.compile an empty folder of this process, and no other cache.

    The folder comes into being when something is compiled and goes with the process.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.gettempdir(), f"{_PREFIX}{uuid.uuid4().hex}")
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        for name in [name for name in os.environ if _is_remote(name)]:
            IGNORED[name] = os.environ.pop(name)
        self.keep()

    def keep(self) -> None:
        """Puts the environment back to that folder, whoever has changed it."""
        for name, below in _TORCH_FOLDERS.items():
            folder, found = str(self._folder / below), os.environ.get(name)
            if found == folder:
                continue
            if found is not None and _PREFIX not in found:  # nor a parent process's
                IGNORED[name] = found
            os.environ[name] = folder


def _is_remote(name: str) -> bool:
    return name.startswith("TORCHINDUCTOR_") and name.endswith("REMOTE_CACHE")
