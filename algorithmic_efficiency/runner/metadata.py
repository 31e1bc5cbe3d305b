"""Where a run took place: hardware, operating system, versions, source."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from typing import Any

import psutil

from algorithmic_efficiency.registry import ROOT

_PACKAGES = ("numpy", "opencv-python-headless", "grain", "scipy")


def hardware() -> dict[str, Any]:
    """Returns processor, memory in bytes and GPUs."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": _gpus(),
    }


def versions() -> dict[str, str]:
    """Returns versions of this project, Python and the packages that shape results."""
    found = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "source": _source(),
    }
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def peak_memory_bytes() -> int:
    """Returns the largest resident memory of this process so far."""
    import resource  # noqa: PLC0415 - not on every platform

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123 - a device file
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gpus() -> list[dict[str, Any]]:
    import pynvml  # noqa: PLC0415 - loads the driver's library

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    gpus = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        name = pynvml.nvmlDeviceGetName(handle)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total
        gpus.append({"name": name, "memory_bytes": memory})
    return gpus


def _source() -> str:
    """Returns the commit, with '+' where files differ from it, or the release."""
    if not (ROOT / ".git").exists():
        return f"release {metadata.version('algorithmic-efficiency')}"
    command = [
        "git",
        "-C",
        str(ROOT),
        "describe",
        "--always",
        "--dirty=+",
        "--abbrev=12",
    ]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            command, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
