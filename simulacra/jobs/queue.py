"""The runner's side of the store: claim a step, keep its lease, record what it does, end it.

Every write after the claim carries the attempt number of the claim (the fence): a runner that was thought
dead, and whose step another has taken over, changes nothing any more and learns of it by `LeaseLost`.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from simulacra.domain import JobKind, LogLevel, ProgressStatus, StepCode
from simulacra.errors import JobNotFound
from simulacra.jobs.plan import Resources
from simulacra.jobs.state import JobState
from simulacra.jobs.store import JobStore
from simulacra.rpc.auth import Principal
from simulacra.store import Transaction, UtcDateTime
from simulacra.store.tables import job_logs, jobs, steps

__all__ = ["ClaimedStep", "Failure", "LeaseLost", "LogEntry", "StepQueue"]

LEASE = timedelta(seconds=15)
MAX_ATTEMPTS = 3
MAX_UNAVAILABLE = 10
_MAX_MESSAGES = 256
_MAX_BACKOFF = 30.0


class LeaseLost(Exception):
    """The step was taken over, ended or deleted meanwhile; whoever holds the older attempt must stop."""


@dataclass(frozen=True, slots=True)
class ClaimedStep:
    """A step that this runner works on, as it was when claimed."""

    id: str
    job_id: str
    kind: JobKind
    resource_uri: str
    resource_name: str
    owner: Principal
    key: str
    position: int
    code: StepCode
    payload: Mapping[str, Any]
    resources: Resources
    attempt: int
    max: int
    outputs: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed, and whether another may succeed.

    `unavailable` faults (a service or the database is away) are retried for minutes, others three times in
    all.
    """

    message: str
    reason: str
    retryable: bool
    unavailable: bool = False


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A line for the job's log."""

    time: datetime
    level: LogLevel
    text: str


class StepQueue:
    """Claims and records steps for one runner.

    Args:
        store: The jobs.
        worker_id: Names this runner in leases.
        lease: How long a claim holds without renewal.
    """

    def __init__(self, store: JobStore, *, worker_id: str, lease: timedelta = LEASE) -> None:
        self._store = store
        self._database = store.database
        self._worker_id = worker_id
        self._lease = lease
        self._made: dict[frozenset[tuple[JobKind | None, StepCode]], tuple[sa.Select[Any], Any]] = {}

    async def claim(self, codes: Collection[tuple[JobKind | None, StepCode]]) -> ClaimedStep | None:
        """Takes the first step that may run and has one of `codes` (kind None means any kind)."""
        now = self._store.clock()
        first, claim = self._statements(frozenset(codes))
        async with self._database.read() as connection:
            if (await connection.execute(first, {"now": now})).scalar_one_or_none() is None:
                return None
        async with self._database.begin() as tx:
            until = now + self._lease
            row = (
                await tx.execute(claim, {"now": now, "worker": self._worker_id, "until": until})
            ).one_or_none()
            if row is None:
                return None
            state = await self._store.load(tx.connection, row.job_id)
            step = state.step(row.id)
            step["start_date"] = step["start_date"] or now
            state.job["start_date"] = state.job["start_date"] or now
            await self._store.settle(tx, state)
        return _claimed(state, step)

    def _statements(self, codes: frozenset[tuple[JobKind | None, StepCode]]) -> tuple[sa.Select[Any], Any]:
        """Returns what finds the step to claim, and what claims it; made once, as this is asked often."""
        if codes not in self._made:
            any_kind = [code.value for kind, code in codes if kind is None]
            handled: list[sa.ColumnElement[bool]] = [steps.c.code.in_(any_kind)]
            for kind, code in codes:
                if kind is not None:
                    handled.append(sa.and_(jobs.c.kind == kind.value, steps.c.code == code.value))
            first = (
                sa.select(steps.c.id)
                .join(jobs, jobs.c.id == steps.c.job_id)
                .where(
                    steps.c.status == ProgressStatus.QUEUED.value,
                    steps.c.ready.is_(True),
                    steps.c.not_before <= sa.bindparam("now", type_=UtcDateTime),
                    sa.or_(*handled),
                )
                .order_by(steps.c.priority.desc(), steps.c.created_at, steps.c.position)
                .limit(1)
            )
            chosen = first.with_for_update(of=steps, skip_locked=True).scalar_subquery()
            claim = (
                sa.update(steps)
                .where(steps.c.id == chosen)
                .values(
                    status=ProgressStatus.IN_PROGRESS.value,
                    attempt=steps.c.attempt + 1,
                    lease_owner=sa.bindparam("worker"),
                    lease_until=sa.bindparam("until", type_=UtcDateTime),
                    end_date=None,
                )
            )
            self._made[codes] = first, claim.returning(steps.c.id, steps.c.job_id)
        return self._made[codes]

    async def renew(self, claim: ClaimedStep) -> None:
        """Prolongs the lease.

        Raises:
            LeaseLost: Somebody else has the step.
        """
        async with self._database.begin() as tx:
            await self._fenced_update(tx, claim, lease_until=self._store.clock() + self._lease)

    async def record(
        self,
        claim: ClaimedStep,
        *,
        value: int | None = None,
        max: int | None = None,
        messages: Sequence[Mapping[str, Any]] = (),
        log: Sequence[LogEntry] = (),
    ) -> bool:
        """Writes progress and log lines; returns whether the step is to be stopped.

        Raises:
            LeaseLost: Somebody else has the step.
        """
        async with self._database.begin() as tx:
            changes: dict[str, Any] = {"lease_until": self._store.clock() + self._lease}
            changes |= {"value": value} if value is not None else {}
            changes |= {"max": max} if max is not None else {}
            if messages:
                earlier = sa.select(steps.c.messages).where(steps.c.id == claim.id)
                kept = (await tx.execute(earlier)).scalar_one_or_none() or []
                changes["messages"] = _thinned([*kept, *(dict(message) for message in messages)])
            await self._fenced_update(tx, claim, **changes)
            await self._append_log(tx, claim, log)
            bump = sa.update(jobs).where(jobs.c.id == claim.job_id).values(revision=await tx.next_revision())
            return bool((await tx.execute(bump.returning(jobs.c.stopping))).scalar_one())

    async def complete(
        self,
        claim: ClaimedStep,
        output: Mapping[str, Any],
        *,
        commit: Callable[[Transaction], Awaitable[None]] | None = None,
        max: int | None = None,
        messages: Sequence[Mapping[str, Any]] = (),
        log: Sequence[LogEntry] = (),
    ) -> bool:
        """Makes the step DONE and runs `commit` in the same transaction; a repeat changes nothing.

        Returns:
            Whether it is DONE; False when the job was to be stopped, which makes it CANCELED.

        Raises:
            LeaseLost: Somebody else has the step.
        """
        async with self._database.begin() as tx:
            state, step = await self._fenced(tx, claim, or_ended=True)
            if step["status"] != ProgressStatus.IN_PROGRESS:
                return bool(step["status"] == ProgressStatus.DONE)
            done = not state.job["stopping"]
            await self._append_log(tx, claim, log)
            self._end(step, ProgressStatus.DONE if done else ProgressStatus.CANCELED)
            if done:
                step["messages"] = _thinned([*step["messages"], *(dict(message) for message in messages)])
                step["value"] = step["max"] = max if max is not None else step["max"]
                step["output"] = dict(output)
                if commit is not None:
                    await commit(tx)
            await self._store.settle(tx, state)
            return done

    async def fail(self, claim: ClaimedStep, failure: Failure, *, log: Sequence[LogEntry] = ()) -> None:
        """Ends an attempt that failed: the step is QUEUED again after a pause, or FAILED for good.

        Raises:
            LeaseLost: Somebody else has the step.
        """
        async with self._database.begin() as tx:
            state, step = await self._fenced(tx, claim)
            await self._append_log(tx, claim, log)
            self._fail(state, step, failure)
            await self._store.settle(tx, state)

    async def cancel(self, claim: ClaimedStep, *, log: Sequence[LogEntry] = ()) -> None:
        """Makes a running step CANCELED, after its work has been stopped.

        Raises:
            LeaseLost: Somebody else has the step.
        """
        async with self._database.begin() as tx:
            state, step = await self._fenced(tx, claim)
            await self._append_log(tx, claim, log)
            self._end(step, ProgressStatus.CANCELED)
            await self._store.settle(tx, state)

    async def hand_back(self, claim: ClaimedStep, *, log: Sequence[LogEntry] = ()) -> None:
        """Gives a running step up, so that another runner takes it at once; it does not count as a failure.

        Raises:
            LeaseLost: Somebody else has the step.
        """
        async with self._database.begin() as tx:
            state, step = await self._fenced(tx, claim)
            await self._append_log(tx, claim, log)
            self._requeue(state, step, not_before=self._store.clock())
            await self._store.settle(tx, state)

    async def expire(self, *, alive: Collection[ClaimedStep] = ()) -> int:
        """Takes away leases that were not renewed, except of steps that are `alive`; returns how many."""
        overdue = sa.and_(
            steps.c.lease_until < self._store.clock(), steps.c.id.not_in([claim.id for claim in alive])
        )
        lost = Failure("the process that ran this step was lost", "WORKER_LOST", retryable=True)
        return await self._take_back(overdue, lost)

    async def release_own(self) -> int:
        """Takes back what a former process with this runner's id left running; returns how many steps."""
        lost = Failure("the service was restarted while it ran this step", "WORKER_LOST", retryable=True)
        return await self._take_back(steps.c.lease_owner == self._worker_id, lost)

    async def _take_back(self, which: sa.ColumnElement[bool], failure: Failure) -> int:
        running = steps.c.status == ProgressStatus.IN_PROGRESS.value
        found = sa.select(steps.c.id, steps.c.job_id).where(running, which)
        async with self._database.read() as connection:
            rows = (await connection.execute(found)).all()
        taken = 0
        for row in rows:  # each for itself, so that one that cannot be taken does not keep the others
            async with self._database.begin() as tx:
                if (await tx.execute(found.where(steps.c.id == row.id))).first() is not None:
                    state = await self._store.load(tx.connection, row.job_id)
                    self._fail(state, state.step(row.id), failure)
                    await self._store.settle(tx, state)
                    taken += 1
        return taken

    async def to_stop(self, claims: Collection[ClaimedStep]) -> dict[str, bool]:
        """Returns which of the claims are to be stopped: step id -> whether the lease is lost too."""
        if not claims:
            return {}
        statement = sa.select(steps.c.id, steps.c.attempt, steps.c.status, jobs.c.stopping)
        statement = statement.join(jobs, jobs.c.id == steps.c.job_id)
        statement = statement.where(steps.c.id.in_([claim.id for claim in claims]))
        async with self._database.read() as connection:
            found = {row.id: row for row in await connection.execute(statement)}
        stopped: dict[str, bool] = {}
        for claim in claims:
            row = found.get(claim.id)
            lost = row is None or row.attempt != claim.attempt or row.status != ProgressStatus.IN_PROGRESS
            if lost or (row is not None and row.stopping):
                stopped[claim.id] = lost
        return stopped

    def _fail(self, state: JobState, step: dict[str, Any], failure: Failure) -> None:
        if state.job["stopping"]:
            self._end(step, ProgressStatus.CANCELED)
            return
        step["failures"] += 1
        allowed = MAX_UNAVAILABLE if failure.unavailable else MAX_ATTEMPTS
        if failure.retryable and step["failures"] < allowed:
            pause = 0.0
            if failure.reason != "WORKER_LOST":
                pause = min(2.0 ** (step["failures"] - 1), _MAX_BACKOFF)
            self._requeue(state, step, not_before=self._store.clock() + timedelta(seconds=pause))
            return
        message, reason = failure.message, failure.reason
        if failure.retryable:
            message = f"given up after {step['failures']} attempts; the last error: {message}"
            reason = "ATTEMPTS_EXHAUSTED"
        self._end(step, ProgressStatus.FAILED)
        step.update(error_message=message.replace("\x00", ""), error_reason=reason)

    def _requeue(self, state: JobState, step: dict[str, Any], *, not_before: datetime) -> None:
        stopping = state.job["stopping"]
        self._end(step, ProgressStatus.CANCELED if stopping else ProgressStatus.QUEUED)
        if not stopping:
            step.update(not_before=not_before, end_date=None)

    def _end(self, step: dict[str, Any], status: ProgressStatus) -> None:
        step.update(status=status.value, lease_owner=None, lease_until=None, end_date=self._store.clock())

    async def _fenced(
        self, tx: Transaction, claim: ClaimedStep, *, or_ended: bool = False
    ) -> tuple[JobState, dict[str, Any]]:
        try:
            state = await self._store.load(tx.connection, claim.job_id)
        except JobNotFound as error:
            raise LeaseLost(claim.id) from error
        step = state.step(claim.id)
        if step["attempt"] != claim.attempt:
            raise LeaseLost(claim.id)
        if step["status"] != ProgressStatus.IN_PROGRESS and not or_ended:
            raise LeaseLost(claim.id)
        return state, step

    async def _fenced_update(self, tx: Transaction, claim: ClaimedStep, **values: Any) -> None:
        statement = sa.update(steps).where(
            steps.c.id == claim.id,
            steps.c.attempt == claim.attempt,
            steps.c.status == ProgressStatus.IN_PROGRESS.value,
        )
        if (await tx.execute(statement.values(**values))).rowcount == 0:
            raise LeaseLost(claim.id)

    async def _append_log(self, tx: Transaction, claim: ClaimedStep, log: Sequence[LogEntry]) -> None:
        if log:
            common = {"job_id": claim.job_id, "step_id": claim.id, "attempt": claim.attempt}
            rows = [
                {
                    **common,
                    "time": entry.time,
                    "level": entry.level.value,
                    "text": entry.text.replace("\x00", ""),
                }
                for entry in log
            ]
            await tx.execute(sa.insert(job_logs), rows)


def _claimed(state: JobState, step: dict[str, Any]) -> ClaimedStep:
    job = state.job
    return ClaimedStep(
        id=step["id"],
        job_id=job["id"],
        kind=JobKind(job["kind"]),
        resource_uri=job["resource_uri"],
        resource_name=job["resource_name"],
        owner=Principal.from_json(job["owner"]),
        key=step["key"],
        position=step["position"],
        code=StepCode(step["code"]),
        payload=step["payload"],
        resources=Resources.from_json(step["resources"]),
        attempt=step["attempt"],
        max=step["max"],
        outputs=state.outputs(),
    )


def _thinned(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drops every second of the older half while there are too many, so that a long curve keeps its shape."""
    while len(messages) > _MAX_MESSAGES:
        half = len(messages) // 2
        messages = messages[:half:2] + messages[half:]
    return messages
