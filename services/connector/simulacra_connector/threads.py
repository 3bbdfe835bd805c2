"""Runs the blocking work of drivers in threads; an abandoned call stops it, at the server too."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from simulacra_connector.drivers.base import Canceled, Cancellation

__all__ = ["DriverThreads"]

T = TypeVar("T")


class _End:
    """Marks the end of an iterator across the thread boundary, where StopIteration cannot go."""


class DriverThreads:
    """A bounded pool of threads: also the bound of connections that are busy at once."""

    def __init__(self, size: int) -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="driver")

    async def call(self, work: Callable[[Cancellation], T]) -> T:
        """Runs `work` and returns its result."""
        cancellation = Cancellation()
        result: T = await self._wait(self._pool.submit(work, cancellation), cancellation)
        return result

    async def stream(
        self, work: Callable[[Cancellation], Generator[T, None, None]]
    ) -> AsyncGenerator[T, None]:
        """Runs a generator a step at a time: what is not asked for is not read."""
        cancellation = Cancellation()
        items = work(cancellation)
        step: Future[Any] | None = None
        try:
            while True:
                step = self._pool.submit(next, items, _End)
                item = await self._wait(step, cancellation)
                if item is _End:
                    return
                yield item
        finally:
            # Not interrupted by a second cancellation: connections must not be left open.
            await asyncio.shield(asyncio.ensure_future(_close(items, step)))

    def close(self) -> None:
        """Takes no more work; what runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _wait(self, future: "Future[Any]", cancellation: Cancellation) -> Any:
        waiting = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            # A thread cannot be stopped from outside: the driver is told, and the call ends when it has.
            await asyncio.shield(asyncio.ensure_future(_stop(waiting, cancellation)))
            raise
        except Canceled:
            raise asyncio.CancelledError from None


async def _stop(waiting: "asyncio.Future[Any]", cancellation: Cancellation) -> None:
    await asyncio.to_thread(cancellation.cancel)
    await asyncio.wait([waiting])
    if not waiting.cancelled():
        waiting.exception()


async def _close(items: Generator[Any, None, None], step: "Future[Any] | None") -> None:
    if step is not None and not step.done():
        await asyncio.wait([asyncio.wrap_future(step)])
    await asyncio.to_thread(items.close)
