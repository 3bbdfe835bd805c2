"""Time limits for a file system of Arrow's that has no setting for one, such as Azure's.

A call that hangs in Arrow can neither be ended nor waited for: it is made in a thread of its own, which is
left behind when its time is up. It holds up nothing, not even the end of the process.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from simulacra.errors import SourceUnreachable

__all__ = ["Patience"]

T = TypeVar("T")


class Patience:
    """How long a storage may take to answer: at first, and after a call that it left open, less long.

    Args:
        name: The storage, for errors.
        first: Seconds until it is known to answer.
        then: Seconds for each later call.
    """

    def __init__(self, name: str, *, first: float, then: float) -> None:
        self._name, self._first, self._then = name, first, then
        self._answers = False

    def ask(self, work: Callable[[], T], tidy: Callable[["Future[T]"], None] | None = None) -> T:
        """Returns what `work` returns, or raises what it raises.

        Args:
            work: The call.
            tidy: Is called with the call's end, should it come when nobody waits for it any more.

        Raises:
            SourceUnreachable: If the storage does not answer in time.
        """
        seconds = self._then if self._answers else self._first
        call: Future[T] = Future()

        def run() -> None:
            try:
                result = work()
            except BaseException as error:  # handed over to who waits, whatever it is
                call.set_exception(error)
            else:
                call.set_result(result)

        threading.Thread(target=run, name="patience", daemon=True).start()
        wait([call], seconds)
        self._answers = call.done()
        if not self._answers:
            if tidy is not None:
                call.add_done_callback(tidy)
            raise SourceUnreachable(f"{self._name} did not answer within {seconds:g} s")
        return call.result()
