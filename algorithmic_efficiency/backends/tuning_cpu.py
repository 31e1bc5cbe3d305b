"""Process settings that make training on the CPU faster and change no number."""

import ctypes
import platform

# From glibc's <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8


def keep_freed_memory() -> bool:
    """Tells glibc's malloc to keep freed memory for the next step; says if it did.

    By default each large tensor is a fresh mapping that the kernel must fill with zero
    pages, page by page, in every step: 250,000 page faults per step of ResNet-50 in
    JAX. Threads share one heap because a thread's own heap cannot hold large blocks.
    Call it before the framework starts its threads. Elsewhere than on glibc it does
    nothing.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {_M_TRIM_THRESHOLD: -1, _M_MMAP_MAX: 0, _M_ARENA_MAX: 1}
    return all(mallopt(name, value) == 1 for name, value in settings.items())
