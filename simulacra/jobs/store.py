"""The jobs of one service, as services and clients use them: submit, restart, cancel, read, list, follow."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from simulacra.domain import Job, JobKind, JobLogLine, ProgressStatus
from simulacra.errors import JobNotFound, WrongState
from simulacra.jobs.plan import JobPlan, StepPlan
from simulacra.jobs.state import PENDING, JobState, load_state, read_jobs
from simulacra.rpc.auth import Principal
from simulacra.store import BY_REVISION, NEWEST_FIRST, Database, Transaction, Viewer, page
from simulacra.store.database import utc_now
from simulacra.store.tables import job_logs, jobs, steps

__all__ = ["JobObserver", "JobPage", "JobStore", "new_uuid"]

LOGS_KEPT = timedelta(days=30)
_JOB = sa.select(jobs).where(jobs.c.id == sa.bindparam("job_id"))


class JobObserver(Protocol):
    """What a service does when a job of its changes, such as updating the resource that the job works on."""

    async def job_changed(self, tx: Transaction, job: Job) -> None:
        """Called when a job's status changes (submission included), in the same transaction."""


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, newest first, the token of the next page (empty on the last), and how many there are."""

    jobs: Sequence[Job]
    next_page_token: str
    total_count: int


def new_uuid() -> str:
    """Returns a new random id."""
    return str(uuid4())


class JobStore:
    """Jobs and their steps in a service's database.

    Args:
        database: The service's database, migrated.
        observer: Told of changes in the transaction that makes them.
        clock: Gives the time, aware.
        new_id: Gives ids of jobs and steps.
    """

    def __init__(
        self,
        database: Database,
        *,
        observer: JobObserver | None = None,
        clock: Callable[[], datetime] = utc_now,
        new_id: Callable[[], str] = new_uuid,
    ) -> None:
        self.database = database
        self.clock = clock
        self._observer = observer
        self._new_id = new_id

    async def submit(self, tx: Transaction, plan: JobPlan) -> Job:
        """Adds a job in the caller's transaction: QUEUED, or ON_HOLD when its owner runs too many."""
        plan.check()
        now = self.clock()
        job_id = self._new_id()
        job = {
            "id": job_id,
            "kind": plan.kind.value,
            "resource_uri": plan.resource_uri,
            "resource_id": _id_in(plan.resource_uri),
            "resource_name": plan.resource_name,
            "owner_id": plan.owner.user_id,
            "owner": plan.owner.to_json(),
            "priority": plan.priority,
            "parallel_limit": plan.parallel_limit,
            "status": ProgressStatus.NEW.value,
            "ended": False,
            "cancel_requested": False,
            "stopping": False,
            "created_at": now,
            "start_date": None,
            "end_date": None,
            "revision": 0,
        }
        rows = [self._step_row(job, position, step) for position, step in enumerate(plan.steps)]
        await tx.execute(sa.insert(jobs).values(job))
        await tx.execute(sa.insert(steps), rows)
        state = JobState(job, rows)
        await self._admit(tx, state)
        await self.settle(tx, state)
        return state.to_domain()

    def _step_row(self, job: dict[str, Any], position: int, step: StepPlan) -> dict[str, Any]:
        return {
            "id": self._new_id(),
            "job_id": job["id"],
            "key": step.key,
            "position": position,
            "code": step.code.value,
            "model_label": step.model_label,
            "compute_name": step.resources.compute_name,
            "payload": dict(step.payload),
            "after": list(step.after),
            "resources": step.resources.to_json(),
            "priority": job["priority"],
            "status": ProgressStatus.QUEUED.value,
            "ready": False,
            "not_before": job["created_at"],
            "attempt": 0,
            "failures": 0,
            "lease_owner": None,
            "lease_until": None,
            "value": 0,
            "max": step.max,
            "messages": [],
            "error_message": None,
            "error_reason": None,
            "output": None,
            "created_at": job["created_at"],
            "start_date": None,
            "end_date": None,
        }

    async def restart(self, tx: Transaction, job_id: str, *, owner: Principal | None = None) -> Job:
        """Starts a FAILED or CANCELED job again: what is DONE stays, the rest goes on from its checkpoints.

        Args:
            tx: The caller's transaction.
            job_id: The job.
            owner: Its owner as of now, whose limits may have changed.

        Raises:
            WrongState: The job is neither FAILED nor CANCELED.
        """
        state = await self.load(tx.connection, job_id)
        if state.job["status"] not in (ProgressStatus.FAILED, ProgressStatus.CANCELED):
            raise _wrong_state(state, "started again", "it must be FAILED or CANCELED")
        if owner is not None:
            limit = JobPlan(JobKind(state.job["kind"]), "", "", owner, ()).parallel_limit
            state.job.update(owner=owner.to_json(), parallel_limit=limit)
        state.job.update(cancel_requested=False, stopping=False, ended=False, start_date=None, end_date=None)
        for step in state.steps:
            if step["status"] != ProgressStatus.DONE:
                step.update(status=ProgressStatus.QUEUED.value, not_before=self.clock(), failures=0, value=0)
                step.update(
                    messages=[], error_message=None, error_reason=None, start_date=None, end_date=None
                )
        await self._admit(tx, state)
        await self.settle(tx, state)
        return state.to_domain()

    async def cancel(self, job_id: str, *, viewer: Viewer | None = None) -> Job:
        """Cancels a job: what has not begun is CANCELED at once, what runs is stopped within two seconds.

        Raises:
            JobNotFound: There is no such job, or `viewer` may not see it.
            WrongState: It has ended.
        """
        async with self.database.begin() as tx:
            return await self.cancel_in(tx, job_id, viewer=viewer)

    async def cancel_in(self, tx: Transaction, job_id: str, *, viewer: Viewer | None = None) -> Job:
        """Does what `cancel` does, in the caller's transaction."""
        state = await self.load(tx.connection, job_id, viewer=viewer)
        if state.job["ended"]:
            raise _wrong_state(state, "canceled", "it has ended")
        state.job.update(cancel_requested=True, stopping=True)
        await self.settle(tx, state)
        return state.to_domain()

    async def get(self, job_id: str, *, viewer: Viewer | None = None) -> Job:
        """Reads a job.

        Raises:
            JobNotFound: There is no such job, or `viewer` may not see it.
        """
        async with self.database.read() as connection:
            return (await read_jobs(connection, [await self._row(connection, job_id, viewer)]))[0]

    async def list(
        self,
        *,
        viewer: Viewer | None = None,
        statuses: Collection[ProgressStatus] = (),
        kinds: Collection[JobKind] = (),
        resource_ids: Collection[str] = (),
        after_revision: int | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> JobPage:
        """Reads a page of jobs, newest first; an empty collection means any.

        With `after_revision`, only jobs that changed after it, in the order of their revisions.
        """
        where = [visible_job(viewer, by_index=not resource_ids)]
        for column, wanted in ((jobs.c.status, statuses), (jobs.c.kind, kinds)):
            if wanted:
                where.append(column.in_([value.value for value in wanted]))
        if resource_ids:
            where.append(jobs.c.resource_id.in_(resource_ids))
        async with self.database.read() as connection:
            if after_revision is not None:
                where.append(jobs.c.revision > after_revision)
            order = NEWEST_FIRST if after_revision is None else BY_REVISION
            found = await page(
                connection, jobs, where=where, order=order, page_size=page_size, page_token=page_token
            )
            found_jobs = await read_jobs(connection, found.rows)
        return JobPage(found_jobs, found.next_page_token, found.total_count)

    async def latest_for(self, resource_uri: str) -> Job | None:
        """Reads the newest job that works on a resource, if there is one."""
        statement = sa.select(jobs).where(jobs.c.resource_id == _id_in(resource_uri))
        found = await self._read(statement.order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(1))
        return found[0] if found else None

    async def changed_since(
        self, revision: int, *, viewer: Viewer | None = None, limit: int = 500
    ) -> Sequence[Job]:
        """Reads jobs whose revision is larger, in the order of their revisions."""
        statement = sa.select(jobs).where(jobs.c.revision > revision, visible_job(viewer))
        return await self._read(statement.order_by(jobs.c.revision).limit(limit))

    async def watched(
        self,
        *,
        viewer: Viewer | None = None,
        job_ids: Collection[str] = (),
        resource_ids: Collection[str] = (),
    ) -> Sequence[Job]:
        """Reads what a watch starts with: the named jobs and the resources' latest, or all unended."""
        if not job_ids and not resource_ids:
            statement = sa.select(jobs).where(jobs.c.ended.is_(False), visible_job(viewer))
            return await self._read(statement.order_by(jobs.c.revision))
        newer = jobs.alias("newer")
        is_latest = ~sa.exists().where(
            newer.c.resource_id == jobs.c.resource_id,
            sa.tuple_(newer.c.created_at, newer.c.id) > sa.tuple_(jobs.c.created_at, jobs.c.id),
        )
        named = sa.or_(jobs.c.id.in_(job_ids), sa.and_(jobs.c.resource_id.in_(resource_ids), is_latest))
        visible = visible_job(viewer, by_index=False)
        return await self._read(sa.select(jobs).where(named, visible).order_by(jobs.c.revision))

    async def outputs(self, job_id: str) -> dict[str, dict[str, Any]]:
        """Reads the outputs of a job's DONE steps, by key."""
        async with self.database.read() as connection:
            return (await self.load(connection, job_id)).outputs()

    async def read_log(
        self, job_id: str, *, step_id: str | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[JobLogLine]:
        """Reads lines of a job's log with a sequence above `after`, oldest first; also while it runs."""
        columns = [
            job_logs.c.id.label("sequence"),
            *(job_logs.c[name] for name in ("time", "step_id", "level", "text")),
        ]
        statement = sa.select(*columns).where(job_logs.c.job_id == job_id, job_logs.c.id > after)
        if step_id is not None:
            statement = statement.where(job_logs.c.step_id == step_id)
        async with self.database.read() as connection:
            rows = await connection.execute(statement.order_by(job_logs.c.id).limit(limit))
            return [JobLogLine(**row) for row in rows.mappings()]

    async def delete_for(self, tx: Transaction, resource_uri: str) -> None:
        """Deletes the jobs of a resource with their steps and logs; call it when the resource is deleted.

        Raises:
            WrongState: One of them has not ended; cancel it first.
        """
        found = await tx.execute(sa.select(jobs).where(jobs.c.resource_id == _id_in(resource_uri)))
        rows = found.mappings().all()
        for row in rows:
            if not row["ended"]:
                why = "it is being canceled; try again in a moment"
                if not row["cancel_requested"]:
                    why = "it has not ended; cancel it first"
                raise _wrong_state(JobState(dict(row), []), "deleted", why)
        ids = [row["id"] for row in rows]
        for table, column in ((job_logs, job_logs.c.job_id), (steps, steps.c.job_id), (jobs, jobs.c.id)):
            await tx.execute(sa.delete(table).where(column.in_(ids)))

    async def forget_old_logs(self, tx: Transaction) -> int:
        """Deletes the lines of logs that are older than 30 days; returns how many."""
        old = sa.delete(job_logs).where(job_logs.c.time < self.clock() - LOGS_KEPT)
        return (await tx.execute(old)).rowcount

    async def load(
        self, connection: AsyncConnection, job_id: str, *, viewer: Viewer | None = None
    ) -> JobState:
        """Reads a job's rows; part of the kernel.

        Raises:
            JobNotFound: There is no such job, or `viewer` may not see it.
        """
        return await load_state(connection, await self._row(connection, job_id, viewer))

    async def _row(self, connection: AsyncConnection, job_id: str, viewer: Viewer | None) -> sa.RowMapping:
        row = (await connection.execute(_JOB, {"job_id": job_id})).mappings().one_or_none()
        if row is None or not _may_see(viewer, row["owner_id"]):
            raise JobNotFound(f"there is no job {job_id!r}", id=job_id)
        return row

    async def settle(self, tx: Transaction, state: JobState) -> None:
        """Draws the consequences of changed steps, writes them, tells the observer; part of the kernel."""
        state.settle(self.clock())
        await state.save(tx)
        if state.status_changed and self._observer is not None:
            await self._observer.job_changed(tx, state.to_domain())
        if state.just_ended:
            await self._release_held(tx, state.job)

    async def _admit(self, tx: Transaction, state: JobState) -> None:
        """Puts the pending steps on hold if the owner runs all the jobs it may, else queues them."""
        job = state.job
        held = False
        if job["parallel_limit"] is not None:
            running = sa.select(sa.func.count()).where(
                jobs.c.ended.is_(False),
                jobs.c.status != ProgressStatus.ON_HOLD,
                jobs.c.owner_id == job["owner_id"],
                jobs.c.kind == job["kind"],
                jobs.c.id != job["id"],
            )
            held = (await tx.execute(running)).scalar_one() >= job["parallel_limit"]
        status = ProgressStatus.ON_HOLD if held else ProgressStatus.QUEUED
        for step in state.steps:
            if step["status"] in PENDING:
                step["status"] = status.value

    async def _release_held(self, tx: Transaction, ended: dict[str, Any]) -> None:
        """Queues the next jobs that were held because of one that has now ended."""
        held = sa.select(jobs).where(
            jobs.c.ended.is_(False),
            jobs.c.status == ProgressStatus.ON_HOLD,
            jobs.c.owner_id == ended["owner_id"],
            jobs.c.kind == ended["kind"],
        )
        rows = await tx.execute(held.order_by(jobs.c.priority.desc(), jobs.c.created_at, jobs.c.id))
        for row in rows.mappings().all():
            state = await load_state(tx.connection, row)
            await self._admit(tx, state)
            state.settle(self.clock())
            if not state.status_changed:
                return
            await self.settle(tx, state)

    async def _read(self, statement: sa.Select[Any]) -> Sequence[Job]:
        async with self.database.read() as connection:
            return await read_jobs(connection, (await connection.execute(statement)).mappings().all())


def _id_in(uri: str) -> str:
    return uri.rpartition("/")[2]


def visible_job(viewer: Viewer | None, *, by_index: bool = True) -> sa.ColumnElement[bool]:
    """Returns the condition that a job may be seen: one's own, or asked for by a service itself.

    With `by_index` false it keeps a database from reading all jobs of the owner where few are named.
    """
    if viewer is None or viewer.service is not None:
        return sa.true()
    return (jobs.c.owner_id if by_index else jobs.c.owner_id.concat("")) == viewer.user_id


def _may_see(viewer: Viewer | None, owner_id: str) -> bool:
    return viewer is None or viewer.service is not None or owner_id == viewer.user_id


def _wrong_state(state: JobState, verb: str, why: str) -> WrongState:
    status = state.job["status"]
    message = f"the job of {state.job['resource_name']!r} is {status} and cannot be {verb}: {why}"
    return WrongState(message, current_status=status, job_id=state.job["id"])
