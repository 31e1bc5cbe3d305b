"""What the processor is, as the operating system tells; it needs no framework."""

import dataclasses
import functools
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


@dataclasses.dataclass(frozen=True)
class Processor:
    """The first processor of the machine; empty where nothing is known.

    Attributes:
      vendor: such as 'AuthenticAMD' or 'GenuineIntel'.
      family: AMD's 25 is Zen 3 and Zen 4, 26 is Zen 5; -1 where it is not known.
      flags: the features that programs may use, such as 'avx512f'.
    """

    vendor: str = ""
    family: int = -1
    flags: frozenset[str] = frozenset()


@functools.cache
def this() -> Processor:
    """Returns this machine's processor, read once per process from /proc/cpuinfo."""
    try:
        return parse(CPUINFO.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return Processor()


def parse(text: str) -> Processor:
    """Returns the first processor in the text of /proc/cpuinfo."""
    first, _, _ = text.strip().partition("\n\n")
    rows = (line.partition(":") for line in first.splitlines())
    values = {name.strip(): value.strip() for name, _, value in rows}
    family = values.get("cpu family", "")
    return Processor(
        values.get("vendor_id", ""),
        int(family) if family.isascii() and family.isdigit() else -1,
        frozenset(values.get("flags", "").split()),
    )
