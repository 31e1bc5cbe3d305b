"""Standard output and error whose reader may leave: no run ends for want of one.

`head` closes a pipe, a terminal is lost, a disk with the log fills up, or a service is
started with no stream at all. What is shown is then lost, and nothing else is.
"""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

_GONE = (errno.EPIPE, errno.EIO, errno.EBADF)  # nobody will read again


class Patient:
    """A stream that drops what it cannot write; all else is that of `stream`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes text if somebody takes it; returns its length."""
        with self._dropping():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Passes on what is kept."""
        with self._dropping():
            self._stream.flush()

    @contextlib.contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _GONE:
                with contextlib.suppress(OSError):
                    _to_nowhere(self._stream.fileno())


@contextlib.contextmanager
def readers_may_leave() -> Iterator[None]:
    """Lets prints go on, by whomever, where nobody takes them any more."""
    before = sys.stdout, sys.stderr
    out, err = (
        Patient(_opened(number) if stream is None else stream)
        for number, stream in enumerate(before, start=1)
    )
    sys.stdout, sys.stderr = cast("TextIO", out), cast("TextIO", err)
    try:
        yield
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


def _opened(number: int) -> TextIO:
    """Opens a closed stream, so that no file of ours gets its number."""
    try:
        os.fstat(number)
    except OSError:
        _to_nowhere(number)
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - it stays


def _to_nowhere(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == number:
        os.set_inheritable(number, True)  # noqa: FBT003 - it has no name
        return
    os.dup2(nowhere, number)
    os.close(nowhere)
