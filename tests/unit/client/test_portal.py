"""The loop of the blocking client: results, errors, Ctrl-C, end."""

import asyncio
import os
import signal
import threading
import time
from typing import Any

import pytest

from simulacra.client._portal import Portal


async def add(first: int, second: int) -> int:
    await asyncio.sleep(0)
    return first + second


async def fail() -> None:
    raise ValueError("no")


def test_results_and_errors_come_back() -> None:
    portal = Portal()
    assert portal.run(add(1, 2)) == 3
    with pytest.raises(ValueError, match="no"):
        portal.run(fail())
    portal.close()


def test_the_thread_ends_with_the_portal_and_starts_again() -> None:
    portal = Portal()
    assert portal.run(add(1, 2)) == 3
    assert any(thread.name == "simulacra-client" for thread in threading.enumerate())
    portal.close()
    assert not any(thread.name == "simulacra-client" for thread in threading.enumerate())
    assert portal.run(add(2, 2)) == 4
    portal.close()


def test_what_still_runs_is_cancelled_at_the_end() -> None:
    portal = Portal()
    cancelled = threading.Event()

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def start() -> None:
        task = asyncio.create_task(wait_for_ever())
        tasks.append(task)
        await asyncio.sleep(0)

    tasks: list[asyncio.Task[None]] = []
    portal.run(start())
    portal.close()
    assert cancelled.wait(5)


def test_ctrl_c_cancels_and_waits_for_the_clean_up() -> None:
    portal = Portal()
    steps: list[str] = []

    async def interrupted() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            for _ in range(10):
                await asyncio.sleep(0)
            steps.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        portal.run(interrupted())
    assert steps == ["cleaned up"]
    portal.close()


def test_ctrl_c_while_the_loop_is_told_to_begin_cancels_too() -> None:
    """The signal may arrive when the coroutine has been handed over, and before anybody waits for it."""
    portal = Portal()
    portal.run(add(1, 2))
    assert portal._loop is not None
    hand_over = portal._loop.call_soon_threadsafe
    steps: list[str] = []

    async def interrupted() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            steps.append("cleaned up")

    def hand_over_and_be_interrupted(*arguments: Any) -> None:
        portal._loop.call_soon_threadsafe = hand_over  # type: ignore[union-attr, method-assign]
        hand_over(*arguments)
        time.sleep(0.1)  # the coroutine runs
        raise KeyboardInterrupt

    portal._loop.call_soon_threadsafe = hand_over_and_be_interrupted  # type: ignore[assignment, method-assign]
    with pytest.raises(KeyboardInterrupt):
        portal.run(interrupted())
    assert steps == ["cleaned up"]
    portal.close()
