"""The gateway before a real job queue in a real database, both stopped and started in the middle."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from simulacra.domain import JobKind, StepCode
from simulacra.jobs import JobPlan, JobServicer, JobStore, JobWatcher, StepPlan
from simulacra.jobs.queue import StepQueue
from simulacra.rpc import Principal, Registration, Server, ServiceChannel, open_channel
from simulacra.store import Database
from simulacra.v1 import job_pb2 as pb
from simulacra.v1 import job_pb2_grpc, user_pb2, user_pb2_grpc
from simulacra_gateway.app import create
from simulacra_gateway.settings import GatewaySettings
from tests.integration.gateway.upstream import ADMIN_KEY, KEY, UpstreamSettings

CODES = [(None, StepCode.TRAIN_MODEL)]


class Queue:
    """A service that has nothing but jobs; its database stays when it restarts."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.port = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[JobStore, StepQueue]]:
        database = Database(f"sqlite:///{self.data_dir / 'jobs.db'}")
        await database.migrate("simulacra_gateway")  # any package has the queue's tables
        store = JobStore(database)
        watcher = JobWatcher(store)
        await watcher.start()
        settings = UpstreamSettings(data_dir=self.data_dir, internal_key=KEY, port=self.port, grace=0)
        add = job_pb2_grpc.add_JobServiceServicer_to_server
        server = Server(settings, [Registration(add, JobServicer(store, watcher))])
        self.port = await server.start()
        try:
            yield store, StepQueue(store, worker_id="test")
        finally:
            await server.stop(0)
            await watcher.stop()
            await database.close()


async def submit(store: JobStore, owner: Principal, steps: int) -> str:
    plan = JobPlan(
        kind=JobKind.TRAINING,
        resource_uri="generators/g-1",
        resource_name="census",
        owner=owner,
        steps=[StepPlan(key=f"step-{n}", code=StepCode.TRAIN_MODEL, max=10) for n in range(steps)],
    )
    async with store.database.begin() as tx:
        return (await store.submit(tx, plan)).id


async def work(queue: StepQueue, *, finish: bool = True) -> None:
    """Claims a step, reports progress, and makes it DONE."""
    claim = await queue.claim(CODES)
    assert claim is not None
    for value in range(10):
        await queue.record(claim, value=value)
    if finish:
        await queue.complete(claim, {})
    else:
        await queue.hand_back(claim)


class Seen:
    """What one client has seen of a job over all its watches; checks the promise at each message."""

    def __init__(self, **names: Any) -> None:
        self.names = names
        self.token = ""
        self.revision = 0
        self.status = 0
        self.done_steps: list[int] = [0]
        self.changed = asyncio.Event()

    async def watch(self, channel: ServiceChannel) -> None:
        request = pb.WatchJobsRequest(resume_token=self.token, **self.names)
        async for answer in job_pb2_grpc.JobServiceStub(channel).WatchJobs(request):
            self.token = answer.resume_token
            if answer.HasField("job"):
                assert answer.job.revision > self.revision
                self.revision = answer.job.revision
                self.status = answer.job.progress.status
                steps = answer.job.progress.steps
                self.done_steps.append(sum(step.status == pb.PROGRESS_STATUS_DONE for step in steps))
                self.changed.set()

    async def until_done(self, steps: int) -> None:
        async with asyncio.timeout(20):
            while self.done_steps[-1] < steps:
                self.changed.clear()
                await self.changed.wait()


@contextlib.asynccontextmanager
async def gateway(data_dir: Path, port: int) -> AsyncIterator[ServiceChannel]:
    settings = GatewaySettings(
        data_dir=data_dir / "gateway",
        internal_key=KEY,
        bootstrap_api_key=ADMIN_KEY,
        trainer_target=f"127.0.0.1:{port}",
        grace=0,
    )
    made = await create(settings)
    await made.start()
    try:
        async with open_channel(f"127.0.0.1:{made.port}", api_key=ADMIN_KEY) as channel:
            yield channel
    finally:
        await made.stop()


async def leave(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_watchers_keep_the_promise_over_restarts_of_service_and_gateway(tmp_path: Path) -> None:
    upstream = Queue(tmp_path)
    watchers = [Seen(), Seen(resource_ids=["g-1"])]
    async with contextlib.AsyncExitStack() as first_gateway:
        async with upstream.running() as (store, queue):
            channel = await first_gateway.enter_async_context(gateway(tmp_path, upstream.port))
            me = await user_pb2_grpc.UserServiceStub(channel).GetCurrentUser(user_pb2.GetCurrentUserRequest())
            job_id = await submit(store, Principal(me.id, "Admin"), steps=4)
            watchers.append(Seen(job_ids=[job_id]))
            tasks = [asyncio.create_task(watcher.watch(channel)) for watcher in watchers]
            await work(queue)
            await asyncio.gather(*(watcher.until_done(1) for watcher in watchers))
        async with upstream.running() as (store, queue):  # the service was away; the watches go on
            await work(queue)
            await asyncio.gather(*(watcher.until_done(2) for watcher in watchers))
            await leave(tasks)
            await first_gateway.aclose()
            await work(queue)  # nobody looks
            await work(queue, finish=False)
            async with gateway(tmp_path, upstream.port) as channel:
                tasks = [asyncio.create_task(watcher.watch(channel)) for watcher in watchers]
                await asyncio.gather(*(watcher.until_done(3) for watcher in watchers))
                await work(queue)
                await asyncio.gather(*(watcher.until_done(4) for watcher in watchers))
                async with asyncio.timeout(10):
                    await asyncio.gather(*tasks[1:])  # the named ones end by themselves
                await leave(tasks[:1])
    for watcher in watchers:
        assert watcher.status == pb.PROGRESS_STATUS_DONE
        assert watcher.done_steps == sorted(watcher.done_steps)


async def test_pages_and_cancel_work_on_a_real_queue(tmp_path: Path) -> None:
    upstream = Queue(tmp_path)
    async with upstream.running() as (store, _), gateway(tmp_path, upstream.port) as channel:
        jobs = job_pb2_grpc.JobServiceStub(channel)
        me = await user_pb2_grpc.UserServiceStub(channel).GetCurrentUser(user_pb2.GetCurrentUserRequest())
        ids = [await submit(store, Principal(me.id, "Admin"), steps=1) for _ in range(5)]
        await submit(store, Principal("somebody", "Else"), steps=1)
        seen: list[str] = []
        request = pb.ListJobsRequest(page_size=2)
        while True:
            page = await jobs.ListJobs(request)
            seen.extend(job.progress.id for job in page.results)
            assert page.total_count == 5
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert seen == ids[::-1]
        job = await jobs.CancelJob(pb.CancelJobRequest(id=ids[0]))
        assert job.progress.status == pb.PROGRESS_STATUS_CANCELED
