"""What nobody waits for: generators to release, old requests, leftovers of killed processes."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from simulacra.artifacts import ArtifactStore
from simulacra.errors import SimulacraError
from simulacra.logs import get_logger
from simulacra.store import Database, forget_old_requests
from simulacra.store.database import utc_now
from simulacra.store.releases import HeldReferences

__all__ = ["Housekeeping"]

log = get_logger("simulacra.generator")

_EVERY_SECONDS = 3600.0
_LEFTOVERS = timedelta(days=1)
_KEEP_FAILED = timedelta(days=7)


class Housekeeping:
    """Cleans up in the background.

    Args:
        database: This service's.
        artifacts: The platform's.
        references: The generators and connectors that datasets use.
    """

    def __init__(
        self, database: Database, artifacts: ArtifactStore, references: Sequence[HeldReferences]
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._references = references
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to clean up."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stops; what is not done is done after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def tidy(self) -> None:
        """Does everything once."""
        for references in self._references:
            await references.release_due()
        async with self._database.begin() as tx:
            await forget_old_requests(tx)
        await asyncio.to_thread(self._tidy_artifacts)

    def _tidy_artifacts(self) -> None:
        for root, keep in (("generation", _KEEP_FAILED), ("probes", _LEFTOVERS)):
            for name in self._artifacts.names(root):
                if utc_now() - self._artifacts.open(name).manifest.created_at > keep:
                    self._artifacts.delete(name)
        for root in ("generation", "datasets", "probes"):
            self._artifacts.sweep(root, _LEFTOVERS)

    async def _run(self) -> None:
        while True:
            try:
                await self.tidy()
            except (SimulacraError, OSError) as error:
                log.warning("housekeeping_failed", error=str(error))
            await asyncio.sleep(_EVERY_SECONDS)
