"""Claims steps of a service's jobs and runs them, beside any number of other runners on the same database."""

import asyncio
import math
import time
from collections.abc import Mapping
from datetime import timedelta
from uuid import uuid4

from simulacra.artifacts import ArtifactStore
from simulacra.domain import JobKind, StepCode
from simulacra.errors import SimulacraError
from simulacra.jobs.attempt import RENEW_SECONDS, Attempt, StopReason
from simulacra.jobs.context import Handler, StepContext
from simulacra.jobs.executor import Executor
from simulacra.jobs.queue import LEASE, ClaimedStep, StepQueue
from simulacra.jobs.store import JobStore
from simulacra.logs import get_logger
from simulacra.store import forget_old_requests
from simulacra.store.database import wait_briefly

__all__ = ["Runner"]

POLL_SECONDS = 0.25
_TIMED_SECONDS = 1.0
_OUTAGE_SECONDS = 1.0
_STALL_SECONDS = 5.0
_RENEWAL_TAKES_SECONDS = 3.0
_SWEEP_SECONDS = 3600.0

_logger = get_logger("simulacra.jobs")


class Runner:
    """Runs the steps that it has handlers for.

    Args:
        store: The jobs.
        handlers: What does a step's work: by step code, or by job kind and step code.
        executor: Where handlers run tasks; started and stopped with the runner.
        artifacts: The platform's artifacts.
        capacity: How many steps run at once.
        worker_id: Names this runner. If it is the same after a restart, steps that the killed process left
            are taken
            up at once; by default it is new each time, and their leases run out first (15 s).
        lease: How long a claim holds without renewal.
        renew_seconds: How often it is renewed.
    """

    def __init__(
        self,
        store: JobStore,
        handlers: Mapping[StepCode | tuple[JobKind, StepCode], Handler],
        executor: Executor,
        artifacts: ArtifactStore,
        *,
        capacity: int,
        worker_id: str | None = None,
        lease: timedelta = LEASE,
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        self._store = store
        self._handlers = {_key(code): handler for code, handler in handlers.items()}
        self._executor = executor
        self._artifacts = artifacts
        self._capacity = capacity
        self._lease = lease
        self._renew_seconds = renew_seconds
        self._queue = StepQueue(store, worker_id=worker_id or uuid4().hex, lease=lease)
        self._attempts: dict[asyncio.Task[None], Attempt] = {}
        self._claiming = True
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._stopped = False
        self._seen = -1
        self._round_at = self._timed_at = self._trusting_at = 0.0
        self._swept_at = -math.inf

    async def start(self) -> None:
        """Starts the executor and begins to claim."""
        await self._executor.start()
        await self._queue.release_own()
        self._round_at = time.monotonic()
        self._loop = asyncio.create_task(self._run())

    def stop_claiming(self) -> None:
        """Takes no new steps; those that run go on."""
        self._claiming = False

    async def stop(self, grace: float = 0.0) -> None:
        """Waits up to `grace` seconds for running steps, hands the rest back to other runners, and stops."""
        self.stop_claiming()
        if self._attempts and grace > 0:
            await asyncio.wait(self._attempts, timeout=grace)
        running = dict(self._attempts)
        for attempt in running.values():
            attempt.stop(StopReason.HAND_BACK)
        if running:
            # A database that is away must not keep the process: the leases run out by themselves.
            _, hanging = await asyncio.wait(running, timeout=5.0)
            for task in hanging:
                task.cancel()
            if hanging:
                await asyncio.wait(hanging)
        if self._loop is not None:
            self._stopped = True
            self._loop.cancel()
            await asyncio.wait([self._loop])
            self._loop = None
        await self._executor.stop()

    @property
    def running(self) -> int:
        """How many steps run at this moment."""
        return len(self._attempts)

    async def _run(self) -> None:
        with self._store.database.wakeups() as self._wake:
            while not self._stopped:
                try:
                    await self._round()
                except SimulacraError as error:
                    _logger.warning("queue_not_readable", error=error.message)
                    self._mistrust_leases()
                    await asyncio.sleep(_OUTAGE_SECONDS)
                except Exception:  # a fault in one job, or in a service's observer, must not stop all others
                    _logger.exception("runner_fault")
                    await asyncio.sleep(_OUTAGE_SECONDS)
                await wait_briefly(self._wake, POLL_SECONDS)

    async def _round(self) -> None:
        woken = self._wake.is_set()
        self._wake.clear()
        now = time.monotonic()
        if now - self._round_at > _STALL_SECONDS:
            self._mistrust_leases()
        self._round_at = now
        revision = await self._store.database.revision()
        timed = now - self._timed_at >= _TIMED_SECONDS
        if revision == self._seen and not timed and not woken:
            return
        self._seen = revision
        await self._stop_canceled()
        if timed:
            self._timed_at = now
            if now >= self._trusting_at:
                await self._queue.expire(alive=self._claims())
        await self._claim()
        if now - self._swept_at >= _SWEEP_SECONDS:
            self._swept_at = now
            await self._sweep()

    def _mistrust_leases(self) -> None:
        """Lets leases be for a while: after an outage all look old, until their living owners renew them."""
        self._trusting_at = time.monotonic() + self._renew_seconds + _RENEWAL_TAKES_SECONDS

    async def _claim(self) -> None:
        while self._claiming and len(self._attempts) < self._capacity:
            claim = await self._queue.claim(self._handlers)
            if claim is None:
                return
            self._begin(claim)

    async def _sweep(self) -> None:
        async with self._store.database.begin() as tx:
            await forget_old_requests(tx)
            await self._store.forget_old_logs(tx)

    def _begin(self, claim: ClaimedStep) -> None:
        handler = self._handlers.get((claim.kind, claim.code)) or self._handlers[None, claim.code]
        context = StepContext(claim, self._executor, self._artifacts)
        attempt = Attempt(self._queue, claim, handler, context, renew_seconds=self._renew_seconds)
        task = asyncio.create_task(attempt.run(), name=f"step {claim.key}")
        self._attempts[task] = attempt
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._attempts[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("step_end_not_recorded", exc_info=error)
        self._wake.set()

    def _claims(self) -> list[ClaimedStep]:
        return [attempt.claim for attempt in self._attempts.values()]

    async def _stop_canceled(self) -> None:
        running = {attempt.claim.id: attempt for attempt in self._attempts.values()}
        stopped = await self._queue.to_stop(self._claims())
        for step_id, lost in stopped.items():
            running[step_id].stop(StopReason.LOST if lost else StopReason.CANCEL)


def _key(code: StepCode | tuple[JobKind, StepCode]) -> tuple[JobKind | None, StepCode]:
    return code if isinstance(code, tuple) else (None, code)
