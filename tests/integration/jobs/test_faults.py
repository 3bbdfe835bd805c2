"""What may go wrong while steps run: processes killed, databases gone, runners back from the dead."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from simulacra.domain import Job, ProgressStatus
from simulacra.jobs import JobStore, StepContext, StepResult
from simulacra.jobs.queue import ClaimedStep, Failure, LeaseLost, StepQueue
from simulacra.store import Database, Transaction
from tests.kernel_service.bench import TRAIN, Bench, statuses, step
from tests.postgres import PostgresServer

DONE, FAILED, CANCELED = ProgressStatus.DONE, ProgressStatus.FAILED, ProgressStatus.CANCELED


FAILURE = Failure("boom", "INTERNAL", retryable=True)


async def gone(pid: int, *, seconds: float = 30.0) -> None:
    """Waits until a process no longer exists (a zombie does not count)."""
    async with asyncio.timeout(seconds):
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def restarts(job: Job) -> list[int | None]:
    return [each.restarts for each in job.progress.steps or []]


@contextlib.asynccontextmanager
async def runner_process(
    bench: Bench, folder: Path, *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A runner in a process of its own, which a test may kill."""
    url = bench.database.url.render_as_string(hide_password=False)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.kernel_service",
        url,
        str(folder),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_killed_worker_is_replaced_and_the_step_tried_again(bench: Bench, tmp_path: Path) -> None:
    job = await bench.submit(step("a", "work_until_file", file=str(tmp_path / "go")))
    await bench.start()
    os.kill(await bench.until_message(job, "pid"), signal.SIGKILL)
    job = await bench.until(job, lambda now: restarts(now) == [1])
    (tmp_path / "go").touch()
    job = await bench.until_ended(job)
    assert (job.status, restarts(job)) == (DONE, [1])


async def test_worker_that_always_dies_fails_the_job_with_its_last_words(bench: Bench) -> None:
    job = await bench.submit(step("a", "die"))
    await bench.start()
    job = await bench.until_ended(job, seconds=60)
    message = (job.progress.steps or [])[0].error_message or ""
    assert job.status == FAILED
    assert message.startswith(
        "given up after 3 attempts; the last error: the worker process ended by signal SIGKILL"
    )
    assert "out of memory" in message
    assert "last words" in message


async def test_cancel_kills_the_worker_and_its_children(bench: Bench) -> None:
    job = await bench.submit(step("a", "hang"), step("b", after=["a"]))
    await bench.start()
    pids = await bench.until_message(job, "pids")
    scratch = Path(await bench.until_message(job, "scratch"))
    assert os.listdir(scratch) == ["left"]
    begin = time.monotonic()
    assert (await bench.store.cancel(job.id)).status == ProgressStatus.IN_PROGRESS
    job = await bench.until_ended(job)
    assert time.monotonic() - begin < 2
    assert (job.status, statuses(job)) == (CANCELED, [CANCELED, CANCELED])
    for pid in pids:
        await gone(pid)
    assert os.listdir(scratch.parent) == []


async def test_cancel_reaches_a_step_that_another_process_runs(bench: Bench, tmp_path: Path) -> None:
    async with runner_process(bench, tmp_path):
        job = await bench.submit(step("a", "hang"))
        pids = await bench.until_message(job, "pids")
        begin = time.monotonic()
        await bench.store.cancel(job.id)
        assert (await bench.until_ended(job)).status == CANCELED
        assert time.monotonic() - begin < 2
        for pid in pids:
            await gone(pid)


async def test_two_runners_never_run_one_step(bench: Bench) -> None:
    ran: list[tuple[str, int]] = []

    async def handle(context: StepContext) -> StepResult:
        ran.append((context.key, context.attempt))
        await asyncio.sleep(0)
        return StepResult()

    for _ in range(3):
        await bench.start(handle, database=await bench.replica(), capacity=3)
    job = await bench.submit(*(step(f"s{number}") for number in range(40)))
    assert (await bench.until_ended(job)).status == DONE
    assert sorted(ran) == sorted((f"s{number}", 1) for number in range(40))


async def test_killed_runner_takes_its_workers_along_and_another_goes_on(
    bench: Bench, tmp_path: Path
) -> None:
    async with runner_process(bench, tmp_path) as process:
        job = await bench.submit(step("a", "work_until_file", file=str(tmp_path / "go")))
        worker = await bench.until_message(job, "pid")
        process.kill()
        begin = time.monotonic()
        await gone(worker)
    await bench.start()
    job = await bench.until(job, lambda now: restarts(now) == [1], seconds=60)
    assert time.monotonic() - begin < 30  # the lease of 15 seconds ran out, and little more
    (tmp_path / "go").touch()
    job = await bench.until_ended(job)
    assert (job.status, restarts(job)) == (DONE, [1])


async def test_runner_of_the_same_name_takes_up_at_once_what_the_killed_one_left(
    bench: Bench, tmp_path: Path
) -> None:
    async with runner_process(bench, tmp_path, "trainer-0") as process:
        job = await bench.submit(
            step("a", "work_until_file", file=str(tmp_path / "go")), step("b", after=["a"])
        )
        await bench.until_message(job, "pid")
        process.kill()
    begin = time.monotonic()
    await bench.start(worker_id="trainer-0")
    await bench.until(job, lambda now: restarts(now) == [1, 0])
    assert time.monotonic() - begin < 5
    await bench.store.cancel(job.id)
    await bench.until_ended(job)


async def test_terminated_runner_hands_its_steps_back(bench: Bench, tmp_path: Path) -> None:
    async with runner_process(bench, tmp_path) as process:
        job = await bench.submit(step("a", "work_until_file", file=str(tmp_path / "go")))
        worker = await bench.until_message(job, "pid")
        process.terminate()
        await asyncio.wait_for(process.wait(), 60)
        await gone(worker)
    assert statuses(await bench.store.get(job.id)) == [ProgressStatus.QUEUED]
    await bench.start()
    (tmp_path / "go").touch()
    assert (await bench.until_ended(job)).status == DONE


async def test_runner_that_stops_lets_steps_end_within_its_grace(bench: Bench) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def handle(context: StepContext) -> StepResult:
        started.set()
        await go_on.wait()
        return StepResult()

    runner = await bench.start(handle)
    job = await bench.submit(step("a"), step("b", after=["a"]))
    await started.wait()
    stopping = asyncio.create_task(runner.stop(grace=20))
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    assert statuses(await bench.store.get(job.id)) == [DONE, ProgressStatus.QUEUED]


class Claimed:
    """A step that two runners hold: the first one thinks so, the second one is right."""

    def __init__(self, bench: Bench) -> None:
        self.old = StepQueue(bench.store, worker_id="old")
        self.new = StepQueue(bench.store, worker_id="new")

    async def take_over(self) -> tuple[ClaimedStep, ClaimedStep]:
        stale = await self.old.claim([(None, TRAIN)])
        await self.old.release_own()
        fresh = await self.new.claim([(None, TRAIN)])
        assert stale is not None
        assert fresh is not None
        assert (stale.attempt, fresh.attempt) == (1, 2)
        return stale, fresh


@pytest.mark.parametrize("verb", ["renew", "record", "complete", "fail", "cancel", "hand_back"])
async def test_an_attempt_that_was_taken_over_changes_nothing(bench: Bench, verb: str) -> None:
    job = await bench.submit()
    claimed = Claimed(bench)
    stale, fresh = await claimed.take_over()
    before = await bench.store.get(job.id)
    write: Callable[[], object] = {
        "renew": lambda: claimed.old.renew(stale),
        "record": lambda: claimed.old.record(stale, value=1),
        "complete": lambda: claimed.old.complete(stale, {"by": "old"}),
        "fail": lambda: claimed.old.fail(stale, FAILURE),
        "cancel": lambda: claimed.old.cancel(stale),
        "hand_back": lambda: claimed.old.hand_back(stale),
    }[verb]
    with pytest.raises(LeaseLost):
        await write()  # type: ignore[misc]
    assert await bench.store.get(job.id) == before
    assert await claimed.new.complete(fresh, {"by": "new"})
    assert await claimed.new.complete(fresh, {"by": "new"})  # the answer to the first may have been lost
    assert await bench.store.outputs(job.id) == {"a": {"by": "new"}}


async def test_stale_attempt_stops_its_work_when_it_learns_of_it(bench: Bench) -> None:
    interrupted = asyncio.Event()
    started: list[int] = []

    async def handle(context: StepContext) -> StepResult:
        started.append(context.attempt)
        if context.attempt == 1:
            try:
                await asyncio.Event().wait()
            finally:
                interrupted.set()
        return StepResult(output={"attempt": context.attempt})

    job = await bench.submit()
    await bench.start(handle, worker_id="w")
    await bench.until(job, lambda now: bool(started))
    await StepQueue(JobStore(await bench.replica()), worker_id="w").release_own()
    job = await bench.until_ended(job)
    await asyncio.wait_for(interrupted.wait(), 60)
    assert await bench.store.outputs(job.id) == {"a": {"attempt": 2}}


async def test_lease_is_renewed_whatever_the_step_does(bench: Bench) -> None:
    async def handle(context: StepContext) -> StepResult:
        await asyncio.sleep(1.5)  # several leases long, without a word
        return StepResult()

    await bench.start(handle, lease=0.6, renew=0.2)
    await bench.start(handle, database=await bench.replica(), lease=0.6, renew=0.2)
    job = await bench.submit()
    job = await bench.until_ended(job)
    assert (job.status, restarts(job)) == (DONE, [0])


async def test_observer_that_raises_for_one_job_does_not_stop_the_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(tx: Transaction, job: Job) -> None:
        if job.resource_uri == "generators/broken" and job.status != ProgressStatus.QUEUED:
            raise LookupError("its resource is gone")

    monkeypatch.setattr(bench.recorder, "job_changed", refuse)
    broken = await bench.submit(uri="generators/broken")
    await bench.start()
    whole = await bench.submit(uri="generators/whole", priority=1)
    assert (await bench.until_ended(whole)).status == DONE
    assert (await bench.store.get(broken.id)).status == ProgressStatus.QUEUED


async def test_database_gone_for_ten_seconds_loses_nothing(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    database = Database(postgres_server.new_database(), schema="kernel_service")
    await database.migrate("tests.kernel_service")
    bench = Bench(database, tmp_path)
    go_on = asyncio.Event()

    async def handle(context: StepContext) -> StepResult:
        if context.key == "waits":
            await go_on.wait()
            return StepResult()
        return StepResult(
            output=await context.execute("tests.kernel_service.tasks:work_until_file", context.payload)
        )

    job = await bench.submit(
        step("waits"), step("works", file=str(tmp_path / "go")), step("last", after=["waits"], file="/")
    )
    await bench.start(handle)
    await bench.until_message(job, "pid")
    postgres_server.stop()
    try:
        go_on.set()  # one step ends while the database is away
        (tmp_path / "go").touch()
        await asyncio.sleep(10)
    finally:
        postgres_server.start()
    job = await bench.until_ended(job, seconds=60)
    assert (job.status, restarts(job)) == (DONE, [0, 0, 0])
    await bench.close()
    await database.close()
