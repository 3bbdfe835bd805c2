"""What nobody waits for: the copies of data that ended evaluations leave, old evaluations, old requests."""

import asyncio
from datetime import timedelta

from simulacra.artifacts import ArtifactStore
from simulacra.domain import Job, JobKind, ProgressStatus
from simulacra.errors import JobNotFound, SimulacraError
from simulacra.jobs import JobStore
from simulacra.rpc import get_logger
from simulacra.store import Database, Transaction
from simulacra.store.database import utc_now
from simulacra_qa.jobs import report_artifact

__all__ = ["Housekeeping"]

log = get_logger("simulacra.qa")

_EVERY_SECONDS = 3600.0
_LEFTOVERS = timedelta(days=1)
_ROOT = "evaluation"
_PAGE = 200


class Housekeeping:
    """Cleans up in the background; also the observer that tells it of ended jobs.

    Args:
        artifacts: The platform's artifacts.
        keep: How long evaluations and their reports are kept.
    """

    def __init__(self, artifacts: ArtifactStore, *, keep: timedelta) -> None:
        self._artifacts = artifacts
        self._keep = keep
        self._ended: asyncio.Queue[str] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    async def job_changed(self, tx: Transaction, job: Job) -> None:
        """Has the copies of data go as soon as a job has ended: none can be started again."""
        status = job.status
        if not status.is_active and status != ProgressStatus.NEW:
            tx.after_commit(lambda: self._ended.put_nowait(job.id or ""))

    async def start(self, database: Database, jobs: JobStore) -> None:
        """Begins to clean up."""
        self._tasks = [
            asyncio.create_task(self._drop_copies(jobs)),
            asyncio.create_task(self._run(database, jobs)),
        ]

    async def stop(self) -> None:
        """Stops; what is not done is done after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def idle(self) -> None:
        """Returns when the copies of all ended jobs are gone."""
        await self._ended.join()

    async def tidy(self, database: Database, jobs: JobStore) -> None:
        """Does everything once."""
        await self._forget_old(database, jobs)
        names = await asyncio.to_thread(self._artifacts.names, _ROOT)
        for job_id in sorted({name.split("/")[1] for name in names}):
            await self._drop(jobs, job_id)
        await asyncio.to_thread(self._artifacts.sweep, _ROOT, _LEFTOVERS)

    async def _forget_old(self, database: Database, jobs: JobStore) -> None:
        """Deletes evaluations that ended too long ago; their artifacts go as those of no job."""
        token = ""
        while True:
            page = await jobs.list(kinds=[JobKind.EVALUATION], page_size=_PAGE, page_token=token)
            for job in page.jobs:
                ended = job.progress.end_date
                if ended is not None and utc_now() - ended > self._keep:
                    async with database.begin() as tx:
                        await jobs.delete_for(tx, job.resource_uri)
            token = page.next_page_token
            if not token:
                return

    async def _drop(self, jobs: JobStore, job_id: str) -> None:
        """Deletes all artifacts of an ended or unknown job but its report."""
        needed = ""
        try:
            job = await jobs.get(job_id)
        except JobNotFound:
            pass
        else:
            if job.status.is_active:
                return
            needed = report_artifact(await jobs.outputs(job_id))
        for name in await asyncio.to_thread(self._artifacts.names, f"{_ROOT}/{job_id}"):
            if name != needed:
                await asyncio.to_thread(self._artifacts.delete, name)

    async def _drop_copies(self, jobs: JobStore) -> None:
        while True:
            job_id = await self._ended.get()
            try:
                await self._drop(jobs, job_id)
            except (SimulacraError, OSError) as error:
                log.warning("data of an evaluation could not be deleted", job_id=job_id, error=str(error))
            finally:
                self._ended.task_done()

    async def _run(self, database: Database, jobs: JobStore) -> None:
        while True:
            try:
                await self.tidy(database, jobs)
            except (SimulacraError, OSError) as error:
                log.warning("housekeeping failed; it is tried again", error=str(error))
            await asyncio.sleep(_EVERY_SECONDS)
