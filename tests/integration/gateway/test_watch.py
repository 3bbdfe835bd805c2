"""WatchJobs keeps its promise: no revision goes back or twice, every end is seen, restarts lose nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from simulacra.errors import InvalidArgument, JobNotFound, ResumeTokenInvalid
from simulacra.rpc import ServiceChannel, open_channel
from simulacra.v1 import job_pb2 as pb
from simulacra.v1 import job_pb2_grpc, user_pb2, user_pb2_grpc
from simulacra_gateway.app import Gateway, create
from tests.integration.gateway.upstream import ADMIN_KEY, Upstream, reachable

RUNS = pb.PROGRESS_STATUS_IN_PROGRESS
DONE = pb.PROGRESS_STATUS_DONE


class Watcher:
    """Reads a watch and checks, message by message, what may never happen."""

    def __init__(self, channel: ServiceChannel, *, seen: "Watcher | None" = None, **request: Any) -> None:
        if seen is not None:
            request["resume_token"] = seen.token
        self.token: str = ""
        self.revisions: dict[str, int] = dict(seen.revisions) if seen is not None else {}
        self.statuses: dict[str, int] = {}
        self.unavailable: list[str] = []
        self.ended = False
        self._stream = job_pb2_grpc.JobServiceStub(channel).WatchJobs(pb.WatchJobsRequest(**request))
        self._answers = aiter(self._stream)

    async def next(self, seconds: float = 10) -> pb.WatchJobsResponse | None:
        """Returns the next message, or None when the stream has ended well."""
        async with asyncio.timeout(seconds):
            answer: pb.WatchJobsResponse | None = await anext(self._answers, None)
        if answer is None:
            self.ended = True
            return None
        assert answer.resume_token
        self.token = answer.resume_token
        self.unavailable = list(answer.unavailable_services)
        if answer.HasField("job"):
            job = answer.job
            assert job.revision > self.revisions.get(job.progress.id, 0), "a revision went back or came twice"
            self.revisions[job.progress.id] = job.revision
            self.statuses[job.progress.id] = job.progress.status
        return answer

    async def until(self, job: pb.Job) -> None:
        """Reads until a job has been seen at its revision or later."""
        async with asyncio.timeout(10):
            while self.revisions.get(job.progress.id, 0) < job.revision:
                assert await self.next() is not None

    async def until_end(self) -> None:
        async with asyncio.timeout(10):
            while await self.next() is not None:
                pass

    def stop(self) -> None:
        self._stream.cancel()


@pytest.fixture
async def me(client: ServiceChannel) -> str:
    user = await user_pb2_grpc.UserServiceStub(client).GetCurrentUser(user_pb2.GetCurrentUserRequest())
    return user.id


async def test_snapshot_changes_and_end_of_a_named_job(
    client: ServiceChannel, trainer: Upstream, me: str
) -> None:
    trainer.table.put(me, RUNS, job_id="t-1")
    watcher = Watcher(client, job_ids=["t-1"])
    first = await watcher.next()
    assert first is not None
    assert first.job.progress.status == RUNS
    for value in range(1, 50):
        trainer.table.put(me, RUNS, job_id="t-1", value=value)
    trainer.table.put(me, DONE, job_id="t-1")
    await watcher.until_end()
    assert watcher.statuses == {"t-1": DONE}


async def test_a_job_that_has_ended_before_is_sent_once(
    client: ServiceChannel, trainer: Upstream, me: str
) -> None:
    trainer.table.put(me, DONE, job_id="t-1")
    watcher = Watcher(client, job_ids=["t-1"])
    await watcher.until_end()
    assert watcher.statuses == {"t-1": DONE}
    again = Watcher(client, seen=watcher, job_ids=["t-1"])
    await again.until_end()
    assert again.statuses == {}


async def test_jobs_of_several_services_end_together(
    client: ServiceChannel, connector: Upstream, trainer: Upstream, me: str
) -> None:
    connector.table.put(me, RUNS, job_id="c-1")
    trainer.table.put(me, RUNS, job_id="t-1", resource_id="g-1")
    watcher = Watcher(client, job_ids=["c-1"], resource_ids=["g-1"])
    await watcher.until(trainer.table.jobs["t-1"])
    await watcher.until(connector.table.jobs["c-1"])
    trainer.table.put(me, DONE, job_id="t-1")
    await watcher.until(trainer.table.jobs["t-1"])
    assert not watcher.ended
    connector.table.put(me, pb.PROGRESS_STATUS_FAILED, job_id="c-1")
    await watcher.until_end()


async def test_a_resource_s_latest_job_is_watched(client: ServiceChannel, trainer: Upstream, me: str) -> None:
    trainer.table.put(me, DONE, job_id="old", resource_id="g-1", minutes=1)
    trainer.table.put(me, RUNS, job_id="new", resource_id="g-1", minutes=2)
    watcher = Watcher(client, resource_ids=["g-1"])
    await watcher.until(trainer.table.jobs["new"])
    trainer.table.put(me, DONE, job_id="new")
    await watcher.until_end()
    assert watcher.statuses == {"new": DONE}


async def test_an_open_watch_shows_own_unended_jobs_and_new_ones(
    client: ServiceChannel, trainer: Upstream, me: str
) -> None:
    trainer.table.put(me, DONE, job_id="ended")
    trainer.table.put("somebody", RUNS, job_id="theirs")
    mine = trainer.table.put(me, RUNS, job_id="mine")
    watcher = Watcher(client)
    await watcher.until(mine)
    trainer.table.put("somebody", DONE, job_id="theirs")
    new = trainer.table.put(me, RUNS, job_id="new")
    await watcher.until(new)
    trainer.table.put(me, DONE, job_id="new")
    await watcher.until(trainer.table.jobs["new"])
    assert watcher.statuses == {"mine": RUNS, "new": DONE}
    watcher.stop()


async def test_unknown_and_foreign_jobs_are_not_found(client: ServiceChannel, trainer: Upstream) -> None:
    trainer.table.put("somebody", RUNS, job_id="theirs", resource_id="g-1")
    requests: list[dict[str, Any]] = [
        {"job_ids": ["theirs"]},
        {"job_ids": ["nothing"]},
        {"resource_ids": ["g-1"]},
    ]
    for request in requests:
        with pytest.raises(JobNotFound):
            await Watcher(client, **request).next()
    with pytest.raises(InvalidArgument):
        await Watcher(client, job_ids=[str(n) for n in range(1001)]).next()
    for token in ("nonsense", "W10", "W3sidHJhaW5lciI6ICJ4In1d"):
        with pytest.raises(ResumeTokenInvalid):
            await Watcher(client, resume_token=token).next()


async def test_heartbeats_come_in_silence(settings: Any, trainer: Upstream) -> None:
    async with running(settings(heartbeat_seconds=0.05)) as (_, channel):
        watcher = Watcher(channel)
        for _ in range(3):
            answer = await watcher.next(5)
            assert answer is not None
            assert not answer.HasField("job")
        watcher.stop()


async def test_a_service_s_restart_is_told_and_loses_nothing(
    gateway: Gateway, client: ServiceChannel, trainer: Upstream, me: str
) -> None:
    trainer.table.put(me, RUNS, job_id="t-1")
    named, unnamed = Watcher(client, job_ids=["t-1"]), Watcher(client)
    for watcher in (named, unnamed):
        await watcher.until(trainer.table.jobs["t-1"])
    await trainer.stop()
    for watcher in (named, unnamed):
        while watcher.unavailable != ["trainer"]:
            assert await watcher.next() is not None
    trainer.table.put(me, RUNS, job_id="t-1", value=1)
    trainer.table.put(me, DONE, job_id="t-1")
    trainer.table.put(me, DONE, job_id="t-2")
    await trainer.start()
    await named.until_end()
    await unnamed.until(trainer.table.jobs["t-2"])
    assert named.statuses == {"t-1": DONE}
    assert unnamed.statuses == {"t-1": DONE, "t-2": DONE}
    unnamed.stop()


async def test_a_watch_begun_while_a_service_is_away_catches_up(
    gateway: Gateway, client: ServiceChannel, trainer: Upstream, me: str
) -> None:
    await trainer.stop()
    await reachable(gateway, but=("trainer",))
    trainer.table.put(me, RUNS, job_id="t-1")
    watcher = Watcher(client, job_ids=["t-1"])
    assert await watcher.next() is not None
    assert watcher.unavailable == ["trainer"]
    await trainer.start()
    await watcher.until(trainer.table.jobs["t-1"])
    assert watcher.unavailable == []
    trainer.table.put(me, DONE, job_id="t-1")
    await watcher.until_end()


async def test_a_gateway_s_restart_is_survived_with_the_token(
    settings: Any, connector: Upstream, trainer: Upstream
) -> None:
    async with running(settings()) as (_, channel):
        user = await user_pb2_grpc.UserServiceStub(channel).GetCurrentUser(user_pb2.GetCurrentUserRequest())
        me = user.id
        trainer.table.put(me, RUNS, job_id="t-1")
        trainer.table.put(me, RUNS, job_id="t-2")
        named, unnamed = Watcher(channel, job_ids=["t-1", "t-2"]), Watcher(channel)
        for watcher in (named, unnamed):
            for job in list(trainer.table.jobs.values()):
                await watcher.until(job)
    trainer.table.put(me, DONE, job_id="t-1")
    trainer.table.put(me, DONE, job_id="t-3")
    trainer.table.put("somebody", DONE, job_id="theirs")
    connector.table.put(me, RUNS, job_id="c-1")
    async with running(settings()) as (_, channel):
        named = Watcher(channel, seen=named, job_ids=["t-1", "t-2"])
        unnamed = Watcher(channel, seen=unnamed)
        await named.until(trainer.table.jobs["t-1"])
        assert named.statuses == {"t-1": DONE}
        for job_id in ("t-1", "t-3"):
            await unnamed.until(trainer.table.jobs[job_id])
        await unnamed.until(connector.table.jobs["c-1"])
        assert unnamed.statuses == {"t-1": DONE, "t-3": DONE, "c-1": RUNS}
        trainer.table.put(me, DONE, job_id="t-2")
        await named.until_end()
        unnamed.stop()


async def test_a_broken_watch_resumes_anywhere_without_a_repeat(
    client: ServiceChannel, connector: Upstream, trainer: Upstream, me: str
) -> None:
    for number in range(20):
        (trainer if number % 2 else connector).table.put(me, RUNS, job_id=f"job-{number}")
    watcher: Watcher | None = None
    for number in range(20):
        watcher = Watcher(client, seen=watcher)
        table = (trainer if number % 2 else connector).table
        table.put(me, DONE, job_id=f"job-{number}")
        await watcher.next()  # what it has not read yet, the next one must bring
        if number % 3:
            table.put(me, RUNS, job_id=f"more-{number}")
        watcher.stop()
    last = Watcher(client, seen=watcher)
    for table in (connector.table, trainer.table):
        for job in list(table.jobs.values()):
            await last.until(job)
    last.stop()


async def test_all_watchers_share_one_upstream_watch_as_the_gateway(
    gateway: Gateway, client: ServiceChannel, trainer: Upstream, me: str
) -> None:
    job = trainer.table.put(me, RUNS, job_id="t-1")
    watchers = [Watcher(client, job_ids=["t-1"]) for _ in range(200)]
    await asyncio.gather(*(watcher.until(job) for watcher in watchers))
    asked = len(trainer.table.calls)
    job = trainer.table.put(me, DONE, job_id="t-1")
    await asyncio.gather(*(watcher.until_end() for watcher in watchers))
    assert {watcher.revisions["t-1"] for watcher in watchers} == {job.revision}
    assert trainer.table.watches == 1
    assert trainer.table.callers[0].service == "gateway"
    assert len(trainer.table.calls) == asked


async def test_a_watcher_that_leaves_is_forgotten(
    gateway: Gateway, client: ServiceChannel, trainer: Upstream, me: str
) -> None:
    job = trainer.table.put(me, RUNS, job_id="t-1")
    named, unnamed = Watcher(client, job_ids=["t-1"]), Watcher(client)
    for watcher in (named, unnamed):
        await watcher.until(job)
        watcher.stop()
    last = Watcher(client, job_ids=["t-1"])
    trainer.table.put(me, DONE, job_id="t-1")
    await last.until_end()
    async with asyncio.timeout(5):
        while gateway.board._topics or gateway.board._listeners:
            await user_pb2_grpc.UserServiceStub(client).GetCurrentUser(user_pb2.GetCurrentUserRequest())


@contextlib.asynccontextmanager
async def running(settings: Any) -> AsyncIterator[tuple[Gateway, ServiceChannel]]:
    gateway = await create(settings)
    await gateway.start()
    try:
        async with open_channel(f"127.0.0.1:{gateway.port}", api_key=ADMIN_KEY) as channel:
            yield gateway, channel
    finally:
        await gateway.stop()
