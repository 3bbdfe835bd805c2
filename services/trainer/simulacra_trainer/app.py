"""Puts the trainer together from its settings."""

from datetime import timedelta

from simulacra.artifacts import ArtifactStore
from simulacra.jobs import Executor, JobServicer, JobStore, JobWatcher, ProcessExecutor, Runner
from simulacra.jobs.computes import Computes
from simulacra.jobs.store import new_uuid
from simulacra.rpc import Registration, Server, open_channel
from simulacra.store import Database
from simulacra.store.releases import HeldReferences
from simulacra.v1 import generator_pb2_grpc, internal_pb2_grpc, job_pb2_grpc
from simulacra_trainer.bundles import BundleService
from simulacra_trainer.housekeeping import Housekeeping
from simulacra_trainer.peers import ConnectorPeer, QaPeer
from simulacra_trainer.service import GeneratorService
from simulacra_trainer.servicer import GeneratorServicer, TrainerInternalServicer
from simulacra_trainer.settings import TrainerSettings
from simulacra_trainer.sources import Sources
from simulacra_trainer.steps import TrainingSteps
from simulacra_trainer.store import GeneratorRows, releases
from simulacra_trainer.tables import TableService
from simulacra_trainer.training import TrainingObserver, TrainingService
from simulacra_trainer.transfer import TransferService

__all__ = ["TrainerComponent", "create", "migrate"]

_PACKAGE = "simulacra_trainer"
_PRELOAD = ("simulacra.engine.training", "simulacra_trainer.tasks")


class TrainerComponent:
    """The whole service: server, runner, workers, background work, connections."""

    def __init__(self, settings: TrainerSettings, *, executor: Executor, artifacts: ArtifactStore) -> None:
        self._settings = settings
        self._database = database = Database(settings.database_url, schema=settings.service)
        rows = GeneratorRows()
        self._jobs = jobs = JobStore(database, observer=TrainingObserver(rows))
        signer, credentials = settings.signer(), settings.peer_credentials()
        self._channels = [
            open_channel(target, signer=signer, credentials=credentials)
            for target in (settings.connector_target, settings.qa_target)
        ]
        connectors, qa = ConnectorPeer(self._channels[0]), QaPeer(self._channels[1])
        sources = Sources(connectors, new_id=new_uuid)
        references = HeldReferences(
            database, releases, add=connectors.add_reference, remove=connectors.release
        )
        keep = timedelta(days=settings.keep_failed_days)
        self.housekeeping = Housekeeping(database, jobs, artifacts, references, keep=keep)
        discard = self.housekeeping.discard
        steps = TrainingSteps(settings, rows, jobs, connectors, qa, discard=discard)
        self._runner = Runner(
            jobs,
            steps.handlers(),
            executor,
            artifacts,
            capacity=settings.slots,
            # A SQLite file has one trainer: what a killed one left is taken up at once, whatever its leases.
            worker_id=settings.service if database.is_sqlite else None,
        )
        self._watcher = JobWatcher(jobs)
        # Apart from the trainings, so that an import need not wait for one; started for each check.
        self._checks = ProcessExecutor(settings.artifacts_url, slots=1, warm=0, preload=_PRELOAD)
        generators = GeneratorService(database, rows, jobs, artifacts, sources, references, new_id=new_uuid)
        transfer = TransferService(
            database, rows, generators, artifacts, self._checks, limit=settings.import_bytes, new_id=new_uuid
        )
        training = TrainingService(database, rows, jobs, artifacts, Computes(settings), discard=discard)
        tables = TableService(database, generators, sources, references, new_id=new_uuid)
        public = GeneratorServicer(generators, tables, training, transfer)  # type: ignore[abstract]
        internal = TrainerInternalServicer(BundleService(database, rows))
        self._server = Server(
            settings,
            [
                Registration(generator_pb2_grpc.add_GeneratorServiceServicer_to_server, public),
                Registration(internal_pb2_grpc.add_TrainerInternalServiceServicer_to_server, internal),
                Registration(job_pb2_grpc.add_JobServiceServicer_to_server, JobServicer(jobs, self._watcher)),
            ],
        )

    @property
    def port(self) -> int:
        """The bound port, once started."""
        return self._server.port

    async def start(self) -> None:
        """Migrates the database, starts to work on jobs, and serves."""
        await self._database.migrate(_PACKAGE)
        await self._checks.start()
        await self._watcher.start()
        await self._runner.start()
        await self.housekeeping.start()
        await self._server.start()

    async def stop(self) -> None:
        """Takes no more calls, hands running steps back, ends the workers, closes everything."""
        await self._server.drain()
        self._runner.stop_claiming()
        await self._watcher.stop()
        await self._server.stop()
        await self.housekeeping.stop()
        await self._runner.stop()
        await self._checks.stop()
        for channel in self._channels:
            await channel.close()
        await self._database.close()


async def create(
    settings: TrainerSettings, *, executor: Executor | None = None, artifacts: ArtifactStore | None = None
) -> TrainerComponent:
    """Makes the service from its settings; tests give their own executor."""
    return TrainerComponent(
        settings,
        executor=executor or _executor(settings),
        artifacts=artifacts or ArtifactStore.from_url(settings.artifacts_url),
    )


def _executor(settings: TrainerSettings) -> Executor:
    if settings.executor == "ray":
        from simulacra.jobs import RayExecutor

        return RayExecutor(settings.artifacts_url, address=settings.ray_address or None)
    return ProcessExecutor(settings.artifacts_url, slots=settings.slots, preload=_PRELOAD)


async def migrate(settings: TrainerSettings) -> None:
    """Brings the database to this version's schema."""
    database = Database(settings.database_url, schema=settings.service)
    try:
        await database.migrate(_PACKAGE)
    finally:
        await database.close()
