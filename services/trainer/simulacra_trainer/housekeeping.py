"""What nobody waits for: intermediate data of trainings, connectors to release, old requests, leftovers."""

import asyncio
import contextlib
from datetime import timedelta

from simulacra.artifacts import ArtifactStore
from simulacra.domain import ProgressStatus
from simulacra.errors import JobNotFound, SimulacraError
from simulacra.jobs import JobStore
from simulacra.logs import get_logger
from simulacra.store import Database, forget_old_requests
from simulacra.store.database import utc_now
from simulacra.store.releases import HeldReferences

__all__ = ["Housekeeping"]

log = get_logger("simulacra.trainer")

_EVERY_SECONDS = 3600.0
_LEFTOVERS = timedelta(days=1)
_ROOT = "training"


class Housekeeping:
    """Cleans up in the background.

    Args:
        database: The trainer's.
        jobs: The trainings.
        artifacts: Where their data are.
        references: The connectors that generators use.
        keep: How long the data of a training that FAILED or was CANCELED are kept.
    """

    def __init__(
        self,
        database: Database,
        jobs: JobStore,
        artifacts: ArtifactStore,
        references: HeldReferences,
        *,
        keep: timedelta,
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._artifacts = artifacts
        self._references = references
        self._keep = keep
        self._discarded: asyncio.Queue[str] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    def discard(self, folder: str) -> None:
        """Has a folder of artifacts deleted soon."""
        self._discarded.put_nowait(folder)

    async def start(self) -> None:
        """Begins to clean up."""
        self._tasks = [asyncio.create_task(self._delete_discarded()), asyncio.create_task(self._run())]

    async def stop(self) -> None:
        """Stops; what is not done is done after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def idle(self) -> None:
        """Returns when what was discarded is deleted."""
        await self._discarded.join()

    async def _delete_discarded(self) -> None:
        while True:
            folder = await self._discarded.get()
            try:
                await asyncio.to_thread(self._artifacts.delete, folder)
            except (SimulacraError, OSError) as error:
                log.warning("artifacts_not_deleted", folder=folder, error=str(error))
            finally:
                self._discarded.task_done()

    async def _run(self) -> None:
        while True:
            try:
                await self.tidy()
            except (SimulacraError, OSError) as error:
                log.warning("housekeeping_failed", error=str(error))
            await asyncio.sleep(_EVERY_SECONDS)

    async def tidy(self) -> None:
        """Does everything once."""
        await self._references.release_due()
        async with self._database.begin() as tx:
            await forget_old_requests(tx)
        names = await asyncio.to_thread(self._artifacts.names, _ROOT)
        for job_id in {name.split("/")[1] for name in names}:
            if not await self._is_needed(job_id):
                await asyncio.to_thread(self._artifacts.delete, f"{_ROOT}/{job_id}")
        for root in (_ROOT, "generators"):
            await asyncio.to_thread(self._artifacts.sweep, root, _LEFTOVERS)

    async def _is_needed(self, job_id: str) -> bool:
        with contextlib.suppress(JobNotFound):
            progress = (await self._jobs.get(job_id)).progress
            if progress.status == ProgressStatus.DONE:
                return False
            return progress.end_date is None or utc_now() - progress.end_date < self._keep
        return False
