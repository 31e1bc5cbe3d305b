"""Notices what a submission does beside its work, while it runs.

Python's audit events tell of the environment, programs, the network and files; threads
are followed from their start; the harness and the framework's settings are compared
before and after every call. What happens is charged to a line of the submission if the
innermost frame that is not Python's own library lies in the submission's folder.
"""

from __future__ import annotations

import sys
import sysconfig
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from algorithmic_efficiency.registry import ROOT
from scoring.checker.surroundings import GRACE_SECONDS
from scoring.checker.syntax import Finding

# Audit event -> (rule, certain, what it does).
EVENTS = {
    "os.putenv": ("environment", True, "changes the environment"),
    "os.unsetenv": ("environment", True, "changes the environment"),
    "os.chdir": ("environment", True, "changes the working folder"),
    "os.system": ("environment", True, "runs another program"),
    "os.exec": ("environment", True, "runs another program"),
    "os.posix_spawn": ("environment", True, "runs another program"),
    "subprocess.Popen": ("environment", True, "runs another program"),
    "os.fork": ("background work", False, "starts a process"),
    "socket.bind": ("environment", True, "uses the network"),
    "socket.connect": ("environment", True, "uses the network"),
    "socket.getaddrinfo": ("environment", True, "uses the network"),
    "socket.sendto": ("environment", True, "uses the network"),
    "sys.settrace": ("environment", True, "hooks into the interpreter"),
    "sys.setprofile": ("environment", True, "hooks into the interpreter"),
}
WRITING = frozenset("wax+")
LIBRARY = sysconfig.get_paths()["stdlib"]
HARNESS = tuple(
    str(ROOT / name)
    for name in ("algorithmic_efficiency", "workloads", "dataset_setup", "scoring")
)
# What is compared: name -> value; a change of 'evaluation' is certainly against the
# rules, one of 'environment' perhaps.
Surroundings = Callable[[], Mapping[str, Mapping[str, Any]]]


class Watch:
    """Collects `findings` while functions run that went through `function`."""

    def __init__(self, path: Path) -> None:
        self.findings: set[Finding] = set()
        self.surroundings: Surroundings = dict
        self._path = str(path)
        self.lines: dict[str, int] = {}  # where the watched functions begin
        self._threads: list[tuple[threading.Thread, int]] = []
        self._forked = 0  # the line that started the last process
        self._processes = {child.pid for child in psutil.Process().children()}
        self._before: Mapping[str, Mapping[str, Any]] = {}

    def start(self) -> None:
        """Begin to listen; there is no way back in this process."""
        sys.addaudithook(self._hear)
        start = threading.Thread.start

        def started(thread: threading.Thread) -> None:
            line = self.line(sys._getframe(1))
            if line:
                self._threads.append((thread, line))
            start(thread)

        threading.Thread.start = started  # type: ignore[method-assign,assignment]  # patched only in this process

    def look(self) -> None:
        """Remember how everything is before the submission runs."""
        self._before = self.surroundings()

    def function(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same, and is looked after."""
        code = getattr(function, "__code__", None)
        own = code is not None and code.co_filename == self._path
        self.lines[name] = int(getattr(code, "co_firstlineno", 1)) if own else 1

        def watched(*args: Any, **kwargs: Any) -> Any:
            self.look()  # what the harness has changed is its own affair
            try:
                return function(*args, **kwargs)
            finally:
                self.check(name)

        return watched

    def check(self, name: str) -> None:
        """Find what the call of a watched function has left behind."""
        after = self.surroundings()
        for rule, now in after.items():
            before = self._before.get(rule, {})
            changed = [k for k, v in before.items() if _changed(v, now.get(k))]
            if changed:
                more = f" and {len(changed) - 2} more" if len(changed) > 2 else ""
                message = f"{name} changes {', '.join(changed[:2])}{more}"
                self._add(self.lines[name], rule, rule == "evaluation", message)
        self._before = after
        self._check_threads(name)
        self._check_processes(name, self.lines[name])

    def line(self, frame: FrameType | None) -> int | None:
        """Return the line of the submission that a frame is charged to, if it is."""
        known = False
        while frame is not None:
            file = frame.f_code.co_filename
            if not known and not _is_library(file):
                if not self._is_own(file):
                    return None
                known = True
            if file == self._path:
                return frame.f_lineno
            frame = frame.f_back
        return 1 if known else None

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take one of Python's audit events."""
        if event == "open":
            mode = arguments[1] or ""
            if WRITING & set(mode) and (line := self.line(sys._getframe(1))):
                self._add(line, "environment", False, "a file is written")
            return
        known = EVENTS.get(event)
        if known and (line := self.line(sys._getframe(1))):
            self._forked = line if event == "os.fork" else self._forked
            rule, certain, what = known
            self._add(line, rule, certain, f"this {what}")

    def _check_threads(self, name: str) -> None:
        """Find threads of the submission that live on."""
        idle = []
        for thread, line in self._threads:
            thread.join(GRACE_SECONDS)
            if not thread.is_alive():
                continue
            if _is_idle(thread):
                idle.append((thread, line))
                message = "a thread that waits for work is kept after the call"
            else:
                message = f"a thread is still at work when {name} has returned"
            self._add(line, "background work", not _is_idle(thread), message)
        self._threads = idle  # the others have been reported

    def _check_processes(self, name: str, line: int) -> None:
        """Find new processes that live on; those of a framework are a suspicion."""
        for child in psutil.Process().children():
            if child.pid in self._processes:
                continue
            self._processes.add(child.pid)
            if child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
                message = f"a process lives on when {name} has returned"
                own = bool(self._forked)
                self._add(self._forked or line, "background work", own, message)

    def _is_own(self, file: str) -> bool:
        """Tell whether a file is the submission, or lies beside it."""
        if file == self._path:
            return True
        folder = str(Path(self._path).parent) + "/"
        return (
            file.startswith(folder)
            and "site-packages" not in file
            and not file.startswith(HARNESS)
        )

    def _add(self, line: int, rule: str, certain: bool, message: str) -> None:
        self.findings.add(Finding(line, rule, certain, message))


def _is_library(file: str) -> bool:
    """Tell whether code belongs to Python itself."""
    return file.startswith("<") or (
        file.startswith(LIBRARY) and "site-packages" not in file
    )


def _is_idle(thread: threading.Thread) -> bool:
    """Tell whether a pool's worker waits for something to do."""
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is not None and frame.f_code.co_name == "_worker"


def _changed(before: Any, after: Any) -> bool:
    """Compare code by identity, and plain values by value."""
    if before is after:
        return False
    plain = isinstance(before, str | int | float | tuple | None)
    return not plain or before != after
