"""Puts the generator service together from its settings."""

from simulacra.artifacts import ArtifactStore
from simulacra.jobs import Executor, JobStore, ProcessExecutor
from simulacra.jobs.component import JobComponent, executor_for, migrate_database
from simulacra.jobs.computes import Computes
from simulacra.jobs.store import new_uuid
from simulacra.rpc import Registration, open_channel
from simulacra.store import Database
from simulacra.store.releases import HeldReferences
from simulacra.v1 import probe_pb2_grpc, synthetic_dataset_pb2_grpc
from simulacra_generator.files import FileService
from simulacra_generator.generation import GenerationObserver, GenerationService
from simulacra_generator.housekeeping import Housekeeping
from simulacra_generator.peers import ConnectorPeer, QaPeer, TrainerPeer
from simulacra_generator.preflight import Preflight
from simulacra_generator.probes import ProbeService
from simulacra_generator.service import DatasetService
from simulacra_generator.servicer import ProbeServicer, SyntheticDatasetServicer
from simulacra_generator.settings import GeneratorSettings
from simulacra_generator.steps import GenerationSteps
from simulacra_generator.store import DatasetRows, connector_releases, releases

__all__ = ["GeneratorComponent", "create", "migrate"]

_PACKAGE = "simulacra_generator"
_PRELOAD = ("simulacra.engine.sampling", "simulacra_generator.tasks")


class GeneratorComponent(JobComponent):
    """The whole service: synthetic datasets, their generation, probes."""

    def __init__(self, settings: GeneratorSettings, *, executor: Executor, artifacts: ArtifactStore) -> None:
        database = Database(settings.database_url, schema=settings.service)
        rows = DatasetRows()
        jobs = JobStore(database, observer=GenerationObserver(rows))
        signer, credentials = settings.signer(), settings.peer_credentials()
        channels = [
            open_channel(target, signer=signer, credentials=credentials)
            for target in (settings.trainer_target, settings.connector_target, settings.qa_target)
        ]
        trainer, connectors, qa = TrainerPeer(channels[0]), ConnectorPeer(channels[1]), QaPeer(channels[2])
        references = HeldReferences(database, releases, add=trainer.add_reference, remove=trainer.release)
        destinations = HeldReferences(
            database, connector_releases, add=connectors.add_reference, remove=connectors.release
        )
        computes = Computes(settings)
        steps = GenerationSteps(settings, database, rows, jobs, trainer, connectors, qa)
        # Apart from the generations, so that neither a probe nor the start of a generation need wait for one.
        # The first of them starts a worker.
        probe_workers = ProcessExecutor(
            settings.artifacts_url, slots=settings.probe_workers, warm=0, preload=_PRELOAD
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
            max_rows=settings.table_rows,
            new_id=new_uuid,
        )
        preflight = Preflight(probe_workers, artifacts, connectors, new_id=new_uuid)
        generation = GenerationService(
            database, rows, jobs, trainer, connectors, computes, preflight, max_rows=settings.table_rows
        )
        probes = ProbeService(
            probe_workers,
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
        super().__init__(
            settings,
            _PACKAGE,
            database=database,
            jobs=jobs,
            handlers=steps.handlers(),
            executor=executor,
            artifacts=artifacts,
            registrations=[
                Registration(
                    synthetic_dataset_pb2_grpc.add_SyntheticDatasetServiceServicer_to_server, public
                ),
                Registration(probe_pb2_grpc.add_ProbeServiceServicer_to_server, ProbeServicer(probes)),
            ],
            channels=channels,
            background=[probe_workers, Housekeeping(database, artifacts, [references, destinations])],
        )


async def create(
    settings: GeneratorSettings, *, executor: Executor | None = None, artifacts: ArtifactStore | None = None
) -> GeneratorComponent:
    """Makes the service from its settings; tests give their own executor."""
    return GeneratorComponent(
        settings,
        executor=executor or executor_for(settings, preload=_PRELOAD),
        artifacts=artifacts or ArtifactStore.from_url(settings.artifacts_url),
    )


async def migrate(settings: GeneratorSettings) -> None:
    """Brings the database to this version's schema."""
    await migrate_database(settings, _PACKAGE)
