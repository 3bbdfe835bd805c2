"""Jobs from submission to end, on SQLite and on Postgres, with real worker processes."""

import asyncio
from collections.abc import Mapping

import pytest

from simulacra.domain import JobKind, ProgressStatus, ProgressValue, StepCode
from simulacra.errors import InvalidArgument, JobNotFound, ServiceUnavailable, WrongState
from simulacra.jobs import JobPlan, StepContext, StepResult
from simulacra.rpc.auth import Principal
from simulacra.store import Transaction
from tests.kernel_service.bench import ANN, PULL, REPORT, TRAIN, Bench, limited, statuses, step
from tests.kernel_service.tables import THINGS

DONE, FAILED, CANCELED = ProgressStatus.DONE, ProgressStatus.FAILED, ProgressStatus.CANCELED
QUEUED, ON_HOLD, IN_PROGRESS = ProgressStatus.QUEUED, ProgressStatus.ON_HOLD, ProgressStatus.IN_PROGRESS


async def test_steps_run_after_each_other_and_hand_on_their_outputs(bench: Bench) -> None:
    seen: dict[str, Mapping[str, object]] = {}

    async def handle(context: StepContext) -> StepResult:
        seen[context.key] = {key: dict(output) for key, output in context.outputs.items()}
        return StepResult(output={"from": context.key})

    job = await bench.submit(step("a"), step("b"), step("c", after=["a", "b"]), step("d", after=["c"]))
    assert statuses(job) == [QUEUED] * 4
    await bench.start(handle)
    job = await bench.until_ended(job)
    assert job.status == DONE
    assert seen["c"] == {"a": {"from": "a"}, "b": {"from": "b"}}
    assert set(seen["d"]) == {"a", "b", "c"}
    assert await bench.store.outputs(job.id) == {key: {"from": key} for key in "abcd"}
    assert bench.recorder.of("generators/g1") == ["QUEUED", "IN_PROGRESS", "DONE"]
    assert job.progress.start_date is not None
    assert job.progress.end_date is not None
    assert job.progress.start_date <= job.progress.end_date


async def test_progress_messages_and_log_of_a_task_can_be_read(bench: Bench) -> None:
    job = await bench.submit(step("a", to=5))
    await bench.start()
    job = await bench.until_ended(job)
    (only,) = job.progress.steps or []
    assert only.progress is not None
    assert (only.progress.value, only.progress.max) == (5, 5)
    assert [message["at"] for message in only.messages or []] == [1, 2, 3, 4, 5]
    assert (only.restarts, only.model_label, only.step_code) == (0, "people:a", TRAIN)
    assert job.progress.progress is not None
    assert job.progress.progress.value == job.progress.progress.max == 100
    lines = await bench.store.read_log(job.id)
    assert [line.text for line in lines] == [f"counted {n}" for n in range(1, 6)]
    assert [line.text for line in await bench.store.read_log(job.id, after=lines[2].sequence)] == [
        "counted 4",
        "counted 5",
    ]


async def test_log_can_be_read_while_the_step_runs(bench: Bench) -> None:
    go_on = asyncio.Event()

    async def handle(context: StepContext) -> StepResult:
        await context.log("half way", "warning")
        await context.report(value=1, max=2)
        await go_on.wait()
        return StepResult()

    job = await bench.submit()
    await bench.start(handle)
    job = await bench.until(job, lambda now: now.progress.progress == ProgressValue(value=50, max=100))
    assert job.status == IN_PROGRESS
    assert [line.text for line in await bench.store.read_log(job.id)] == ["half way"]
    go_on.set()
    assert (await bench.until_ended(job)).status == DONE


async def test_a_users_error_fails_at_once_with_its_message(bench: Bench) -> None:
    job = await bench.submit(step("a", "refuse"), step("b", after=["a"]))
    await bench.start()
    job = await bench.until_ended(job)
    assert job.status == FAILED
    assert statuses(job) == [FAILED, CANCELED]
    failed = (job.progress.steps or [])[0]
    assert failed.error_message == 'table "people" has no rows'
    assert failed.restarts == 0


async def test_a_crash_is_tried_three_times(bench: Bench) -> None:
    job = await bench.submit(step("a", "crash"))
    await bench.start()
    job = await bench.until_ended(job)
    (failed,) = job.progress.steps or []
    assert (job.status, failed.restarts) == (FAILED, 2)
    assert failed.error_message == "given up after 3 attempts; the last error: RuntimeError: boom"
    text = "\n".join(line.text for line in await bench.store.read_log(job.id))
    assert 'raise RuntimeError("boom")' in text


async def test_a_crash_that_passes_costs_a_restart(bench: Bench) -> None:
    job = await bench.submit(step("a", "crash", until=2))
    await bench.start()
    job = await bench.until_ended(job)
    assert job.status == DONE
    assert [each.restarts for each in job.progress.steps or []] == [1]


async def test_a_service_that_is_away_is_waited_for(bench: Bench) -> None:
    attempts = []

    async def handle(context: StepContext) -> StepResult:
        attempts.append(context.attempt)
        if len(attempts) < 3:
            raise ServiceUnavailable("the connector does not answer", service="connector")
        return StepResult()

    job = await bench.submit()
    await bench.start(handle)
    assert (await bench.until_ended(job)).status == DONE


async def test_a_failed_step_stops_the_ones_beside_it(bench: Bench) -> None:
    job = await bench.submit(step("a", "hang"), step("b", "refuse"), step("c", after=["a"]))
    await bench.start()
    job = await bench.until_ended(job)
    assert (job.status, statuses(job)) == (FAILED, [CANCELED, FAILED, CANCELED])


async def test_commit_happens_with_the_end_of_the_step_or_not_at_all(bench: Bench) -> None:
    async def handle(context: StepContext) -> StepResult:
        async def commit(tx: Transaction) -> None:
            await THINGS.insert(tx, ANN, id=context.key, name="x", document={}, status="NEW")
            if context.key == "b":
                raise ZeroDivisionError("in commit")

        return StepResult(commit=commit)

    job = await bench.submit(step("a"), step("b"))
    await bench.start(handle)
    job = await bench.until_ended(job)
    assert statuses(job) == [DONE, FAILED]
    assert "ZeroDivisionError" in ((job.progress.steps or [])[1].error_message or "")
    async with bench.database.read() as connection:
        assert (await THINGS.page(connection, ANN)).total_count == 1


async def test_failed_job_starts_again_and_keeps_what_is_done(bench: Bench) -> None:
    failing = True
    ran: list[str] = []

    async def handle(context: StepContext) -> StepResult:
        ran.append(context.key)
        if failing and context.key == "b":
            raise InvalidArgument("no such column")
        return StepResult(output={"attempt": context.attempt})

    job = await bench.submit(step("a"), step("b", after=["a"]), step("c", after=["b"]))
    await bench.start(handle)
    assert (await bench.until_ended(job)).status == FAILED
    failing = False
    async with bench.database.begin() as tx:
        job = await bench.store.restart(tx, job.id)
    assert job.status == QUEUED
    job = await bench.until_ended(job)
    assert job.status == DONE
    assert ran == ["a", "b", "b", "c"]
    assert (await bench.store.outputs(job.id))["b"] == {"attempt": 2}
    assert [each.error_message for each in job.progress.steps or []] == [None] * 3
    with pytest.raises(WrongState, match="is DONE and cannot be started again"):
        async with bench.database.begin() as tx:
            await bench.store.restart(tx, job.id)


async def test_higher_priority_goes_first(bench: Bench) -> None:
    order: list[str] = []

    async def handle(context: StepContext) -> StepResult:
        order.append(context.resource_uri)
        return StepResult()

    jobs = [await bench.submit(uri=f"generators/g{p}", priority=p) for p in (0, 5, 1)]
    await bench.start(handle, capacity=1)
    for job in jobs:
        await bench.until_ended(job)
    assert order == ["generators/g5", "generators/g1", "generators/g0"]


async def test_only_the_step_that_runs_is_shown_as_running(bench: Bench) -> None:
    go_on = asyncio.Event()

    async def handle(context: StepContext) -> StepResult:
        await go_on.wait()
        return StepResult()

    job = await bench.submit(step("a"), step("b", after=["a"]))
    other = await bench.submit(uri="generators/g2")
    await bench.start(handle, capacity=1)
    job = await bench.until(job, lambda now: now.status == IN_PROGRESS)
    assert statuses(job) == [IN_PROGRESS, QUEUED]
    assert (await bench.store.get(other.id)).status == QUEUED
    go_on.set()
    await bench.until_ended(job)
    await bench.until_ended(other)


async def test_job_over_its_owners_limit_is_on_hold_until_one_ends(bench: Bench) -> None:
    first = await bench.submit(owner=limited(1), uri="generators/g1")
    second = await bench.submit(owner=limited(1), uri="generators/g2")
    third = await bench.submit(owner=limited(1), uri="generators/g3", priority=1)
    other_kind = await bench.submit(owner=limited(1), kind=JobKind.GENERATION)
    others = await bench.submit(owner=Principal(user_id="u2", user_name="bob"))
    assert [job.status for job in (first, second, third, other_kind, others)] == [
        QUEUED,
        ON_HOLD,
        ON_HOLD,
        QUEUED,
        QUEUED,
    ]
    assert statuses(second) == [ON_HOLD]
    await bench.store.cancel(first.id)
    assert (await bench.store.get(third.id)).status == QUEUED
    assert (await bench.store.get(second.id)).status == ON_HOLD
    await bench.start()
    for job in (second, third, other_kind, others):
        assert (await bench.until_ended(job)).status == DONE


async def test_cancel_of_what_waits_is_immediate(bench: Bench) -> None:
    job = await bench.submit(step("a"), step("b", after=["a"]))
    job = await bench.store.cancel(job.id)
    assert (job.status, job.cancel_requested) == (CANCELED, True)
    with pytest.raises(WrongState) as error:
        await bench.store.cancel(job.id)
    assert error.value.metadata["current_status"] == "CANCELED"


async def test_others_jobs_do_not_exist_for_a_user(bench: Bench) -> None:
    job = await bench.submit()
    bob = Principal(user_id="u2", user_name="bob")
    with pytest.raises(JobNotFound):
        await bench.store.get(job.id, viewer=bob)
    with pytest.raises(JobNotFound):
        await bench.store.cancel(job.id, viewer=bob)
    assert (await bench.store.list(viewer=bob)).total_count == 0
    assert (await bench.store.list(viewer=ANN)).total_count == 1
    assert (await bench.store.list(viewer=Principal.of_service("gateway"))).total_count == 1


async def test_list_filters_and_pages(bench: Bench) -> None:
    made = [await bench.submit(uri=f"generators/g{n % 2}") for n in range(5)]
    await bench.store.cancel(made[0].id)
    first = await bench.store.list(page_size=2)
    assert [job.id for job in first.jobs] == [made[4].id, made[3].id]
    second = await bench.store.list(page_size=3, page_token=first.next_page_token)
    assert [job.id for job in second.jobs] == [made[2].id, made[1].id, made[0].id]
    assert (second.next_page_token, second.total_count) == ("", 5)
    assert [job.id for job in (await bench.store.list(statuses=[CANCELED])).jobs] == [made[0].id]
    assert (await bench.store.list(resource_ids=["g1"], kinds=[JobKind.TRAINING])).total_count == 2
    latest = await bench.store.latest_for("generators/g0")
    assert latest is not None
    assert latest.id == made[4].id


async def test_jobs_go_with_their_resource_but_not_while_they_run(bench: Bench) -> None:
    job = await bench.submit()
    with pytest.raises(WrongState, match="cancel it first"):
        async with bench.database.begin() as tx:
            await bench.store.delete_for(tx, "generators/g1")
    await bench.store.cancel(job.id)
    async with bench.database.begin() as tx:
        await bench.store.delete_for(tx, "generators/g1")
    with pytest.raises(JobNotFound):
        await bench.store.get(job.id)


async def test_handlers_are_found_by_kind_and_unknown_steps_wait(bench: Bench) -> None:
    async def training(context: StepContext) -> StepResult:
        return StepResult(output={"by": "training"})

    async def any_kind(context: StepContext) -> StepResult:
        return StepResult(output={"by": "any"})

    trained = await bench.submit(step("a"))
    generated = await bench.submit(step("a"), kind=JobKind.GENERATION)
    unknown = await bench.submit(step("a", code=REPORT))
    await bench.start(handlers={(JobKind.TRAINING, TRAIN): training, TRAIN: any_kind})
    await bench.until_ended(trained)
    await bench.until_ended(generated)
    assert (await bench.store.outputs(trained.id))["a"] == {"by": "training"}
    assert (await bench.store.outputs(generated.id))["a"] == {"by": "any"}
    assert (await bench.store.get(unknown.id)).status == QUEUED


@pytest.mark.parametrize("steps", [[], [step("a"), step("a")], [step("b", after=["a"]), step("a")]])
def test_plans_that_are_no_graph_are_refused(steps: list[StepCode]) -> None:
    with pytest.raises(InvalidArgument):
        JobPlan(JobKind.TRAINING, "generators/g", "g", ANN, steps).check()  # type: ignore[arg-type]


async def test_artifact_names_belong_to_one_attempt(bench: Bench) -> None:
    names: list[str] = []

    async def handle(context: StepContext) -> StepResult:
        names.append(context.artifact_name("bundle"))
        bench.artifacts.create(names[-1]).abandon()
        if context.attempt == 1:
            raise RuntimeError
        return StepResult()

    job = await bench.submit(step("people/α", code=PULL))
    await bench.start(handle)
    await bench.until_ended(job)
    assert names == [f"training/{job.id}/pull_training_data-0/{n}-bundle" for n in (1, 2)]
