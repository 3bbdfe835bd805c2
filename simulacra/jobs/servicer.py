"""JobService of one service; the gateway merges those of all."""

from collections.abc import AsyncIterator, Iterable
from enum import StrEnum
from typing import Any, TypeVar

from simulacra.domain import JobKind, ProgressStatus
from simulacra.errors import InvalidArgument
from simulacra.jobs.store import JobStore
from simulacra.jobs.watch import JobWatcher
from simulacra.rpc.auth import current_principal
from simulacra.v1 import job_pb2 as pb
from simulacra.v1 import job_pb2_grpc
from simulacra.wire import enum_from_proto, to_proto

__all__ = ["JobServicer"]

_E = TypeVar("_E", bound=StrEnum)


class JobServicer(job_pb2_grpc.JobServiceServicer):
    """Reads, lists, cancels and follows the jobs of a service; each caller its own, services all."""

    def __init__(self, store: JobStore, watcher: JobWatcher) -> None:
        self._store = store
        self._watcher = watcher

    async def GetJob(self, request: pb.GetJobRequest, context: Any) -> pb.Job:
        job = await self._store.get(_required(request.id), viewer=current_principal())
        return to_proto(job)

    async def ListJobs(self, request: pb.ListJobsRequest, context: Any) -> pb.ListJobsResponse:
        page = await self._store.list(
            viewer=current_principal(),
            statuses=_members(request.statuses, ProgressStatus),
            kinds=_members(request.kinds, JobKind),
            resource_ids=request.resource_ids,
            after_revision=request.after_revision if request.HasField("after_revision") else None,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        results = [to_proto(job, pb.Job) for job in page.jobs]
        return pb.ListJobsResponse(
            results=results, next_page_token=page.next_page_token, total_count=page.total_count
        )

    async def CancelJob(self, request: pb.CancelJobRequest, context: Any) -> pb.Job:
        job = await self._store.cancel(_required(request.id), viewer=current_principal())
        return to_proto(job)

    async def WatchJobs(
        self, request: pb.WatchJobsRequest, context: Any
    ) -> AsyncIterator[pb.WatchJobsResponse]:
        events = self._watcher.watch(
            viewer=current_principal(),
            job_ids=request.job_ids,
            resource_ids=request.resource_ids,
            resume_token=request.resume_token,
        )
        async for event in events:
            job = to_proto(event.job) if event.job is not None else None
            yield pb.WatchJobsResponse(job=job, resume_token=event.resume_token)

    async def ReadJobLog(self, request: pb.ReadJobLogRequest, context: Any) -> AsyncIterator[pb.JobLogLine]:
        lines = self._watcher.read_log(
            _required(request.id),
            viewer=current_principal(),
            step_id=request.step_id if request.HasField("step_id") else None,
            after=request.after_sequence,
            follow=request.follow,
        )
        async for line in lines:
            yield to_proto(line)


def _members(numbers: Iterable[int], cls: type[_E]) -> list[_E]:
    return [member for number in numbers if (member := enum_from_proto(number, cls)) is not None]


def _required(id: str) -> str:
    if not id:
        raise InvalidArgument.of("id", "is required")
    return id
