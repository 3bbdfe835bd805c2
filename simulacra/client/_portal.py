"""A private event loop in a thread of its own, on which the blocking client's calls run."""

import asyncio
import threading
import weakref
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future, wait
from typing import Any, TypeVar

__all__ = ["Portal"]

T = TypeVar("T")
CLEAN_UP_SECONDS = 5.0


class Portal:
    """Runs coroutines on its loop, waited for from other threads; the loop starts with the first call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Returns the coroutine's result; Ctrl-C cancels it and waits for its end.

        Raises:
            RuntimeError: If called from the portal's own loop, which it would block for ever.
        """
        loop = self._started()
        answer: Future[T] = Future()
        tasks: list[asyncio.Task[T]] = []

        def begin() -> None:
            tasks.append(loop.create_task(coroutine))
            tasks[0].add_done_callback(lambda task: _settle(answer, task))

        def end() -> None:
            if tasks:
                tasks[0].cancel()
            else:  # interrupted before the loop was told to begin
                coroutine.close()
                answer.cancel()

        try:
            loop.call_soon_threadsafe(begin)  # Ctrl-C may arrive in here, when the loop has begun already
            return answer.result()
        except BaseException:
            if not answer.done():
                loop.call_soon_threadsafe(end)
                wait([answer], CLEAN_UP_SECONDS)  # the caller's own clean-up comes after the coroutine's
            raise

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                thread = threading.Thread(
                    target=_serve, args=(self._loop,), name="simulacra-client", daemon=True
                )
                thread.start()
                self._finalizer = weakref.finalize(self, _stop, self._loop, thread)
            return self._loop

    def close(self) -> None:
        """Ends the loop and its thread; a later call starts new ones."""
        with self._lock:
            if self._finalizer is not None:
                self._finalizer()
            self._loop = self._finalizer = None


def _settle(answer: Future[T], task: asyncio.Task[T]) -> None:
    if task.cancelled():
        answer.set_exception(CancelledError())
    elif error := task.exception():
        answer.set_exception(error)
    else:
        answer.set_result(task.result())


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(_cancel_all())
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    if loop.is_closed():
        return
    loop.call_soon_threadsafe(loop.stop)
    if thread is not threading.current_thread():
        thread.join(5)
