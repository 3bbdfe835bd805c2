"""Tries again what failed for a reason that may pass: a server that restarts, a network that is away."""

import random
import threading
import time
from collections.abc import Callable, Generator
from typing import TypeVar

from simulacra.errors import SourceUnreachable
from simulacra_connector.drivers.base import Cancellation

__all__ = ["persist"]

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_ATTEMPTS = 10


def persist(
    work: Callable[[], Generator[T, None, None]], *, seconds: float, cancellation: Cancellation
) -> Generator[T, None, None]:
    """Runs `work`, which can be run again from its start, until the source answers or patience ends.

    Args:
        work: Yields progress.
        seconds: For how long a source may not answer, counted anew when there was progress in between.
        cancellation: Ends the waiting at once.

    Raises:
        SourceUnreachable: The last one. All other errors are raised as they come.
    """
    deadline, pause = time.monotonic() + seconds, _FIRST_PAUSE
    for attempt in range(_ATTEMPTS):
        try:
            for item in work():
                deadline, pause = time.monotonic() + seconds, _FIRST_PAUSE
                yield item
            return
        except SourceUnreachable:
            if attempt == _ATTEMPTS - 1 or time.monotonic() + pause > deadline:
                raise
        _wait(pause * random.uniform(0.8, 1.2), cancellation)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _wait(seconds: float, cancellation: Cancellation) -> None:
    canceled = threading.Event()
    with cancellation.stopping(canceled.set):
        canceled.wait(seconds)
    cancellation.check()
