"""A small real service with jobs, so that the gateway's fan-in can be driven change by change."""

# ruff: noqa: N802  (method names come from the contract)
import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

from simulacra.errors import JobNotFound, StorageFull, WrongState
from simulacra.rpc import Principal, Registration, Server, ServiceSettings, current_principal
from simulacra.store import decode_token, encode_token
from simulacra.v1 import connector_pb2, connector_pb2_grpc, generator_pb2_grpc, job_pb2_grpc
from simulacra.v1 import job_pb2 as pb
from simulacra_gateway.app import Gateway
from simulacra_gateway.feed import ENDED, JobState

KEY = "an internal key of tests"
ADMIN_KEY = "the administrator's key"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class UpstreamSettings(ServiceSettings):
    service: ClassVar[str] = "upstream"


@dataclass
class JobTable:
    """The state of a service's jobs, which outlives the service as a database does."""

    jobs: dict[str, pb.Job] = field(default_factory=dict)
    revision: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    watches: int = 0
    calls: list[str] = field(default_factory=list)
    callers: list[Principal] = field(default_factory=list)

    def put(
        self,
        owner: str,
        status: int,
        *,
        job_id: str = "",
        resource_id: str = "",
        minutes: int = 0,
        value: int = 0,
    ) -> pb.Job:
        """Adds a job, or changes the one with this id, and wakes the watchers."""
        known = self.jobs.get(job_id)
        self.revision += 1
        job = pb.Job()
        if known is not None:
            job.CopyFrom(known)
        else:
            job.progress.id = job_id or str(uuid4())
            job.owner_id = owner
            job.kind = pb.JOB_KIND_TRAINING
            job.resource_uri = f"generators/{resource_id or uuid4()}"
            job.created_at.FromDatetime(EPOCH + timedelta(minutes=minutes or self.revision))
        job.progress.status = status  # type: ignore[assignment]
        job.progress.progress.value = value
        job.revision = self.revision
        self.jobs[job.progress.id] = job
        self.changed.set()
        self.changed = asyncio.Event()
        return job

    def since(self, revision: int) -> list[pb.Job]:
        return sorted(
            (job for job in self.jobs.values() if job.revision > revision), key=lambda job: job.revision
        )


class UpstreamJobs(job_pb2_grpc.JobServiceServicer):
    """JobService over a JobTable."""

    def __init__(self, table: JobTable) -> None:
        self.table = table

    def _visible(self, job: pb.Job) -> bool:
        principal = current_principal()
        return principal.service is not None or job.owner_id == principal.user_id

    def _find(self, job_id: str) -> pb.Job:
        self.table.calls.append("GetJob")
        job = self.table.jobs.get(job_id)
        if job is None or not self._visible(job):
            raise JobNotFound(f"there is no job {job_id!r}", id=job_id)
        return job

    async def GetJob(self, request: pb.GetJobRequest, context: Any) -> pb.Job:
        return self._find(request.id)

    async def CancelJob(self, request: pb.CancelJobRequest, context: Any) -> pb.Job:
        job = self._find(request.id)
        if job.progress.status in ENDED:
            raise WrongState("it has ended", current_status=pb.ProgressStatus.Name(job.progress.status))
        return self.table.put("", pb.PROGRESS_STATUS_CANCELED, job_id=request.id)

    async def ListJobs(self, request: pb.ListJobsRequest, context: Any) -> pb.ListJobsResponse:
        self.table.calls.append("ListJobs")
        jobs = [job for job in self.table.jobs.values() if self._visible(job)]
        if request.resource_ids:
            jobs = [job for job in jobs if job.resource_uri.rpartition("/")[2] in request.resource_ids]
        if request.HasField("after_revision"):
            changed = [job for job in self.table.since(request.after_revision) if job in jobs]
            return pb.ListJobsResponse(results=changed)
        jobs.sort(key=lambda job: (job.created_at.ToNanoseconds(), job.progress.id), reverse=True)
        total = len(jobs)
        if request.page_token:
            moment, last_id = decode_token(request.page_token, str, str)
            last = (datetime.fromisoformat(moment), last_id)
            jobs = [job for job in jobs if (job.created_at.ToDatetime(tzinfo=UTC), job.progress.id) < last]
        size = request.page_size or 50
        token = ""
        if len(jobs) > size:
            jobs = jobs[:size]
            token = encode_token(jobs[-1].created_at.ToDatetime(tzinfo=UTC).isoformat(), jobs[-1].progress.id)
        return pb.ListJobsResponse(results=jobs, next_page_token=token, total_count=total)

    async def WatchJobs(
        self, request: pb.WatchJobsRequest, context: Any
    ) -> AsyncIterator[pb.WatchJobsResponse]:
        self.table.watches += 1
        self.table.callers.append(current_principal())
        position = decode_token(request.resume_token, int)[0] if request.resume_token else -1
        while True:
            changed = self.table.changed
            jobs = self.table.since(position)
            if position == -1:
                jobs = [job for job in jobs if job.progress.status not in ENDED]
            for job in jobs:
                position = job.revision
                yield pb.WatchJobsResponse(job=job, resume_token=encode_token(position))
            if position != self.table.revision:
                position = self.table.revision
            yield pb.WatchJobsResponse(resume_token=encode_token(position))
            await changed.wait()

    async def ReadJobLog(self, request: pb.ReadJobLogRequest, context: Any) -> AsyncIterator[pb.JobLogLine]:
        self._find(request.id)
        for sequence in range(1, 4):
            yield pb.JobLogLine(sequence=sequence, text=f"line {sequence}")


class UpstreamConnectors(connector_pb2_grpc.ConnectorServiceServicer):
    """Answers with what it was asked, and with who asked."""

    async def GetConnector(self, request: Any, context: Any) -> connector_pb2.Connector:
        if request.id == "full":
            raise StorageFull("no space left")
        principal = current_principal()
        who = f"{principal.user_id} {principal.user_name} {principal.limits.parallel_training_jobs}"
        return connector_pb2.Connector(id=request.id, name=who)


@dataclass
class Upstream:
    """One service process: can be stopped and started again on the same port."""

    table: JobTable
    data_dir: Path
    port: int = 0
    server: Server | None = None

    async def start(self) -> None:
        settings = UpstreamSettings(data_dir=self.data_dir, internal_key=KEY, port=self.port, grace=0)
        connectors = UpstreamConnectors()  # type: ignore[abstract]
        generators = generator_pb2_grpc.GeneratorServiceServicer()  # type: ignore[abstract]
        self.server = Server(
            settings,
            [
                Registration(job_pb2_grpc.add_JobServiceServicer_to_server, UpstreamJobs(self.table)),
                Registration(connector_pb2_grpc.add_ConnectorServiceServicer_to_server, connectors),
                Registration(generator_pb2_grpc.add_GeneratorServiceServicer_to_server, generators),
            ],
        )
        self.port = await self.server.start()

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.stop(0)
            self.server = None

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"


class Changes:
    """Listens on a board for services that come and go."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def offer(self, state: JobState) -> None:
        """Not subscribed to any job."""

    def service_changed(self, service: str) -> None:
        self.event.set()


async def reachable(gateway: Gateway, *, but: tuple[str, ...] = ()) -> None:
    """Waits until all services but the given ones can be reached."""
    changes = Changes()
    unsubscribe = gateway.board.subscribe(changes, [])
    async with asyncio.timeout(10):
        while gateway.board.unavailable != but:
            changes.event.clear()
            await changes.event.wait()
    unsubscribe()
