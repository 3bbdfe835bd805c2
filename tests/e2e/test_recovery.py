"""Processes are killed in the middle of a training; the job ends DONE, and watchers miss nothing."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from simulacra.client import AsyncSimulacra
from simulacra.domain import ProgressStatus, StepCode
from tests.e2e.platform import Platform, running_platform
from tests.e2e.scenes import step_of, training_under_way, until

pytestmark = [pytest.mark.timeout(300)]

RECOVERY_SECONDS = 30.0
CANCEL_SECONDS = 2.0


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with running_platform(tmp_path) as platform:
        yield platform


@pytest.fixture
async def client(platform: Platform) -> AsyncIterator[AsyncSimulacra]:
    async with AsyncSimulacra(platform.address, platform.api_key) as client:
        yield client


async def test_killed_worker_is_replaced_and_goes_on(platform: Platform, client: AsyncSimulacra) -> None:
    _, job_id = await training_under_way(client)
    platform.workers("trainer")[0].kill()
    await until(client, job_id, 1, seconds=RECOVERY_SECONDS)
    job = await until(client, job_id, ProgressStatus.DONE, seconds=120)
    assert step_of(job, StepCode.TRAIN_MODEL).restarts == 1
    told = [json.loads(line) for line in platform.log("trainer").splitlines() if "step_failed" in line]
    assert [(line["job_id"], line["level"]) for line in told] == [(job_id, "warning")]


async def test_killed_trainer_takes_its_work_up_again(platform: Platform, client: AsyncSimulacra) -> None:
    generator, job_id = await training_under_way(client)
    orphans = platform.workers("trainer")
    await platform.kill("trainer")
    _, alive = await asyncio.to_thread(psutil.wait_procs, orphans, 5)
    assert not alive
    await platform.start("trainer")
    await until(client, job_id, 1, seconds=RECOVERY_SECONDS)
    job = await until(client, job_id, ProgressStatus.DONE, seconds=120)
    assert step_of(job, StepCode.TRAIN_MODEL).restarts == 1
    await generator.refresh()
    assert generator.training_status == ProgressStatus.DONE


async def test_killed_qa_service_takes_its_evaluation_up_again(
    platform: Platform, client: AsyncSimulacra
) -> None:
    rng = np.random.default_rng(0)
    sets = [pd.DataFrame(rng.normal(size=(40_000, 12)).cumsum(axis=1)).add_prefix("c") for _ in range(3)]
    job = await client.evaluations.start(*sets)
    async for state in client.jobs.watch(job.id):
        step = step_of(state, StepCode.CREATE_DATA_REPORT)
        if step.progress and (step.progress.value or 0) > 5:
            break
    await platform.kill("qa")
    await platform.start("qa")
    job = await until(client, job.id, ProgressStatus.DONE, seconds=120)
    assert step_of(job, StepCode.CREATE_DATA_REPORT).restarts == 1
    metrics, columns, pairs = await client.evaluations.metrics(job.id)
    assert metrics.accuracy is not None
    assert (len(columns), len(pairs)) == (12, 66)


async def test_watch_outlives_the_gateway_and_keeps_its_promise(
    platform: Platform, client: AsyncSimulacra
) -> None:
    _, job_id = await training_under_way(client)

    async def watch() -> list[tuple[int, str]]:
        return [
            (job.revision, str(job.progress.status))
            async for job in client.jobs.watch(job_id)
            if job.progress is not None
        ]

    watcher = asyncio.create_task(watch())
    await platform.kill("gateway")
    await platform.start("gateway")
    states = await asyncio.wait_for(watcher, 120)
    revisions = [revision for revision, _ in states]
    assert revisions == sorted(set(revisions))
    assert states[-1][1] == "DONE"


async def test_cancel_ends_the_job_and_its_worker_at_once(platform: Platform, client: AsyncSimulacra) -> None:
    generator, job_id = await training_under_way(client)
    worker = platform.workers("trainer")[0]
    asked = time.monotonic()
    await client.jobs.cancel(job_id)
    await until(client, job_id, ProgressStatus.CANCELED, seconds=CANCEL_SECONDS)
    assert time.monotonic() - asked < CANCEL_SECONDS
    await asyncio.to_thread(worker.wait, 2)

    await generator.training.start()
    progress = await generator.training.progress()
    assert progress.id is not None
    await until(client, progress.id, ProgressStatus.DONE, seconds=120)
