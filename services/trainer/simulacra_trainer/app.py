"""Puts the trainer together from its settings."""

from datetime import timedelta

from simulacra.artifacts import ArtifactStore
from simulacra.jobs import Executor, JobStore, ProcessExecutor
from simulacra.jobs.component import JobComponent, executor_for, migrate_database
from simulacra.jobs.computes import Computes
from simulacra.jobs.store import new_uuid
from simulacra.rpc import Registration, open_channel
from simulacra.store import Database
from simulacra.store.releases import HeldReferences
from simulacra.v1 import generator_pb2_grpc, internal_pb2_grpc
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


class TrainerComponent(JobComponent):
    """The whole service: generators, their tables, their trainings."""

    def __init__(self, settings: TrainerSettings, *, executor: Executor, artifacts: ArtifactStore) -> None:
        database = Database(settings.database_url, schema=settings.service)
        rows = GeneratorRows()
        jobs = JobStore(database, observer=TrainingObserver(rows))
        signer, credentials = settings.signer(), settings.peer_credentials()
        channels = [
            open_channel(target, signer=signer, credentials=credentials)
            for target in (settings.connector_target, settings.qa_target)
        ]
        connectors, qa = ConnectorPeer(channels[0]), QaPeer(channels[1])
        sources = Sources(connectors, new_id=new_uuid)
        references = HeldReferences(
            database, releases, add=connectors.add_reference, remove=connectors.release
        )
        keep = timedelta(days=settings.keep_failed_days)
        housekeeping = Housekeeping(database, jobs, artifacts, references, keep=keep)
        discard = housekeeping.discard
        steps = TrainingSteps(settings, rows, jobs, connectors, qa, discard=discard)
        # Apart from the trainings, so that an import need not wait for one; started for each check.
        checks = ProcessExecutor(settings.artifacts_url, slots=1, warm=0, preload=_PRELOAD)
        generators = GeneratorService(database, rows, jobs, artifacts, sources, references, new_id=new_uuid)
        transfer = TransferService(
            database, rows, generators, artifacts, checks, limit=settings.import_bytes, new_id=new_uuid
        )
        training = TrainingService(database, rows, jobs, artifacts, Computes(settings), discard=discard)
        tables = TableService(database, generators, sources, references, new_id=new_uuid)
        public = GeneratorServicer(generators, tables, training, transfer)  # type: ignore[abstract]
        internal = TrainerInternalServicer(BundleService(database, rows))
        super().__init__(
            settings,
            _PACKAGE,
            database=database,
            jobs=jobs,
            handlers=steps.handlers(),
            executor=executor,
            artifacts=artifacts,
            registrations=[
                Registration(generator_pb2_grpc.add_GeneratorServiceServicer_to_server, public),
                Registration(internal_pb2_grpc.add_TrainerInternalServiceServicer_to_server, internal),
            ],
            channels=channels,
            background=[checks, housekeeping],
        )


async def create(
    settings: TrainerSettings, *, executor: Executor | None = None, artifacts: ArtifactStore | None = None
) -> TrainerComponent:
    """Makes the service from its settings; tests give their own executor."""
    return TrainerComponent(
        settings,
        executor=executor or executor_for(settings, preload=_PRELOAD),
        artifacts=artifacts or ArtifactStore.from_url(settings.artifacts_url),
    )


async def migrate(settings: TrainerSettings) -> None:
    """Brings the database to this version's schema."""
    await migrate_database(settings, _PACKAGE)
