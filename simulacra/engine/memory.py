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


class _Usage(ctypes.Structure):
    """`struct mallinfo2` of malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks"),
            *("fordblks", "keepcost"),
        )
    ]


@contextmanager
def kept() -> Iterator[None]:
    """Keeps freed memory while the block runs, up to a gigabyte; gives it back at the end, if it is much.

    Does nothing without glibc 2.33, or where the environment says how malloc is to be. Afterwards glibc's
    thresholds stay at the most that they grow to by themselves.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        yield
        return
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallinfo2.restype = _Usage
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
        if libc.mallinfo2().fordblks > _LITTLE:
            libc.malloc_trim(0)
