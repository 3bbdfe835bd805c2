"""Puts the service together from its settings."""

import os

from simulacra.artifacts import ArtifactStore
from simulacra.jobs import Executor, JobServicer, JobStore, JobWatcher, ProcessExecutor
from simulacra.rpc import Registration, Server
from simulacra.store import Database
from simulacra.v1 import internal_pb2_grpc, job_pb2_grpc, qa_pb2_grpc
from simulacra_qa.service import EvaluationService
from simulacra_qa.servicer import QaInternalServicer
from simulacra_qa.settings import QaSettings

__all__ = ["QaComponent", "create", "migrate"]

_PACKAGE = "simulacra_qa"
_PRELOAD = ("simulacra_qa.tasks", "scipy.special", "sklearn.ensemble")


class QaComponent:
    """The whole service: its server, its workers, its jobs."""

    def __init__(self, settings: QaSettings, *, executor: Executor, artifacts: ArtifactStore) -> None:
        self._executor = executor
        self._database = Database(settings.database_url, schema=settings.service)
        jobs = JobStore(self._database)
        self._watcher = JobWatcher(jobs)
        # The public methods come later; until then the generated base answers that they are not implemented.
        public = qa_pb2_grpc.QaServiceServicer()  # type: ignore[abstract]
        internal = QaInternalServicer(EvaluationService(executor, artifacts))
        self._server = Server(
            settings,
            [
                Registration(internal_pb2_grpc.add_QaInternalServiceServicer_to_server, internal),
                Registration(qa_pb2_grpc.add_QaServiceServicer_to_server, public),
                Registration(job_pb2_grpc.add_JobServiceServicer_to_server, JobServicer(jobs, self._watcher)),
            ],
        )

    @property
    def port(self) -> int:
        """The bound port, once started."""
        return self._server.port

    async def start(self) -> None:
        """Migrates the database, starts the workers and serves."""
        await self._database.migrate(_PACKAGE)
        await self._executor.start()
        await self._watcher.start()
        await self._server.start()

    async def stop(self) -> None:
        """Answers the calls in flight, then ends the workers and closes everything."""
        await self._server.drain()
        await self._watcher.stop()
        await self._server.stop()
        await self._executor.stop()
        await self._database.close()


async def create(
    settings: QaSettings, *, executor: Executor | None = None, artifacts: ArtifactStore | None = None
) -> QaComponent:
    """Makes the service from its settings; tests give their own executor."""
    return QaComponent(
        settings,
        executor=executor or _executor(settings),
        artifacts=artifacts or ArtifactStore.from_url(settings.artifacts_url),
    )


def _executor(settings: QaSettings) -> Executor:
    if settings.executor == "ray":
        from simulacra.jobs import RayExecutor

        ray: Executor = RayExecutor(settings.artifacts_url, address=settings.ray_address or None)
        return ray
    slots = settings.worker_slots or os.cpu_count() or 1
    return ProcessExecutor(settings.artifacts_url, slots=slots, preload=_PRELOAD)


async def migrate(settings: QaSettings) -> None:
    """Brings the database to this version's schema."""
    database = Database(settings.database_url, schema=settings.service)
    try:
        await database.migrate(_PACKAGE)
    finally:
        await database.close()
