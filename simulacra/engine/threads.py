"""Work on several cores: in threads, since numpy, Arrow and torch let others run meanwhile."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_threads"]

T = TypeVar("T")
U = TypeVar("U")


def in_threads(work: Callable[[U], T], items: Iterable[U], threads: int) -> list[T]:
    """Returns what `work` makes of each item, in their order; at most `threads` at a time."""
    items = list(items)
    if threads <= 1 or len(items) <= 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(threads, len(items))) as pool:
        return list(pool.map(work, items))
