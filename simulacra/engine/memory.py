"""Memory of training and sampling: every step needs the same megabytes, so freed pages are kept for the next.

By default glibc gives them back to the kernel and asks for them again, which costs a training on two threads
a fifth of its time in page faults, and sampling a third.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["kept"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # M_TRIM_THRESHOLD and so on of malloc.h
_KEPT = 1 << 30
_FROM_HEAP = 32 << 20  # glibc's own limit
_MAPPINGS = 65536  # glibc's default
_LITTLE = 64 << 20  # not worth giving back: whoever trains samples next


@contextmanager
def kept() -> Iterator[None]:
    """Keeps freed memory while the block runs, up to a gigabyte; gives it back at the end, if it took much.

    Does nothing where there is no glibc, or where the environment says how malloc is to be. Afterwards
    glibc's thresholds stay at the most that they grow to by themselves.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        yield
        return
    try:
        libc = ctypes.CDLL("libc.so.6")
        before = _resident()
        libc.mallopt(_TRIM_THRESHOLD, _KEPT)
        libc.mallopt(_MMAP_THRESHOLD, _FROM_HEAP)
        libc.mallopt(_MMAP_MAX, 0)  # what is larger than that comes from the heap too
    except (OSError, AttributeError):
        yield
        return
    try:
        yield
    finally:
        libc.mallopt(_TRIM_THRESHOLD, _LITTLE)
        libc.mallopt(_MMAP_MAX, _MAPPINGS)
        if _resident() - before > _LITTLE:
            libc.malloc_trim(0)


def _resident() -> int:
    """Returns how many bytes of memory the process has; 0 where that cannot be told."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
