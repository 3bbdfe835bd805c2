"""What nobody waits for: the copies of data that ended evaluations leave, old evaluations, old requests."""

import asyncio
from datetime import timedelta

from simulacra.artifacts import ArtifactStore
from simulacra.domain import Job, JobKind, ProgressStatus
from simulacra.errors import JobNotFound, SimulacraError
from simulacra.jobs import JobStore
from simulacra.logs import get_logger
from simulacra.store import Database, Transaction
from simulacra.store.database import utc_now
from simulacra_qa.jobs import report_artifact

__all__ = ["EndedJobs", "Housekeeping"]

log = get_logger("simulacra.qa")

_EVERY_SECONDS = 3600.0
_LEFTOVERS = timedelta(days=1)
_ROOT = "evaluation"
_PAGE = 200


class EndedJobs:
    """The observer of jobs that tells of those that have ended: none of them can be started again."""

    def __init__(self) -> None:
        self.ids: asyncio.Queue[str] = asyncio.Queue()

    async def job_changed(self, tx: Transaction, job: Job) -> None:
        """Notes the end of a job once it is committed."""
        status = job.status
        if not status.is_active and status != ProgressStatus.NEW:
            tx.after_commit(lambda: self.ids.put_nowait(job.id or ""))


class Housekeeping:
    """Cleans up in the background.

    Args:
        database: The service's database.
        jobs: Its jobs.
        artifacts: The platform's artifacts.
        ended: Tells of jobs whose copies of data can go at once.
        keep: How long evaluations and their reports are kept.
    """

    def __init__(
        self,
        database: Database,
        jobs: JobStore,
        artifacts: ArtifactStore,
        ended: EndedJobs,
        *,
        keep: timedelta,
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._artifacts = artifacts
        self._ended = ended.ids
        self._keep = keep
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begins to clean up."""
        self._tasks = [asyncio.create_task(self._drop_copies()), asyncio.create_task(self._run())]

    async def stop(self) -> None:
        """Stops; what is not done is done after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def idle(self) -> None:
        """Returns when the copies of all ended jobs are gone."""
        await self._ended.join()

    async def tidy(self) -> None:
        """Does everything once."""
        await self._forget_old()
        names = await asyncio.to_thread(self._artifacts.names, _ROOT)
        for job_id in sorted({name.split("/")[1] for name in names}):
            await self._drop(job_id)
        await asyncio.to_thread(self._artifacts.sweep, _ROOT, _LEFTOVERS)

    async def _forget_old(self) -> None:
        """Deletes evaluations that ended too long ago; their artifacts go as those of no job."""
        token = ""
        while True:
            page = await self._jobs.list(kinds=[JobKind.EVALUATION], page_size=_PAGE, page_token=token)
            for job in page.jobs:
                ended = job.progress.end_date
                if ended is not None and utc_now() - ended > self._keep:
                    async with self._database.begin() as tx:
                        await self._jobs.delete_for(tx, job.resource_uri)
            token = page.next_page_token
            if not token:
                return

    async def _drop(self, job_id: str) -> None:
        """Deletes all artifacts of an ended or unknown job but its report."""
        needed = ""
        try:
            job = await self._jobs.get(job_id)
        except JobNotFound:
            pass
        else:
            if job.status.is_active:
                return
            needed = report_artifact(await self._jobs.outputs(job_id))
        for name in await asyncio.to_thread(self._artifacts.names, f"{_ROOT}/{job_id}"):
            if name != needed:
                await asyncio.to_thread(self._artifacts.delete, name)

    async def _drop_copies(self) -> None:
        while True:
            job_id = await self._ended.get()
            try:
                await self._drop(job_id)
            except (SimulacraError, OSError) as error:
                log.warning("evaluation_data_not_deleted", job_id=job_id, error=str(error))
            finally:
                self._ended.task_done()

    async def _run(self) -> None:
        while True:
            try:
                await self.tidy()
            except (SimulacraError, OSError) as error:
                log.warning("housekeeping_failed", error=str(error))
            await asyncio.sleep(_EVERY_SECONDS)
