"""The jobs of all services as one: found, listed, cancelled, read."""

import pytest

from simulacra.errors import InvalidArgument, JobNotFound, ResumeTokenInvalid, ServiceUnavailable, WrongState
from simulacra.rpc import ServiceChannel
from simulacra.v1 import job_pb2 as pb
from simulacra.v1 import job_pb2_grpc, user_pb2, user_pb2_grpc
from simulacra_gateway.app import Gateway
from tests.integration.gateway.upstream import Upstream, reachable


async def my_id(channel: ServiceChannel) -> str:
    user = await user_pb2_grpc.UserServiceStub(channel).GetCurrentUser(user_pb2.GetCurrentUserRequest())
    return user.id


@pytest.fixture
async def me(client: ServiceChannel) -> str:
    return await my_id(client)


@pytest.fixture
def jobs(client: ServiceChannel) -> "job_pb2_grpc.JobServiceAsyncStub":
    return job_pb2_grpc.JobServiceStub(client)


async def test_a_job_is_found_wherever_it_is_and_its_owner_remembered(
    jobs: "job_pb2_grpc.JobServiceAsyncStub", connector: Upstream, trainer: Upstream, me: str
) -> None:
    ended = trainer.table.put(me, pb.PROGRESS_STATUS_DONE, job_id="t-1")
    assert await jobs.GetJob(pb.GetJobRequest(id="t-1")) == ended
    asked = len(connector.table.calls)
    await jobs.GetJob(pb.GetJobRequest(id="t-1"))
    assert len(connector.table.calls) == asked


async def test_other_people_s_jobs_do_not_exist(
    jobs: "job_pb2_grpc.JobServiceAsyncStub", trainer: Upstream
) -> None:
    trainer.table.put("somebody", pb.PROGRESS_STATUS_IN_PROGRESS, job_id="t-1")
    for job_id in ("t-1", "nothing"):
        with pytest.raises(JobNotFound):
            await jobs.GetJob(pb.GetJobRequest(id=job_id))
    with pytest.raises(InvalidArgument):
        await jobs.GetJob(pb.GetJobRequest())


async def test_a_job_that_may_be_with_a_service_that_is_away_is_not_called_missing(
    jobs: "job_pb2_grpc.JobServiceAsyncStub", connector: Upstream
) -> None:
    await connector.stop()
    with pytest.raises(ServiceUnavailable, match="may be with connector"):
        await jobs.GetJob(pb.GetJobRequest(id="nothing"))


async def test_cancelling_reaches_the_owner(
    jobs: "job_pb2_grpc.JobServiceAsyncStub", trainer: Upstream, me: str
) -> None:
    trainer.table.put(me, pb.PROGRESS_STATUS_IN_PROGRESS, job_id="t-1")
    job = await jobs.CancelJob(pb.CancelJobRequest(id="t-1"))
    assert job.progress.status == pb.PROGRESS_STATUS_CANCELED
    with pytest.raises(WrongState) as caught:
        await jobs.CancelJob(pb.CancelJobRequest(id="t-1"))
    assert caught.value.metadata == {"current_status": "PROGRESS_STATUS_CANCELED"}


async def test_a_log_is_read_from_the_owner(
    jobs: "job_pb2_grpc.JobServiceAsyncStub", connector: Upstream, me: str
) -> None:
    connector.table.put(me, pb.PROGRESS_STATUS_DONE, job_id="c-1")
    lines = [line.sequence async for line in jobs.ReadJobLog(pb.ReadJobLogRequest(id="c-1"))]
    assert lines == [1, 2, 3]
    with pytest.raises(JobNotFound):
        [line async for line in jobs.ReadJobLog(pb.ReadJobLogRequest(id="nothing"))]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10])
async def test_pages_merge_newest_first_without_a_gap_or_a_repeat(
    jobs: "job_pb2_grpc.JobServiceAsyncStub", connector: Upstream, trainer: Upstream, me: str, size: int
) -> None:
    for minute in (1, 4, 5, 6):
        connector.table.put(me, pb.PROGRESS_STATUS_DONE, job_id=f"job-{minute}", minutes=minute)
    for minute in (2, 3, 7):
        trainer.table.put(me, pb.PROGRESS_STATUS_DONE, job_id=f"job-{minute}", minutes=minute)
    seen: list[str] = []
    request = pb.ListJobsRequest(page_size=size)
    while True:
        page = await jobs.ListJobs(request)
        assert len(page.results) <= size
        assert page.total_count == 7
        seen.extend(job.progress.id for job in page.results)
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == [f"job-{minute}" for minute in (7, 6, 5, 4, 3, 2, 1)]


async def test_a_page_says_whose_jobs_are_missing(
    gateway: Gateway,
    jobs: "job_pb2_grpc.JobServiceAsyncStub",
    connector: Upstream,
    trainer: Upstream,
    me: str,
) -> None:
    trainer.table.put(me, pb.PROGRESS_STATUS_DONE)
    await connector.stop()
    await reachable(gateway, but=("connector",))
    page = await jobs.ListJobs(pb.ListJobsRequest())
    assert len(page.results) == 1
    assert list(page.unavailable_services) == ["connector"]


async def test_wrong_list_requests_are_refused(jobs: "job_pb2_grpc.JobServiceAsyncStub") -> None:
    with pytest.raises(InvalidArgument, match="page_size"):
        await jobs.ListJobs(pb.ListJobsRequest(page_size=-1))
    with pytest.raises(InvalidArgument, match="after_revision"):
        await jobs.ListJobs(pb.ListJobsRequest(after_revision=1))
    with pytest.raises(ResumeTokenInvalid):
        await jobs.ListJobs(pb.ListJobsRequest(page_token="nonsense"))


async def test_usage_counts_the_user_s_running_jobs(
    jobs: "job_pb2_grpc.JobServiceAsyncStub", client: ServiceChannel, trainer: Upstream, me: str
) -> None:
    stream = jobs.WatchJobs(pb.WatchJobsRequest())
    trainer.table.put("somebody", pb.PROGRESS_STATUS_IN_PROGRESS)
    trainer.table.put(me, pb.PROGRESS_STATUS_QUEUED)
    running = trainer.table.put(me, pb.PROGRESS_STATUS_IN_PROGRESS)
    async for answer in stream:
        if answer.job.revision == running.revision:
            break
    user = await user_pb2_grpc.UserServiceStub(client).GetCurrentUser(user_pb2.GetCurrentUserRequest())
    assert user.usage.parallel_training_jobs.current == 1
    assert not user.usage.parallel_training_jobs.HasField("limit")
