"""Says why a trial failed: a word for its record and a sentence for people."""

import errno
import signal
import traceback
from pathlib import Path

from algorithmic_efficiency.errors import DataError, UserError
from algorithmic_efficiency.registry import ROOT

# Of errors that say in words only that memory ran out: the class's name or a parent's,
# and the words of the framework or of the driver. A submission's own ValueError may say
# "out of memory" as it likes.
_NO_MEMORY = (
    ("OutOfMemoryError", ""),
    ("XlaRuntimeError", "RESOURCE_EXHAUSTED"),
    ("JaxRuntimeError", "RESOURCE_EXHAUSTED"),
    ("RuntimeError", "DefaultCPUAllocator: can't allocate memory"),
    ("RuntimeError", "CUDA out of memory"),
    ("RuntimeError", "CUDA error: out of memory"),
    ("RuntimeError", "HIP out of memory"),
    ("RuntimeError", "MPS backend out of memory"),
    ("RuntimeError", "_STATUS_ALLOC_FAILED"),
    ("RuntimeError", "std::bad_alloc"),
)
_FOREIGN = ("site-packages", "dist-packages")
_HARNESS = tuple(
    ROOT / name for name in ("algorithmic_efficiency", "workloads", "scoring")
)


def reason_of(error: BaseException) -> str:
    """Returns the `stop_reason` of a trial that an error has ended."""
    if is_out_of_memory(error):
        return "out_of_memory"
    return "bad_data" if isinstance(error, DataError) else "failed"


def is_out_of_memory(error: BaseException | None) -> bool:
    """Says whether memory ran out, on the device or beside it, in either framework."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return True
        names = {kind.__name__ for kind in type(error).__mro__}
        text = str(error)
        if any(name in names and words in text for name, words in _NO_MEMORY):
            return True
        error = error.__cause__
    return False


def told(error: BaseException) -> str:
    """Returns an error as words: a sentence of ours, or the class and its message."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, SystemExit):
        return f"the submission ended the process (SystemExit: {error.code})"
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def where(error: BaseException, submission: Path) -> str:
    """Returns 'file, line n, in function' of the submission's own last line.

    Without such a line it is the last of all; '' where there is no traceback, or the
    error is a sentence that names what it is about.
    """
    last = last_own_frame(error, submission)
    if isinstance(error, UserError) and last and not _is_own(last.filename, submission):
        return ""
    return f"{last.filename}, line {last.lineno}, in {last.name}" if last else ""


def last_own_frame(
    error: BaseException, submission: Path
) -> traceback.FrameSummary | None:
    """Returns the submission's last frame in a traceback, else the last of all.

    An error that was raised in the place of another one has the frames of both.
    """
    frames = list(traceback.extract_tb(error.__traceback__))
    cause = error.__cause__
    while cause is not None:
        frames += traceback.extract_tb(cause.__traceback__)
        cause = cause.__cause__
    own = [frame for frame in frames if _is_own(frame.filename, submission)]
    found = own or frames
    return found[-1] if found else None


def _is_own(file: str, submission: Path) -> bool:
    """Says whether a file is the submission, or lies beside it or below."""
    path, submission = Path(file).resolve(), submission.resolve()
    if path == submission:
        return True
    foreign = any(part in _FOREIGN for part in path.parts) or any(
        path.is_relative_to(folder) for folder in _HARNESS
    )
    return path.is_relative_to(submission.parent) and not foreign


def died(code: int | None, *, memory: bool) -> tuple[str, str]:
    """Returns (`stop_reason`, words) for a process that ended without a record.

    Args:
      code: its exit code; below 0 the signal that killed it.
      memory: the system has killed a process of ours because memory ran out.
    """
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        if memory and -code == signal.SIGKILL:
            return "out_of_memory", "the system killed it because memory ran out"
        hint = ", as the system does when memory runs out" * (-code == signal.SIGKILL)
        return "killed", f"its process was killed by {name}{hint}"
    return "exited", f"its process ended by itself with exit code {code}"
