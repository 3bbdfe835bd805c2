"""Following jobs: snapshot, changes, tokens, heartbeats, logs; also of what another process does."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from simulacra.domain import Job, ProgressStatus
from simulacra.errors import JobNotFound, ResumeTokenInvalid
from simulacra.jobs import JobStore, JobWatcher, StepContext, StepResult
from simulacra.jobs.watch import JobEvent
from simulacra.rpc.auth import Principal
from simulacra.store import encode_token
from tests.kernel_service.bench import ANN, Bench, step

BOB = Principal(user_id="u2", user_name="bob")


@pytest.fixture
async def watcher(bench: Bench) -> AsyncIterator[JobWatcher]:
    watcher = JobWatcher(bench.store, heartbeat_seconds=0.3)
    await watcher.start()
    yield watcher
    await watcher.stop()


async def following(events: AsyncGenerator[JobEvent, None]) -> list[JobEvent]:
    """Collects events until the watch ends."""
    async with asyncio.timeout(60):
        return [event async for event in events]


async def next_job(events: AsyncGenerator[JobEvent, None]) -> Job:
    async with asyncio.timeout(60):
        async for event in events:
            if event.job is not None:
                return event.job
    raise AssertionError("the watch ended")


def check_promise(events: list[JobEvent]) -> None:
    """Revisions never go back, and no job's revision comes twice."""
    seen: dict[str, int] = {}
    for event in events:
        if event.job is not None:
            assert event.job.revision > seen.get(event.job.id, -1)
            seen[event.job.id] = event.job.revision


async def test_watch_of_a_job_shows_each_steps_end_and_ends_with_it(
    bench: Bench, watcher: JobWatcher
) -> None:
    job = await bench.submit(step("a"), step("b", after=["a"]))
    watching = asyncio.create_task(following(watcher.watch(viewer=ANN, job_ids=[job.id])))
    await bench.start()
    events = await watching
    check_promise(events)
    states = [[each.status.value for each in event.job.progress.steps or []] for event in events if event.job]  # type: ignore[union-attr]
    assert states[0] == ["QUEUED", "QUEUED"]
    assert ["DONE", "QUEUED"] in states or ["DONE", "IN_PROGRESS"] in states
    assert states[-1] == ["DONE", "DONE"]


async def test_watch_of_a_resource_follows_its_latest_job(bench: Bench, watcher: JobWatcher) -> None:
    first = await bench.submit(uri="generators/g1")
    await bench.store.cancel(first.id)
    second = await bench.submit(uri="generators/g1")
    events = watcher.watch(viewer=ANN, resource_ids=["g1"])
    assert (await next_job(events)).id == second.id
    await bench.store.cancel(second.id)
    rest = await following(events)
    assert [event.job.status for event in rest if event.job] == [ProgressStatus.CANCELED]


async def test_watch_without_names_shows_all_unended_and_the_ends_to_come(
    bench: Bench, watcher: JobWatcher
) -> None:
    ended = await bench.submit()
    await bench.store.cancel(ended.id)
    waiting = await bench.submit()
    others = await bench.submit(owner=BOB)
    async with contextlib.aclosing(watcher.watch(viewer=ANN)) as events:
        assert (await next_job(events)).id == waiting.id
        await bench.store.cancel(others.id)
        await bench.store.cancel(waiting.id)
        change = await next_job(events)
        assert (change.id, change.status) == (waiting.id, ProgressStatus.CANCELED)
        later = await bench.submit()
        assert (await next_job(events)).id == later.id


async def test_services_see_the_jobs_of_all(bench: Bench, watcher: JobWatcher) -> None:
    await bench.submit()
    await bench.submit(owner=BOB)
    async with contextlib.aclosing(watcher.watch(viewer=Principal.of_service("gateway"))) as events:
        assert {(await next_job(events)).owner_id for _ in range(2)} == {"u1", "u2"}


async def test_resumed_watch_sends_what_was_missed_and_nothing_twice(
    bench: Bench, watcher: JobWatcher
) -> None:
    jobs = [await bench.submit(uri=f"generators/g{number}") for number in range(3)]
    seen: list[JobEvent] = []
    async with contextlib.aclosing(watcher.watch()) as events:
        async for event in events:
            seen.append(event)
            if len(seen) == 2:
                break
    await watcher.stop()
    await bench.store.cancel(jobs[0].id)
    again = JobWatcher(JobStore(bench.database), heartbeat_seconds=0.3)  # as after a restart of the service
    await again.start()
    async with contextlib.aclosing(again.watch(resume_token=seen[-1].resume_token)) as events:
        seen += [await anext(events), await anext(events)]
    await again.stop()
    check_promise(seen)
    assert [event.job.id for event in seen if event.job] == [jobs[0].id, jobs[1].id, jobs[2].id, jobs[0].id]


async def test_resumed_watch_of_what_has_ended_ends_at_once(bench: Bench, watcher: JobWatcher) -> None:
    job = await bench.submit()
    await bench.store.cancel(job.id)
    first = await following(watcher.watch(job_ids=[job.id]))
    assert [event.job.status for event in first if event.job] == [ProgressStatus.CANCELED]
    assert await following(watcher.watch(job_ids=[job.id], resume_token=first[-1].resume_token)) == []


async def test_silent_watch_beats(bench: Bench, watcher: JobWatcher) -> None:
    job = await bench.submit()
    async with contextlib.aclosing(watcher.watch(job_ids=[job.id])) as events, asyncio.timeout(60):
        beats = [(await anext(events)).job is None for _ in range(4)]
    assert beats == [False, True, True, True]


async def test_tokens_of_another_database_are_refused(bench: Bench, watcher: JobWatcher) -> None:
    for token in ("nonsense", encode_token(10_000)):
        with pytest.raises(ResumeTokenInvalid):
            await anext(watcher.watch(resume_token=token))


async def test_unknown_and_others_jobs_cannot_be_watched(bench: Bench, watcher: JobWatcher) -> None:
    job = await bench.submit()
    with pytest.raises(JobNotFound):
        await anext(watcher.watch(viewer=BOB, job_ids=[job.id]))
    with pytest.raises(JobNotFound):
        await anext(watcher.watch(job_ids=[job.id, "nowhere"]))


async def test_changes_of_another_process_are_seen(bench: Bench, watcher: JobWatcher) -> None:
    job = await bench.submit()
    async with contextlib.aclosing(watcher.watch(job_ids=[job.id])) as events:
        await next_job(events)
        await JobStore(await bench.replica()).cancel(job.id)
        async with asyncio.timeout(2):
            assert (await next_job(events)).status == ProgressStatus.CANCELED


async def test_slow_watch_skips_states_but_not_the_last(bench: Bench, watcher: JobWatcher) -> None:
    job = await bench.submit(*(step(f"s{number}") for number in range(5)))

    async def quick(context: StepContext) -> StepResult:
        return StepResult()

    events = watcher.watch(job_ids=[job.id])
    first = await next_job(events)
    await bench.start(quick)
    await bench.until_ended(job)
    rest = [event.job for event in await following(events) if event.job]
    assert rest[-1].status == ProgressStatus.DONE
    assert rest[0].revision > first.revision
    assert len(rest) < 10


async def test_log_is_followed_to_the_end_of_the_job(bench: Bench, watcher: JobWatcher) -> None:
    go_on = asyncio.Event()

    async def handle(context: StepContext) -> StepResult:
        await context.log("first")
        await go_on.wait()
        await context.log("last")
        return StepResult()

    job = await bench.submit()
    await bench.start(handle)
    lines = watcher.read_log(job.id, viewer=ANN, follow=True)
    async with asyncio.timeout(60):
        assert (await anext(lines)).text == "first"
        go_on.set()
        assert [line.text async for line in lines] == ["last"]
    with pytest.raises(JobNotFound):
        await anext(watcher.read_log(job.id, viewer=BOB))
    step_id = (job.progress.steps or [])[0].id
    assert len([line async for line in watcher.read_log(job.id, step_id=step_id)]) == 2
    assert [line async for line in watcher.read_log(job.id, step_id="other")] == []
