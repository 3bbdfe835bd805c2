"""JobService over real gRPC, on SQLite and on Postgres."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from simulacra.domain import Job, JobLogLine
from simulacra.errors import InvalidArgument, JobNotFound, ResumeTokenInvalid, WrongState
from simulacra.jobs import JobServicer, JobWatcher
from simulacra.rpc import Principal, PrincipalSigner, Registration, Server, ServiceSettings, open_channel
from simulacra.store import encode_token
from simulacra.v1 import job_pb2 as pb
from simulacra.v1 import job_pb2_grpc
from simulacra.wire import from_proto
from tests.kernel_service.bench import ANN, Bench, step

KEY = "0123456789abcdef"


class Settings(ServiceSettings):
    service: ClassVar[str] = "kernel"


@dataclass
class Service:
    """The service, and stubs to it as Ann and as Bob."""

    ann: Any
    bob: Any


@pytest.fixture
async def service(bench: Bench, tmp_path: Path) -> AsyncIterator[Service]:
    watcher = JobWatcher(bench.store, heartbeat_seconds=0.3)
    await watcher.start()
    registration = Registration(
        job_pb2_grpc.add_JobServiceServicer_to_server, JobServicer(bench.store, watcher)
    )
    server = Server(Settings(data_dir=tmp_path, internal_key=KEY, grace=0), [registration])
    await server.start()
    signer = PrincipalSigner(KEY.encode())
    channels = [
        open_channel(f"127.0.0.1:{server.port}", signer=signer, principal=principal)
        for principal in (ANN, Principal(user_id="u2", user_name="bob"))
    ]
    yield Service(*(job_pb2_grpc.JobServiceStub(channel) for channel in channels))
    for channel in channels:
        await channel.close()
    await watcher.stop()
    await server.stop()


async def test_job_is_read_as_it_is_stored(bench: Bench, service: Service) -> None:
    job = await bench.submit(step("a"), step("b", after=["a"]))
    answer = await service.ann.GetJob(pb.GetJobRequest(id=job.id))
    assert from_proto(answer, Job) == job
    assert answer.progress.steps[1].status == pb.PROGRESS_STATUS_QUEUED


async def test_list_takes_each_filter(bench: Bench, service: Service) -> None:
    first = await bench.submit(uri="generators/g1")
    second = await bench.submit(uri="generators/g2")
    await bench.store.cancel(first.id)

    async def ids(**request: Any) -> list[str]:
        answer = await service.ann.ListJobs(pb.ListJobsRequest(**request))
        assert answer.total_count >= len(answer.results)
        return [job.progress.id for job in answer.results]

    assert await ids() == [second.id, first.id]
    assert await ids(statuses=[pb.PROGRESS_STATUS_CANCELED]) == [first.id]
    assert await ids(kinds=[pb.JOB_KIND_GENERATION]) == []
    assert await ids(resource_ids=["g2"]) == [second.id]
    assert await ids(after_revision=0) == [second.id, first.id]  # first changed last
    assert await ids(after_revision=second.revision) == [first.id]
    page = await service.ann.ListJobs(pb.ListJobsRequest(page_size=1, after_revision=0))
    assert await ids(page_size=1, after_revision=0, page_token=page.next_page_token) == [first.id]
    assert (await service.bob.ListJobs(pb.ListJobsRequest())).total_count == 0


async def test_cancel_answers_with_the_job_and_refuses_what_has_ended(bench: Bench, service: Service) -> None:
    job = await bench.submit()
    with pytest.raises(JobNotFound):
        await service.bob.CancelJob(pb.CancelJobRequest(id=job.id))
    answer = await service.ann.CancelJob(pb.CancelJobRequest(id=job.id))
    assert (answer.cancel_requested, answer.progress.status) == (True, pb.PROGRESS_STATUS_CANCELED)
    with pytest.raises(WrongState) as error:
        await service.ann.CancelJob(pb.CancelJobRequest(id=job.id))
    assert error.value.metadata["current_status"] == "CANCELED"


async def test_watch_streams_to_the_end_and_resumes(bench: Bench, service: Service) -> None:
    job = await bench.submit()
    request = pb.WatchJobsRequest(job_ids=[job.id])
    seen = []
    async with asyncio.timeout(60):
        async for message in service.ann.WatchJobs(request):
            seen.append(message)
            if len(seen) == 1:
                await bench.start()
    revisions = [message.job.revision for message in seen if message.HasField("job")]
    assert revisions == sorted(set(revisions))
    assert seen[-1].job.progress.status == pb.PROGRESS_STATUS_DONE
    resumed = pb.WatchJobsRequest(job_ids=[job.id], resume_token=seen[0].resume_token)
    again = [message async for message in service.ann.WatchJobs(resumed)]
    assert [message.job.revision for message in again] == revisions[-1:]


async def test_wrong_requests_are_refused(service: Service) -> None:
    with pytest.raises(InvalidArgument, match="id: is required"):
        await service.ann.GetJob(pb.GetJobRequest())
    with pytest.raises(InvalidArgument, match="page_size"):
        await service.ann.ListJobs(pb.ListJobsRequest(page_size=-1))
    for token in ("x", encode_token(10**6)):
        with pytest.raises(ResumeTokenInvalid):
            _ = [message async for message in service.ann.WatchJobs(pb.WatchJobsRequest(resume_token=token))]
    with pytest.raises(JobNotFound):
        _ = [line async for line in service.ann.ReadJobLog(pb.ReadJobLogRequest(id="nowhere"))]


async def test_log_streams_while_the_job_runs(bench: Bench, service: Service) -> None:
    job = await bench.submit(step("a", to=4))
    await bench.start()
    stream = service.ann.ReadJobLog(pb.ReadJobLogRequest(id=job.id, follow=True))
    async with asyncio.timeout(60):
        lines = [from_proto(line, JobLogLine) async for line in stream]
    assert [line.text for line in lines] == [f"counted {number}" for number in range(1, 5)]
    rest = pb.ReadJobLogRequest(id=job.id, after_sequence=lines[1].sequence, step_id=lines[0].step_id)
    assert len([line async for line in service.ann.ReadJobLog(rest)]) == 2
