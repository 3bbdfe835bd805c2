"""Puts the connector service together from its settings."""

import asyncio
import contextlib
from datetime import timedelta

from simulacra.artifacts import ArtifactStore
from simulacra.jobs import Executor, JobServicer, JobStore, JobWatcher, ProcessExecutor
from simulacra.logs import get_logger
from simulacra.rpc import Registration, Server
from simulacra.store import Database
from simulacra.store.database import utc_now
from simulacra.v1 import connector_pb2_grpc, internal_pb2_grpc, job_pb2_grpc, upload_pb2_grpc
from simulacra_connector.deliveries import Journals
from simulacra_connector.drivers.base import SessionOptions
from simulacra_connector.records import ConnectorRecords
from simulacra_connector.service import ConnectorService
from simulacra_connector.servicer import ConnectorInternalServicer, ConnectorServicer, UploadServicer
from simulacra_connector.settings import ConnectorSettings
from simulacra_connector.sources import Sources
from simulacra_connector.spool import Spool
from simulacra_connector.store import ConnectorRows
from simulacra_connector.threads import DriverThreads
from simulacra_connector.uploads import UploadLimits, UploadService
from simulacra_connector.vault import SecretVault

__all__ = ["ConnectorComponent", "create", "migrate"]

log = get_logger("simulacra.connector")

_PRELOAD = ("simulacra_connector.tasks",)
_UPLOADS_AT_ONCE = 2


class ConnectorComponent:
    """The whole service: its database, its threads and workers, its server."""

    def __init__(
        self,
        settings: ConnectorSettings,
        *,
        vault: SecretVault,
        artifacts: ArtifactStore,
        executor: Executor,
    ) -> None:
        self._settings = settings
        self._database = Database(settings.database_url, schema=settings.service)
        self._threads = DriverThreads(settings.driver_threads)
        self._executor = executor
        self._journals = Journals(self._database)
        rows = ConnectorRows()
        records = ConnectorRecords(rows, vault)
        sources = Sources(self._threads, _session_options(settings), artifacts)
        self.service = ConnectorService(
            self._database,
            rows=rows,
            records=records,
            sources=sources,
            artifacts=artifacts,
            journals=self._journals,
        )
        self.uploads = UploadService(
            self._database,
            rows=rows,
            records=records,
            artifacts=artifacts,
            executor=executor,
            spool=Spool(settings.data_dir / "uploads"),
            limits=_upload_limits(settings),
            clock=utc_now,
        )
        # There are no jobs here yet; the gateway asks every service for its own.
        jobs = JobStore(self._database)
        self._watcher = JobWatcher(jobs)
        job_servicer = Registration(
            job_pb2_grpc.add_JobServiceServicer_to_server, JobServicer(jobs, self._watcher)
        )
        self._server = Server(
            settings,
            [*_registrations(self.service, self.uploads), job_servicer],
            ready=self._database.revision,
        )
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The bound port, once started."""
        return self._server.port

    async def start(self) -> None:
        """Migrates the database, puts secrets under the current key, and serves."""
        await self._database.migrate("simulacra_connector")
        resealed = await self.service.reseal()
        if resealed:
            log.info("secrets_resealed", connectors=resealed)
        await self._executor.start()
        await self._watcher.start()
        self._sweeper = asyncio.create_task(self._sweep())
        await self._server.start()

    async def stop(self) -> None:
        """Answers the calls in flight, then closes everything."""
        await self._server.drain()
        await self._watcher.stop()
        await self._server.stop()
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        await self._executor.stop()
        self._threads.close()
        await self._database.close()

    async def _sweep(self) -> None:
        while True:
            try:
                await self.uploads.sweep()
                await self._journals.sweep()
            except Exception:  # a full disk or an absent database must not end the sweeping
                log.exception("sweep_failed")
            await asyncio.sleep(self._settings.sweep_interval)


async def create(
    settings: ConnectorSettings,
    *,
    executor: Executor | None = None,
    artifacts: ArtifactStore | None = None,
) -> ConnectorComponent:
    """Makes the service from its settings.

    Raises:
        VaultError: If the key that encrypts secrets is missing or malformed.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return ConnectorComponent(
        settings,
        vault=await asyncio.to_thread(_vault, settings),
        artifacts=artifacts or ArtifactStore.from_url(settings.artifacts_url),
        executor=executor
        or ProcessExecutor(settings.artifacts_url, slots=_UPLOADS_AT_ONCE, preload=_PRELOAD),
    )


async def migrate(settings: ConnectorSettings) -> None:
    """Brings the database up to this version."""
    database = Database(settings.database_url, schema=settings.service)
    try:
        await database.migrate("simulacra_connector")
    finally:
        await database.close()


def _vault(settings: ConnectorSettings) -> SecretVault:
    keys = settings.secret_keys.get_secret_value()
    if keys:
        return SecretVault.parse(keys)
    return SecretVault.from_file(settings.secret_key_file or settings.data_dir / "secrets.key")


def _session_options(settings: ConnectorSettings) -> SessionOptions:
    return SessionOptions(
        connect_timeout=settings.connect_timeout,
        statement_timeout=settings.statement_timeout,
        read_timeout=settings.read_timeout,
        retry_seconds=settings.retry_seconds,
        connections_per_source=settings.connections_per_source,
        denied_networks=settings.denied_networks,
        azure_endpoint=settings.azure_endpoint,
        google_endpoint=settings.google_endpoint,
        mssql_tls=settings.mssql_tls,
        tls_optional_networks=settings.tls_optional_networks,
        source_ca_file=settings.source_ca_file,
        endpoints=settings.endpoints,
    )


def _upload_limits(settings: ConnectorSettings) -> UploadLimits:
    return UploadLimits(
        max_bytes=settings.max_upload_bytes,
        max_expanded_bytes=settings.max_expanded_bytes,
        retention=timedelta(hours=settings.upload_retention),
    )


def _registrations(service: ConnectorService, uploads: UploadService) -> list[Registration]:
    connectors = ConnectorServicer(service)  # type: ignore[abstract]  # the rest is UNIMPLEMENTED
    return [
        Registration(connector_pb2_grpc.add_ConnectorServiceServicer_to_server, connectors),
        Registration(upload_pb2_grpc.add_UploadServiceServicer_to_server, UploadServicer(uploads)),
        Registration(
            internal_pb2_grpc.add_ConnectorInternalServiceServicer_to_server,
            ConnectorInternalServicer(service, uploads),
        ),
    ]
