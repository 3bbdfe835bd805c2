"""Puts the generator service together from its settings."""

from simulacra.artifacts import ArtifactStore
from simulacra.jobs import Executor, JobServicer, JobStore, JobWatcher, ProcessExecutor, Runner
from simulacra.jobs.computes import Computes
from simulacra.jobs.store import new_uuid
from simulacra.rpc import Registration, Server, open_channel
from simulacra.store import Database
from simulacra.store.releases import HeldReferences
from simulacra.v1 import job_pb2_grpc, probe_pb2_grpc, synthetic_dataset_pb2_grpc
from simulacra_generator.files import FileService
from simulacra_generator.generation import GenerationObserver, GenerationService
from simulacra_generator.housekeeping import Housekeeping
from simulacra_generator.peers import ConnectorPeer, QaPeer, TrainerPeer
from simulacra_generator.probes import ProbeService
from simulacra_generator.service import DatasetService
from simulacra_generator.servicer import ProbeServicer, SyntheticDatasetServicer
from simulacra_generator.settings import GeneratorSettings
from simulacra_generator.steps import GenerationSteps
from simulacra_generator.store import DatasetRows, connector_releases, releases

__all__ = ["GeneratorComponent", "create", "migrate"]

_PACKAGE = "simulacra_generator"
_PRELOAD = ("simulacra.engine.sampling", "simulacra_generator.tasks")


class GeneratorComponent:
    """The whole service: server, runner, workers, background work, connections."""

    def __init__(self, settings: GeneratorSettings, *, executor: Executor, artifacts: ArtifactStore) -> None:
        self._database = database = Database(settings.database_url, schema=settings.service)
        rows = DatasetRows()
        jobs = JobStore(database, observer=GenerationObserver(rows))
        signer, credentials = settings.signer(), settings.peer_credentials()
        self._channels = [
            open_channel(target, signer=signer, credentials=credentials)
            for target in (settings.trainer_target, settings.connector_target, settings.qa_target)
        ]
        trainer, connectors = TrainerPeer(self._channels[0]), ConnectorPeer(self._channels[1])
        qa = QaPeer(self._channels[2])
        references = HeldReferences(database, releases, add=trainer.add_reference, remove=trainer.release)
        destinations = HeldReferences(
            database, connector_releases, add=connectors.add_reference, remove=connectors.release
        )
        computes = Computes(settings)
        steps = GenerationSteps(settings, database, rows, jobs, trainer, connectors, qa)
        self._runner = Runner(
            jobs,
            steps.handlers(),
            executor,
            artifacts,
            capacity=settings.slots,
            # A SQLite file has one service: what a killed one left is taken up at once, whatever its leases.
            worker_id=settings.service if database.is_sqlite else None,
        )
        self._watcher = JobWatcher(jobs)
        self._housekeeping = Housekeeping(database, artifacts, [references, destinations])
        # Apart from the generations, so that a probe need not wait for one. The first probe starts a worker.
        self._probe_workers = ProcessExecutor(
            settings.artifacts_url,
            slots=settings.probe_workers,
            warm=0,
            preload=_PRELOAD,
        )
        datasets = DatasetService(
            database,
            rows,
            jobs,
            artifacts,
            trainer,
            connectors,
            references,
            destinations,
            new_id=new_uuid,
        )
        generation = GenerationService(database, rows, jobs, trainer, connectors, computes)
        probes = ProbeService(
            self._probe_workers,
            artifacts,
            trainer,
            connectors,
            computes,
            limit=settings.probe_rows,
            new_id=new_uuid,
        )
        public = SyntheticDatasetServicer(  # type: ignore[abstract]
            datasets, generation, FileService(datasets, artifacts, executor)
        )
        self._server = Server(
            settings,
            [
                Registration(
                    synthetic_dataset_pb2_grpc.add_SyntheticDatasetServiceServicer_to_server, public
                ),
                Registration(probe_pb2_grpc.add_ProbeServiceServicer_to_server, ProbeServicer(probes)),
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
        await self._probe_workers.start()
        await self._watcher.start()
        await self._runner.start()
        await self._housekeeping.start()
        await self._server.start()

    async def stop(self) -> None:
        """Takes no more calls, hands running steps back, ends the workers, closes everything."""
        await self._server.drain()
        self._runner.stop_claiming()
        await self._watcher.stop()
        await self._server.stop()
        await self._housekeeping.stop()
        await self._runner.stop()
        await self._probe_workers.stop()
        for channel in self._channels:
            await channel.close()
        await self._database.close()


async def create(
    settings: GeneratorSettings, *, executor: Executor | None = None, artifacts: ArtifactStore | None = None
) -> GeneratorComponent:
    """Makes the service from its settings; tests give their own executor."""
    return GeneratorComponent(
        settings,
        executor=executor or _executor(settings),
        artifacts=artifacts or ArtifactStore.from_url(settings.artifacts_url),
    )


def _executor(settings: GeneratorSettings) -> Executor:
    if settings.executor == "ray":
        from simulacra.jobs import RayExecutor

        return RayExecutor(settings.artifacts_url, address=settings.ray_address or None)
    return ProcessExecutor(settings.artifacts_url, slots=settings.slots, preload=_PRELOAD)


async def migrate(settings: GeneratorSettings) -> None:
    """Brings the database to this version's schema."""
    database = Database(settings.database_url, schema=settings.service)
    try:
        await database.migrate(_PACKAGE)
    finally:
        await database.close()
