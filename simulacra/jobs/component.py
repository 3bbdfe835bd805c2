"""A service that works on jobs: what all of them are made of, and the order in which it starts and stops."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from simulacra.artifacts import ArtifactStore
from simulacra.domain import JobKind, StepCode
from simulacra.jobs.context import Handler
from simulacra.jobs.executor import Executor
from simulacra.jobs.process import ProcessExecutor
from simulacra.jobs.runner import Runner
from simulacra.jobs.servicer import JobServicer
from simulacra.jobs.store import JobStore
from simulacra.jobs.watch import JobWatcher
from simulacra.rpc import Registration, Server, ServiceChannel
from simulacra.rpc.settings import ServiceSettings
from simulacra.store import Database
from simulacra.v1 import job_pb2_grpc

__all__ = ["Background", "JobComponent", "executor_for", "migrate_database"]


class Background(Protocol):
    """What runs as long as the service does: worker processes, cleaning up."""

    async def start(self) -> None:
        """Begins."""

    async def stop(self) -> None:
        """Ends."""


class JobComponent:
    """The server, runner and connections of a service.

    Args:
        settings: The service's settings.
        package: The service's package, which holds its migrations.
        database: Its database.
        jobs: Its jobs, in that database.
        handlers: What does each step of its jobs.
        executor: Where the steps' tasks run; the component starts and stops it.
        artifacts: The platform's artifacts.
        registrations: What it serves besides `JobService`.
        channels: Its connections to other services; the component closes them.
        background: What starts before, and stops after, the calls that need it.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        package: str,
        *,
        database: Database,
        jobs: JobStore,
        handlers: Mapping[StepCode | tuple[JobKind, StepCode], Handler],
        executor: Executor,
        artifacts: ArtifactStore,
        registrations: Sequence[Registration],
        channels: Sequence[ServiceChannel] = (),
        background: Sequence[Background] = (),
    ) -> None:
        self._package = package
        self._database = database
        self._channels = channels
        self._background = background
        self._watcher = JobWatcher(jobs)
        self._runner = Runner(
            jobs,
            handlers,
            executor,
            artifacts,
            capacity=settings.slots,
            # A SQLite file has one service: what a killed one left is taken up at once, whatever its leases.
            worker_id=settings.service if database.is_sqlite else None,
        )
        servicer = JobServicer(jobs, self._watcher)
        self._server = Server(
            settings,
            [*registrations, Registration(job_pb2_grpc.add_JobServiceServicer_to_server, servicer)],
            ready=database.revision,
        )

    @property
    def port(self) -> int:
        """The bound port, once started."""
        return self._server.port

    async def start(self) -> None:
        """Migrates the database, starts to work on jobs, and serves."""
        await self._database.migrate(self._package)
        for part in self._background:
            await part.start()
        await self._watcher.start()
        await self._runner.start()
        await self._server.start()

    async def stop(self) -> None:
        """Takes no more calls, hands running steps back, ends the workers, closes everything."""
        await self._server.drain()
        self._runner.stop_claiming()
        await self._watcher.stop()
        await self._server.stop()
        await self._runner.stop()
        for part in reversed(self._background):
            await part.stop()
        for channel in self._channels:
            await channel.close()
        await self._database.close()


def executor_for(settings: ServiceSettings, *, preload: Sequence[str]) -> Executor:
    """Makes the executor that the settings name; its processes import `preload` before they are needed."""
    if settings.executor == "ray":
        from simulacra.jobs.ray_executor import RayExecutor  # ray takes seconds to import

        return RayExecutor(settings.artifacts_url, address=settings.ray_address or None)
    return ProcessExecutor(settings.artifacts_url, slots=settings.slots, preload=preload)


async def migrate_database(settings: ServiceSettings, package: str) -> None:
    """Brings a service's database to the newest migration of its package."""
    database = Database(settings.database_url, schema=settings.service)
    try:
        await database.migrate(package)
    finally:
        await database.close()
