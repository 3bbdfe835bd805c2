"""The jobs of all services as one: found by asking all at once, listed as one list, cancelled, read."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC
from typing import Any, Final

from simulacra.errors import (
    Code,
    InvalidArgument,
    JobNotFound,
    ServiceUnavailable,
    SimulacraError,
)
from simulacra.store import encode_token
from simulacra.v1 import job_pb2 as pb
from simulacra_gateway.board import Board

__all__ = ["Jobs", "is_unavailable"]

_OWNERS_KEPT: Final = 10_000
_DEFAULT_PAGE: Final = 50
_LARGEST_PAGE: Final = 1_000


class Jobs:
    """Asks the services for jobs on behalf of the current principal.

    A job's id does not say which service has it: all are asked, and the answer is remembered.
    """

    def __init__(self, stubs: Mapping[str, Any], board: Board) -> None:
        self.stubs = stubs
        self._board = board
        self._owners: dict[str, str] = {}

    async def get(self, request: pb.GetJobRequest) -> pb.Job:
        """Returns a job.

        Raises:
            JobNotFound: If no service has it, or the caller may not see it.
            ServiceUnavailable: If a service that may have it does not answer.
        """
        owner = self._owner(request.id)
        if owner is not None:
            job: pb.Job = await self.stubs[owner].GetJob(request)
            return job
        return (await self._find(request.id))[1]

    async def cancel(self, request: pb.CancelJobRequest) -> pb.Job:
        """Asks a job to stop and returns it."""
        job: pb.Job = await (await self._stub_of(request.id)).CancelJob(request)
        return job

    async def log(self, request: pb.ReadJobLogRequest) -> AsyncGenerator[pb.JobLogLine, None]:
        """Yields the lines of a job's log."""
        stream = (await self._stub_of(request.id)).ReadJobLog(request)
        try:
            async for line in stream:
                yield line
        finally:
            stream.cancel()

    async def page(self, request: pb.ListJobsRequest) -> pb.ListJobsResponse:
        """Returns a page of the jobs of all services, the newest first.

        Jobs are ordered by creation time and id, in every service alike; so one token, the last job's time
        and id, continues in all of them.
        """
        if request.HasField("after_revision"):
            raise InvalidArgument.of(
                "after_revision", "is for a single service; here, watch the jobs instead"
            )
        if request.page_size < 0:
            raise InvalidArgument.of("page_size", f"must be 0 or more, got {request.page_size}")
        size = min(request.page_size or _DEFAULT_PAGE, _LARGEST_PAGE)
        answers = await self._ask_all(lambda stub: stub.ListJobs(request))
        pages = {service: page for service, page in answers.items() if isinstance(page, pb.ListJobsResponse)}
        _raise_unless_unavailable(answers)
        jobs = sorted(
            (job for page in pages.values() for job in page.results), key=_newest_first, reverse=True
        )
        more = len(jobs) > size or any(page.next_page_token for page in pages.values())
        return pb.ListJobsResponse(
            results=jobs[:size],
            next_page_token=_token_after(jobs[:size]) if more else "",
            total_count=sum(page.total_count for page in pages.values()),
            unavailable_services=sorted(answers.keys() - pages.keys()),
        )

    async def _stub_of(self, job_id: str) -> Any:
        owner = self._owner(job_id) or (await self._find(job_id))[0]
        return self.stubs[owner]

    def _owner(self, job_id: str) -> str | None:
        if not job_id:
            raise InvalidArgument.of("id", "is required")
        state = self._board.state(job_id)
        return state.service if state is not None else self._owners.get(job_id)

    async def _find(self, job_id: str) -> tuple[str, pb.Job]:
        answers = await self._ask_all(lambda stub: stub.GetJob(pb.GetJobRequest(id=job_id)))
        for service, answer in answers.items():
            if isinstance(answer, pb.Job):
                if len(self._owners) >= _OWNERS_KEPT:
                    self._owners.clear()
                self._owners[job_id] = service
                return service, answer
        missing = {
            service: answer for service, answer in answers.items() if not isinstance(answer, JobNotFound)
        }
        _raise_unless_unavailable(missing)
        if missing:
            names = ", ".join(sorted(missing))
            raise ServiceUnavailable(
                f"job {job_id!r} may be with {names}, which does not answer just now; try again",
                retry_after=1.0,
                service=names,
            )
        raise JobNotFound(f"there is no job {job_id!r}", id=job_id)

    async def _ask_all(self, call: Any) -> dict[str, Any]:
        answers = await asyncio.gather(*(call(stub) for stub in self.stubs.values()), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, SimulacraError):
                raise answer
        return dict(zip(self.stubs, answers, strict=True))


def is_unavailable(error: SimulacraError) -> bool:
    """Tells whether a service merely does not answer just now."""
    return error.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED)


def _raise_unless_unavailable(answers: Mapping[str, Any]) -> None:
    for answer in answers.values():
        if isinstance(answer, SimulacraError) and not is_unavailable(answer):
            raise answer


def _newest_first(job: pb.Job) -> tuple[int, str]:
    return job.created_at.ToNanoseconds(), job.progress.id


def _token_after(jobs: Sequence[pb.Job]) -> str:
    """Returns the token, of `simulacra.store.page`, with which every service goes on after `jobs`."""
    last = jobs[-1]
    created_at = last.created_at.ToDatetime(tzinfo=UTC)
    return encode_token(created_at.isoformat(), last.progress.id)
