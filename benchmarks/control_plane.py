"""The control plane: `python -m benchmarks.control_plane [--postgres]`.

Five service processes, on SQLite or on a Postgres server of the benchmark's own. Measured: a unary call
direct and through the gateway, a state change at 500 concurrent watchers, the cost of 10,000 finished jobs
against 100, a warm one-row probe, `simulacra --help`.
"""

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.machine import describe, milliseconds
from simulacra.client import AsyncSimulacra
from simulacra.domain import JobKind, ProgressStatus, StepCode
from simulacra.jobs import JobPlan, JobStore, StepPlan
from simulacra.rpc import Principal, PrincipalSigner, open_channel
from simulacra.store import Database
from simulacra.store.tables import jobs, steps
from simulacra.v1 import generator_pb2, generator_pb2_grpc, job_pb2, job_pb2_grpc
from tests.e2e.platform import running_platform
from tests.e2e.scenes import people
from tests.postgres import postgres_binaries, running_postgres

CALLS = 1_000
WATCHERS = 500
CHANGES = 20
FINISHED = (100, 10_000)


async def timed(call: Callable[[], Awaitable[Any]], repeats: int) -> list[float]:
    """Returns the seconds of each of `repeats` calls, after a tenth as many unmeasured ones."""
    durations = []
    for number in range(-(repeats // 10), repeats):
        start = time.perf_counter()
        await call()
        if number >= 0:
            durations.append(time.perf_counter() - start)
    return durations


class Door:
    """Stubs behind one address, with the credentials that it asks for."""

    def __init__(self, target: str, **credentials: Any) -> None:
        self.channel = open_channel(target, **credentials)
        self.generators = generator_pb2_grpc.GeneratorServiceStub(self.channel)
        self.jobs = job_pb2_grpc.JobServiceStub(self.channel)


async def unary(direct: Door, gateway: Door, generator_id: str) -> dict[str, Any]:
    """A GetGenerator, alternately direct and through the gateway."""
    request = generator_pb2.GetGeneratorRequest(id=generator_id)
    found: dict[str, list[float]] = {"direct": [], "gateway": []}
    for _ in range(10):
        found["direct"] += await timed(lambda: direct.generators.GetGenerator(request), CALLS // 10)
        found["gateway"] += await timed(lambda: gateway.generators.GetGenerator(request), CALLS // 10)
    summary: dict[str, Any] = {name: milliseconds(durations) for name, durations in found.items()}
    summary["median_overhead"] = round(summary["gateway"]["median"] - summary["direct"]["median"], 3)
    return summary


async def watchers(door: Door, store: JobStore, owner: Principal) -> dict[str, Any]:
    """How long a state change takes to reach every one of many watchers of the same job."""
    job_id = await submitted(store, owner)
    arrivals: asyncio.Queue[tuple[int, float]] = asyncio.Queue()

    async def watch() -> None:
        async for update in door.jobs.WatchJobs(job_pb2.WatchJobsRequest(job_ids=[job_id])):
            if update.HasField("job"):
                await arrivals.put((update.job.revision, time.perf_counter()))

    tasks = [asyncio.create_task(watch()) for _ in range(WATCHERS)]
    for _ in range(WATCHERS):
        await asyncio.wait_for(arrivals.get(), 60)
    delays = []
    for _ in range(CHANGES):
        await changed(store, job_id)
        start = time.perf_counter()
        for _ in range(WATCHERS):
            _, arrived = await asyncio.wait_for(arrivals.get(), 30)
            delays.append(arrived - start)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {"watchers": WATCHERS, "changes": CHANGES, "state_change": milliseconds(delays)}


async def finished_jobs(door: Door, store: JobStore, owner: Principal) -> dict[str, Any]:
    """A list page, and a state change at one watcher, with few and with many finished jobs."""
    summary: dict[str, Any] = {}
    page = job_pb2.ListJobsRequest(page_size=50)
    present = 0
    for count in FINISHED:
        await finish_many(store, owner, count - present)
        await tidy(store.database)
        present = count
        listed = await timed(lambda: door.jobs.ListJobs(page), 200)
        summary[str(count)] = {
            "list_page": milliseconds(listed),
            "state_change": milliseconds(await changes_at_watcher(door, store, owner)),
        }
    few, many = (summary[str(count)] for count in FINISHED)
    summary["ratio"] = {
        name: round(many[name]["median"] / few[name]["median"], 3) for name in ("list_page", "state_change")
    }
    return summary


async def changes_at_watcher(door: Door, store: JobStore, owner: Principal) -> list[float]:
    """The seconds from a commit to its arrival, many times."""
    job_id = await submitted(store, owner)
    updates = door.jobs.WatchJobs(job_pb2.WatchJobsRequest(job_ids=[job_id])).__aiter__()
    await updates.__anext__()
    durations = []
    for _ in range(60):
        await changed(store, job_id)
        start = time.perf_counter()
        while not (await updates.__anext__()).HasField("job"):
            pass
        durations.append(time.perf_counter() - start)
    await store.cancel(job_id)
    return durations


async def submitted(store: JobStore, owner: Principal) -> str:
    """Submits a job that nobody can run: its step waits for a code that no runner has."""
    step = StepPlan("wait", StepCode.CREATE_DATA_REPORT, {})
    async with store.database.begin() as tx:
        job = await store.submit(tx, JobPlan(JobKind.TRAINING, "generators/none", "none", owner, (step,)))
    assert job.progress is not None
    assert job.progress.id is not None
    return job.progress.id


async def changed(store: JobStore, job_id: str) -> None:
    """Changes a job's state as a runner in another process would."""
    async with store.database.begin() as tx:
        revision = await tx.next_revision()
        await tx.execute(steps.update().where(steps.c.job_id == job_id).values(value=steps.c.value + 1))
        await tx.execute(jobs.update().where(jobs.c.id == job_id).values(revision=revision))


async def finish_many(store: JobStore, owner: Principal, count: int) -> None:
    """Adds jobs that have ended."""
    done = {"status": ProgressStatus.DONE.value, "start_date": store.clock(), "end_date": store.clock()}
    step = StepPlan("wait", StepCode.CREATE_DATA_REPORT, {})
    plan = JobPlan(JobKind.TRAINING, "generators/none", "none", owner, (step,))
    for start in range(0, count, 500):
        async with store.database.begin() as tx:
            for _ in range(min(500, count - start)):
                job = await store.submit(tx, plan)
                assert job.progress is not None
                job_id = job.progress.id
                await tx.execute(jobs.update().where(jobs.c.id == job_id).values(ended=True, **done))
                await tx.execute(steps.update().where(steps.c.job_id == job_id).values(**done))


async def tidy(database: Database) -> None:
    """Does at once what Postgres does by itself within a minute of many changes."""
    if database.is_sqlite:
        return
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(sa.text("VACUUM ANALYZE"))


async def probes(client: AsyncSimulacra, generator_id: str) -> dict[str, float]:
    """A one-row probe once the model is loaded."""
    return milliseconds(await timed(lambda: client.probe(generator_id, size=1), 20))


def help_start() -> dict[str, float]:
    """The seconds that `simulacra --help` takes."""
    command = [str(Path(sys.executable).with_name("simulacra")), "--help"]
    durations = []
    for _ in range(10):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        durations.append(time.perf_counter() - start)
    return milliseconds(durations)


async def measure(folder: Path, database_url: str | None) -> dict[str, Any]:
    """Runs the whole benchmark; without a URL each service has a SQLite file."""
    extra = {} if database_url is None else {"SIMULACRA_DATABASE_URL": database_url}
    async with (
        running_platform(folder, **extra) as platform,
        AsyncSimulacra(platform.address, platform.api_key) as client,
    ):
        me = await client.me()
        owner = Principal(user_id=str(me.id), user_name="benchmark")
        generator = await client.train(
            data=people(2_000), name="people", model_configuration={"max_epochs": 2}, progress_bar=False
        )
        result: dict[str, Any] = {"probe": await probes(client, generator.id)}
        signer = PrincipalSigner(platform.internal_key.encode())
        direct = Door(f"127.0.0.1:{platform.ports['trainer']}", signer=signer, principal=owner)
        gateway = Door(platform.address, api_key=platform.api_key)
        own_file = f"sqlite:///{platform.data_dir}/trainer/trainer.db"
        store = JobStore(Database(database_url or own_file, schema="trainer"))
        result["unary"] = await unary(direct, gateway, generator.id)
        result["watch"] = await watchers(gateway, store, owner)
        result["finished_jobs"] = await finished_jobs(gateway, store, owner)
        await direct.channel.close()
        await gateway.channel.close()
        await store.database.close()
    return result


@contextlib.contextmanager
def database(*, postgres: bool) -> Iterator[str | None]:
    """The URL of a new Postgres database, or None for SQLite."""
    if not postgres:
        yield None
        return
    binaries = postgres_binaries()
    if binaries is None:
        sys.exit("there is no Postgres server on this machine; apt install postgresql brings one")
    with running_postgres(binaries) as server:
        yield server.new_database()


def main() -> None:
    """Prints the result as JSON."""
    parser = argparse.ArgumentParser(description="The control plane.")
    parser.add_argument(
        "--postgres", action="store_true", help="on a Postgres server instead of SQLite files"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, database(postgres=options.postgres) as url:
        result = asyncio.run(measure(Path(folder), url))
    result["help"] = help_start()
    machine = describe("grpcio", "protobuf", "sqlalchemy")
    store = "postgresql" if options.postgres else "sqlite"
    print(json.dumps({"machine": machine, "database": store, **result}, indent=2))


if __name__ == "__main__":
    main()
