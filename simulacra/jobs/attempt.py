"""One attempt at one step: runs the handler beside its heartbeat, and records how it ended."""

import asyncio
import contextlib
import traceback
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, TypeVar

from simulacra.domain import LogLevel
from simulacra.errors import Code, DatabaseUnavailable, SimulacraError, StorageFull
from simulacra.jobs.context import Handler, Report, StepContext, StepResult
from simulacra.jobs.queue import ClaimedStep, Failure, LeaseLost, LogEntry, StepQueue
from simulacra.jobs.task import TaskCrashed
from simulacra.logs import get_logger
from simulacra.store.database import utc_now

__all__ = ["Attempt", "StopReason", "failure_of", "while_available"]

RENEW_SECONDS = 5.0
PROGRESS_SECONDS = 0.5
_RETRYABLE = {
    Code.UNKNOWN,
    Code.DEADLINE_EXCEEDED,
    Code.ABORTED,
    Code.INTERNAL,
    Code.UNAVAILABLE,
    Code.CANCELLED,
}

_T = TypeVar("_T")
_logger = get_logger("simulacra.jobs")


class StopReason(Enum):
    """Why a running step is stopped."""

    CANCEL = "the job is canceled, or another of its steps has failed"
    LOST = "another runner has taken the step over"
    HAND_BACK = "this runner shuts down"


class Attempt:
    """Drives one claimed step to its end.

    Args:
        queue: Where it is recorded.
        claim: The step.
        handler: Does the work.
        context: What the handler gets.
        renew_seconds: How often the lease is renewed.
    """

    def __init__(
        self,
        queue: StepQueue,
        claim: ClaimedStep,
        handler: Handler,
        context: StepContext,
        *,
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        self.claim = claim
        self._queue = queue
        self._handler = handler
        self._context = context
        self._renew_seconds = renew_seconds
        self._work: asyncio.Task[StepResult] | None = None
        self._stop_reason: StopReason | None = None
        self._writing = asyncio.Lock()

    def stop(self, reason: StopReason) -> None:
        """Has the work stopped; the first reason counts."""
        if self._stop_reason is None:
            self._stop_reason = reason
        if self._work is not None:
            self._work.cancel()

    async def run(self) -> None:
        """Runs the step; returns when its end is recorded, or is not ours to record."""
        log = _logger.bind(job_id=self.claim.job_id, step=self.claim.key, attempt=self.claim.attempt)
        with contextlib.suppress(LeaseLost):
            await self._run(log)
        if self._stop_reason is StopReason.LOST:
            log.warning("step_taken_over")

    async def _run(self, log: Any) -> None:
        self._work = asyncio.ensure_future(self._handler(self._context))
        if self._stop_reason is not None:
            self._work.cancel()
        beats = [asyncio.create_task(self._renew()), asyncio.create_task(self._record_progress())]
        try:
            await asyncio.wait([self._work])
            async with self._writing:  # a write under way is let finish, or its lines would come twice
                beats[1].cancel()
            await asyncio.wait([beats[1]])
            await self._record_end(self._work, log)
        finally:
            for task in (self._work, *beats):
                task.cancel()
            await asyncio.wait([self._work, *beats])

    async def _record_end(self, work: "asyncio.Task[StepResult]", log: Any) -> None:
        report = self._context.take_report()
        queue, claim = self._queue, self.claim
        if self._stop_reason is StopReason.LOST:
            return
        if work.cancelled() and self._stop_reason is not None:
            end = queue.hand_back if self._stop_reason is StopReason.HAND_BACK else queue.cancel
            await while_available(lambda: end(claim, log=report.log))
            return
        error = RuntimeError("the work was interrupted") if work.cancelled() else work.exception()
        if error is None:
            error = await self._complete(work.result(), report)
            if error is None:
                return
        failure, details = failure_of(error)
        log.warning("step_failed", reason=failure.reason, error=failure.message, retryable=failure.retryable)
        lines = [*report.log, LogEntry(utc_now(), LogLevel.ERROR, details)]
        await while_available(lambda: queue.fail(claim, failure, log=lines))

    async def _complete(self, result: StepResult, report: Report) -> BaseException | None:
        """Records success; returns what the service's own commit raised, if it did."""
        try:
            await while_available(
                lambda: self._queue.complete(
                    self.claim,
                    result.output,
                    commit=result.commit,
                    max=report.max,
                    messages=report.messages,
                    log=report.log,
                )
            )
        except LeaseLost:
            raise
        except Exception as error:  # a commit that fails is a failed attempt, like a handler that fails
            return error
        return None

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._renew_seconds)
            try:
                await while_available(lambda: self._queue.renew(self.claim))
            except LeaseLost:
                self.stop(StopReason.LOST)
                return
            except SimulacraError as error:
                _logger.warning("lease_not_renewed", error=error.message)

    async def _record_progress(self) -> None:
        while True:
            await self._context.reported.wait()
            async with self._writing:
                await self._write(self._context.take_report())
            await asyncio.sleep(PROGRESS_SECONDS)

    async def _write(self, report: Report) -> None:
        try:
            stopping = await self._queue.record(
                self.claim, value=report.value, max=report.max, messages=report.messages, log=report.log
            )
        except LeaseLost:
            self.stop(StopReason.LOST)
        except SimulacraError:
            self._context.give_back(report)
        except Exception:  # such as a message that is no JSON; what a step says must not break what it does
            _logger.exception("progress_not_written", job_id=self.claim.job_id, step=self.claim.key)
        else:
            if stopping:
                self.stop(StopReason.CANCEL)


async def while_available(operation: Callable[[], Awaitable[_T]]) -> _T:
    """Runs `operation`, again and again while the database is away or full, with pauses of up to 2 s."""
    pause = 0.1
    while True:
        try:
            return await operation()
        except (DatabaseUnavailable, StorageFull) as error:
            _logger.warning("database_not_writable", error=error.message)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)


def failure_of(error: BaseException) -> tuple[Failure, str]:
    """Returns what an exception of a handler means, and the text for the log."""
    details = "".join(traceback.format_exception(error))
    if isinstance(error, TaskCrashed):
        return Failure(str(error), "INTERNAL", retryable=True), error.details
    if isinstance(error, SimulacraError):
        failure = Failure(
            error.message,
            error.reason,
            retryable=error.code in _RETRYABLE,
            unavailable=error.code == Code.UNAVAILABLE,
        )
        return failure, details if failure.retryable else error.message
    return Failure(f"{type(error).__name__}: {error}", "INTERNAL", retryable=True), details
