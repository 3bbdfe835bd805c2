"""Following jobs: one tail per process reads what has changed and hands it to any number of watches.

A watch is level-triggered: it gets each job as it is now, so a slow consumer skips states but never lags
behind.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from simulacra.domain import Job, JobLogLine
from simulacra.errors import JobNotFound, ResumeTokenInvalid, SimulacraError
from simulacra.jobs.store import JobStore
from simulacra.logs import get_logger
from simulacra.store import Viewer, decode_token, encode_token
from simulacra.store.database import wait_briefly

__all__ = ["JobEvent", "JobWatcher"]

POLL_SECONDS = 0.25
HEARTBEAT_SECONDS = 15.0
_PAGE = 500
_LOG_PAGE = 1000
_OUTAGE_SECONDS = 1.0

_logger = get_logger("simulacra.jobs")


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A job that is new or has changed, or None for a heartbeat; `resume_token` goes on after it."""

    job: Job | None
    resume_token: str


class _Subscription:
    """What one watch has not consumed yet: of each job the latest, in the order of revisions."""

    def __init__(self, wants: Callable[[Job], bool]) -> None:
        self.wants = wants
        self.changed = asyncio.Event()
        self.pending: dict[str, Job] = {}

    def offer(self, job: Job) -> None:
        if self.wants(job):
            self.pending.pop(job.id, None)
            self.pending[job.id] = job
            self.changed.set()

    def take(self) -> list[Job]:
        taken = list(self.pending.values())
        self.pending.clear()
        self.changed.clear()
        return taken


class JobWatcher:
    """Tails the jobs of one service.

    Args:
        store: The jobs.
        poll_seconds: How often to look for what other processes have changed; this one's own changes come at
            once.
        heartbeat_seconds: The longest silence of a watch.
    """

    def __init__(
        self,
        store: JobStore,
        *,
        poll_seconds: float = POLL_SECONDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._store = store
        self._poll_seconds = poll_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._subscriptions: set[_Subscription] = set()
        self._position = 0
        self._tail: asyncio.Task[None] | None = None
        self._stopped = False

    async def start(self) -> None:
        """Begins to follow what changes from now on."""
        self._position = await self._store.database.revision()
        self._tail = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ends following; running watches stay silent."""
        if self._tail is not None:
            self._stopped = True
            self._tail.cancel()
            await asyncio.wait([self._tail])
            self._tail = None

    async def watch(
        self,
        *,
        viewer: Viewer | None = None,
        job_ids: Collection[str] = (),
        resource_ids: Collection[str] = (),
        resume_token: str = "",
    ) -> AsyncGenerator[JobEvent, None]:
        """Yields each watched job as it is, then each change; ends when all named jobs have ended.

        Args:
            viewer: Whose jobs; None means all.
            job_ids: Jobs to watch.
            resource_ids: Resources whose latest job to watch. No name at all watches all unended jobs,
                without end.
            resume_token: The token of the last event of a broken watch; what it had sent does not come again.

        Raises:
            JobNotFound: A named job does not exist, or `viewer` may not see it.
            ResumeTokenInvalid: The token is not from here.
        """
        names = {*job_ids, *resource_ids}

        def wants(job: Job) -> bool:
            visible = viewer is None or viewer.service is not None or job.owner_id == viewer.user_id
            return visible and (not names or not names.isdisjoint(_names_of(job)))

        with self._subscribed(wants) as subscription:
            floor = await self._floor(resume_token)
            first = await self._first(viewer, job_ids, resource_ids, floor if resume_token else None)
            known = _Known(names)
            for job in first:
                known.take(job)
            known.check()
            due = [job for job in first if job.revision > floor]
            snapshot = {job.id: job.revision for job in first}
            while True:
                for job in due:
                    floor = max(floor, job.revision)
                    yield JobEvent(job, encode_token(floor))
                if known.all_ended:
                    return
                if not subscription.pending:
                    floor = max(floor, self._position)
                    yield JobEvent(None, encode_token(floor))
                    await wait_briefly(subscription.changed, self._heartbeat_seconds)
                changes = (job for job in subscription.take() if job.revision > snapshot.get(job.id, -1))
                due = [job for job in changes if known.take(job)]

    async def read_log(
        self,
        job_id: str,
        *,
        viewer: Viewer | None = None,
        step_id: str | None = None,
        after: int = 0,
        follow: bool = False,
    ) -> AsyncGenerator[JobLogLine, None]:
        """Yields the lines of a job's log; with `follow` also those to come, until the job has ended.

        Raises:
            JobNotFound: There is no such job, or `viewer` may not see it.
        """
        with self._subscribed(lambda job: job.id == job_id) as subscription:
            while True:
                # Before the lines: they are written no later than the change that ends the job.
                job = await self._store.get(job_id, viewer=viewer)
                subscription.take()
                while lines := await self._store.read_log(
                    job_id, step_id=step_id, after=after, limit=_LOG_PAGE
                ):
                    for line in lines:
                        yield line
                    after = lines[-1].sequence
                if not follow or job.status.is_final:
                    return
                await subscription.changed.wait()

    async def _run(self) -> None:
        with self._store.database.wakeups() as wake:
            while not self._stopped:
                wake.clear()
                try:
                    await self._catch_up()
                except SimulacraError as error:
                    _logger.warning("changes_not_readable", error=error.message)
                    await asyncio.sleep(_OUTAGE_SECONDS)
                except Exception:  # a watch that stays silent for ever is worse than a log full of this
                    _logger.exception("changes_not_readable")
                    await asyncio.sleep(_OUTAGE_SECONDS)
                await wait_briefly(wake, self._poll_seconds)

    async def _catch_up(self) -> None:
        newest = await self._store.database.revision()
        while self._position < newest:
            jobs = await self._store.changed_since(self._position, limit=_PAGE)
            for job in jobs:
                for subscription in self._subscriptions:
                    subscription.offer(job)
            complete = len(jobs) < _PAGE
            self._position = max(newest if complete else 0, jobs[-1].revision if jobs else 0)

    @contextlib.contextmanager
    def _subscribed(self, wants: Callable[[Job], bool]) -> Iterator[_Subscription]:
        subscription = _Subscription(wants)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    async def _first(
        self,
        viewer: Viewer | None,
        job_ids: Collection[str],
        resource_ids: Collection[str],
        since: int | None,
    ) -> list[Job]:
        """Reads the jobs that a watch begins with, in the order of their revisions."""
        if since is None or job_ids or resource_ids:
            return list(await self._store.watched(viewer=viewer, job_ids=job_ids, resource_ids=resource_ids))
        changed: list[Job] = []
        while page := await self._store.changed_since(since, viewer=viewer, limit=_PAGE):
            changed += page
            since = page[-1].revision
        # A job that changed while its page was passed is there twice; the later state counts.
        latest = {job.id: job for job in changed}
        return sorted(latest.values(), key=lambda job: job.revision)

    async def _floor(self, resume_token: str) -> int:
        if not resume_token:
            return 0
        floor: int = decode_token(resume_token, int)[0]
        if floor > await self._store.database.revision():
            message = f"{resume_token!r} is not a token of this service's present database; start without one"
            raise ResumeTokenInvalid(message, token=resume_token)
        return floor


class _Known:
    """The last state of each job that a watch names: by its own id, or as the latest of a resource."""

    def __init__(self, names: set[str]) -> None:
        self._names = names
        self._jobs: dict[str, Job] = {}

    def take(self, job: Job) -> bool:
        """Notes a state; returns whether to send it, unlike that of an older job of a resource."""
        wanted = not self._names
        for name in self._names.intersection(_names_of(job)):
            known = self._jobs.get(name)
            if known is None or _age(job) >= _age(known):
                self._jobs[name] = job
                wanted = True
        return wanted

    def check(self) -> None:
        """Raises `JobNotFound` if a name has no job."""
        if missing := self._names - self._jobs.keys():
            name = min(missing)
            raise JobNotFound(f"there is no job {name!r}, and none on a resource of this id", id=name)

    @property
    def all_ended(self) -> bool:
        return bool(self._names) and all(job.status.is_final for job in self._jobs.values())


def _names_of(job: Job) -> tuple[str, str]:
    return job.id, job.resource_uri.rpartition("/")[2]


def _age(job: Job) -> tuple[datetime, str]:
    assert job.created_at is not None
    return job.created_at, job.id
