"""Puts the service together from its settings."""

from datetime import timedelta

from simulacra.artifacts import ArtifactStore
from simulacra.jobs import Executor, JobStore
from simulacra.jobs.component import JobComponent, executor_for, migrate_database
from simulacra.jobs.store import new_uuid
from simulacra.rpc import Registration, open_channel
from simulacra.store import Database
from simulacra.v1 import internal_pb2_grpc, qa_pb2_grpc
from simulacra_qa.housekeeping import EndedJobs, Housekeeping
from simulacra_qa.jobs import EvaluationJobs
from simulacra_qa.peers import ConnectorPeer
from simulacra_qa.service import EvaluationService
from simulacra_qa.servicer import QaInternalServicer, QaServicer
from simulacra_qa.settings import QaSettings
from simulacra_qa.steps import EvaluationSteps

__all__ = ["QaComponent", "create", "migrate"]

_PACKAGE = "simulacra_qa"
_PRELOAD = ("simulacra_qa.tasks", "scipy.special", "sklearn.ensemble")


class QaComponent(JobComponent):
    """The whole service: evaluations that clients start, and those that the platform needs itself."""

    def __init__(self, settings: QaSettings, *, executor: Executor, artifacts: ArtifactStore) -> None:
        database = Database(settings.database_url, schema=settings.service)
        ended = EndedJobs()
        jobs = JobStore(database, observer=ended)
        keep = timedelta(days=settings.keep_evaluations_days)
        self.housekeeping = Housekeeping(database, jobs, artifacts, ended, keep=keep)
        channel = open_channel(
            settings.connector_target, signer=settings.signer(), credentials=settings.peer_credentials()
        )
        connectors = ConnectorPeer(channel)
        public = QaServicer(EvaluationJobs(database, jobs, artifacts, connectors, new_id=new_uuid))
        evaluations = EvaluationService(executor, artifacts, embedder=settings.embedder_path)
        internal = QaInternalServicer(evaluations)
        super().__init__(
            settings,
            _PACKAGE,
            database=database,
            jobs=jobs,
            handlers=EvaluationSteps(connectors, embedder=settings.embedder_path).handlers(),
            executor=executor,
            artifacts=artifacts,
            registrations=[
                Registration(internal_pb2_grpc.add_QaInternalServiceServicer_to_server, internal),
                Registration(qa_pb2_grpc.add_QaServiceServicer_to_server, public),
            ],
            channels=[channel],
            background=[self.housekeeping],
        )


async def create(
    settings: QaSettings, *, executor: Executor | None = None, artifacts: ArtifactStore | None = None
) -> QaComponent:
    """Makes the service from its settings; tests give their own executor."""
    return QaComponent(
        settings,
        executor=executor or executor_for(settings, preload=_PRELOAD),
        artifacts=artifacts or ArtifactStore.from_url(settings.artifacts_url),
    )


async def migrate(settings: QaSettings) -> None:
    """Brings the database to this version's schema."""
    await migrate_database(settings, _PACKAGE)
