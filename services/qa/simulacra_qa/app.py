"""Puts the service together from its settings."""

import os
from datetime import timedelta

from simulacra.artifacts import ArtifactStore
from simulacra.jobs import Executor, JobServicer, JobStore, JobWatcher, ProcessExecutor, Runner
from simulacra.jobs.store import new_uuid
from simulacra.rpc import Registration, Server, open_channel
from simulacra.store import Database
from simulacra.v1 import internal_pb2_grpc, job_pb2_grpc, qa_pb2_grpc
from simulacra_qa.housekeeping import Housekeeping
from simulacra_qa.jobs import EvaluationJobs
from simulacra_qa.peers import ConnectorPeer
from simulacra_qa.service import EvaluationService
from simulacra_qa.servicer import QaInternalServicer, QaServicer
from simulacra_qa.settings import QaSettings
from simulacra_qa.steps import EvaluationSteps

__all__ = ["QaComponent", "create", "migrate"]

_PACKAGE = "simulacra_qa"
_PRELOAD = ("simulacra_qa.tasks", "scipy.special", "sklearn.ensemble")


class QaComponent:
    """The whole service: server, runner, workers, background work."""

    def __init__(self, settings: QaSettings, *, executor: Executor, artifacts: ArtifactStore) -> None:
        self._database = database = Database(settings.database_url, schema=settings.service)
        self.housekeeping = Housekeeping(artifacts, keep=timedelta(days=settings.keep_evaluations_days))
        self._jobs = jobs = JobStore(database, observer=self.housekeeping)
        self._channel = open_channel(
            settings.connector_target, signer=settings.signer(), credentials=settings.peer_credentials()
        )
        connectors = ConnectorPeer(self._channel)
        self._runner = Runner(
            jobs,
            EvaluationSteps(connectors).handlers(),
            executor,
            artifacts,
            capacity=_slots(settings),
            # A SQLite file has one service: what a killed one left is taken up at once, whatever its leases.
            worker_id=settings.service if database.is_sqlite else None,
        )
        self._watcher = JobWatcher(jobs)
        public = QaServicer(EvaluationJobs(database, jobs, artifacts, connectors, new_id=new_uuid))
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
        """Migrates the database, starts the workers, begins to work on jobs, and serves."""
        await self._database.migrate(_PACKAGE)
        await self._watcher.start()
        await self._runner.start()
        await self.housekeeping.start(self._database, self._jobs)
        await self._server.start()

    async def stop(self) -> None:
        """Answers the calls in flight, hands running steps back, ends the workers, closes everything."""
        await self._server.drain()
        self._runner.stop_claiming()
        await self._watcher.stop()
        await self._server.stop()
        await self.housekeeping.stop()
        await self._runner.stop()
        await self._channel.close()
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
    return ProcessExecutor(settings.artifacts_url, slots=_slots(settings), preload=_PRELOAD)


def _slots(settings: QaSettings) -> int:
    return settings.worker_slots or os.cpu_count() or 1


async def migrate(settings: QaSettings) -> None:
    """Brings the database to this version's schema."""
    database = Database(settings.database_url, schema=settings.service)
    try:
        await database.migrate(_PACKAGE)
    finally:
        await database.close()
