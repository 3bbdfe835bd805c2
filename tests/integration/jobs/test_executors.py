"""Both executors by the same tests: tasks in worker processes, and as actors on a local Ray cluster."""

import asyncio
import contextlib
import gc
import os
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from simulacra.errors import LimitExceeded, TrainingDataInsufficient, WorkerLost
from simulacra.jobs import (
    Executor,
    ProcessExecutor,
    RayExecutor,
    Resources,
    TaskCrashed,
    TaskProgress,
    TaskResult,
)
from tests.kernel_service.bench import TASKS


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One local cluster for all tests, of two cores and two logical GPUs."""
    opener = RayExecutor("file:///unused", num_cpus=2, num_gpus=2)
    # In a thread of its own, whose event loop lives as long as the cluster.
    with asyncio.Runner() as loop, ThreadPoolExecutor(1) as thread:
        thread.submit(loop.run, opener.start()).result()
        yield
        thread.submit(loop.run, opener.stop()).result()
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()  # Ray does not wait for the processes that it has ended


@pytest.fixture
async def ray_executor(ray_cluster: None, tmp_path: Path) -> AsyncIterator[RayExecutor]:
    executor = RayExecutor(f"file://{tmp_path / 'artifacts'}")
    yield executor
    await executor.stop()


@pytest.fixture(params=["process", pytest.param("ray", marks=pytest.mark.ray)])
async def executor(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Executor]:
    artifacts = f"file://{tmp_path / 'artifacts'}"
    executor: Executor
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
        executor = RayExecutor(artifacts)
    else:
        executor = ProcessExecutor(artifacts, slots=2, preload=(), scratch=tmp_path / "scratch")
    await executor.start()
    yield executor
    await executor.stop()


async def run(
    executor: Executor, task: str, payload: dict[str, Any] | None = None, **options: Any
) -> list[Any]:
    async with asyncio.timeout(60):
        return [event async for event in executor.run(f"{TASKS}:{task}", payload or {}, **options)]


async def gone(pid: int) -> None:
    async with asyncio.timeout(60):
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_task_streams_its_progress_and_gives_its_result(executor: Executor) -> None:
    *progress, result = await run(executor, "count", {"to": 3}, attempt=2, resources=Resources(cpus=2))
    steps = [event for event in progress if isinstance(event, TaskProgress) and event.value is not None]
    assert [(event.value, event.max, event.message) for event in steps] == [
        (n, 3, {"at": n}) for n in (1, 2, 3)
    ]
    assert isinstance(result, TaskResult)
    assert {**result.output, "pid": None} == {"counted": 3, "attempt": 2, "cpus": 2, "pid": None}
    assert result.output["pid"] != os.getpid()


async def test_users_error_comes_out_as_it_was_raised(executor: Executor) -> None:
    with pytest.raises(TrainingDataInsufficient) as error:
        await run(executor, "refuse")
    assert error.value.message == 'table "people" has no rows'
    assert error.value.metadata == {"table": "people"}


async def test_crash_comes_out_with_its_traceback(executor: Executor) -> None:
    with pytest.raises(TaskCrashed, match="RuntimeError: boom") as error:
        await run(executor, "crash")
    assert 'raise RuntimeError("boom")' in error.value.details


async def test_task_that_is_not_there_is_a_crash_not_a_hang(executor: Executor) -> None:
    with pytest.raises(TaskCrashed, match="no_such_task"):
        await run(executor, "no_such_task")


async def test_death_of_the_worker_is_told(executor: Executor) -> None:
    with pytest.raises(WorkerLost):
        await run(executor, "die")
    assert isinstance((await run(executor, "count", {"to": 1}))[-1], TaskResult)


async def test_cancelled_task_is_killed_with_its_children(executor: Executor) -> None:
    pids: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

    async def consume() -> None:
        async with contextlib.aclosing(executor.run(f"{TASKS}:hang", {})) as events:
            async for event in events:
                if isinstance(event, TaskProgress) and event.message and "pids" in event.message:
                    pids.set_result(event.message["pids"])

    consumer = asyncio.create_task(consume())
    async with asyncio.timeout(60):
        worker, child = await pids
    begin = time.monotonic()
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    await gone(worker)
    await gone(child)
    assert time.monotonic() - begin < 2


async def test_tasks_run_side_by_side(executor: Executor, tmp_path: Path) -> None:
    first = asyncio.create_task(run(executor, "work_until_file", {"file": str(tmp_path / "go")}))
    assert isinstance((await run(executor, "count", {"to": 1}))[-1], TaskResult)
    (tmp_path / "go").touch()
    assert isinstance((await first)[-1], TaskResult)


@pytest.mark.ray
async def test_ray_gives_a_task_the_gpus_that_it_asks_for(ray_executor: RayExecutor, tmp_path: Path) -> None:
    file = str(tmp_path / "go")
    both = Resources(cpus=1, gpus=2)
    first = ray_executor.run(f"{TASKS}:work_until_file", {"file": file}, resources=both)
    async with asyncio.timeout(60):
        assert isinstance(await anext(first), TaskProgress)
    events = ray_executor.run(f"{TASKS}:count", {"to": 1}, resources=Resources(cpus=1, gpus=1))
    async with asyncio.timeout(60), contextlib.aclosing(events):
        waiting = await anext(events)
        assert isinstance(waiting, TaskProgress)
        assert waiting.message == {"waiting": "waits for 1 CPU and 1 GPU to be free on the Ray cluster"}
        (tmp_path / "go").touch()
        assert isinstance([event async for event in first][-1], TaskResult)
        assert isinstance([event async for event in events][-1], TaskResult)


@pytest.mark.ray
async def test_ray_refuses_what_no_node_can_hold(ray_executor: RayExecutor) -> None:
    with pytest.raises(
        LimitExceeded, match="it needs 1 CPU and 8 GPU, the most that any node has is 2 CPU and 2 GPU"
    ):
        await run(ray_executor, "count", {"to": 1}, resources=Resources(cpus=1, gpus=8))


@pytest.mark.ray
async def test_ray_started_here_listens_on_loopback_only(ray_executor: RayExecutor) -> None:
    await run(ray_executor, "count", {"to": 1})
    mine = [os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))]
    listening = {
        c.laddr.ip
        for c in psutil.net_connections("tcp")
        if c.laddr and c.status == "LISTEN" and c.pid in mine
    }
    assert listening
    assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


async def test_warm_worker_is_used_again_and_follows_its_affinity(tmp_path: Path) -> None:
    executor = ProcessExecutor(f"file://{tmp_path}", slots=2, preload=(), scratch=tmp_path / "scratch")
    await executor.start()
    (warm,) = executor.worker_pids

    async def pid(affinity: str | None) -> int:
        result: int = (await run(executor, "count", {"to": 1}, affinity=affinity))[-1].output["pid"]
        return result

    assert await pid(None) == warm
    assert await pid("probe") == warm
    other = await pid(None)
    assert other != warm
    assert await pid("probe") == warm
    assert await pid(None) == other
    await executor.stop()
    assert list(executor.worker_pids) == []


async def test_workers_are_preloaded_and_get_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMULACRA_INTERNAL_KEY", "secret")
    executor = ProcessExecutor(
        f"file://{tmp_path}", slots=1, preload=("colorsys", "no_such_module"), scratch=tmp_path / "s"
    )
    await executor.start()
    output = (await run(executor, "imported", {"modules": ["colorsys", "sqlalchemy", "grpc"]}))[-1].output
    assert output == {"modules": ["colorsys"], "environment": [], "threads": 1}
    await executor.stop()


async def test_no_more_tasks_run_than_there_are_slots(tmp_path: Path) -> None:
    executor = ProcessExecutor(f"file://{tmp_path}", slots=1, preload=(), scratch=tmp_path / "scratch")
    first = asyncio.create_task(run(executor, "work_until_file", {"file": str(tmp_path / "go")}))
    second = asyncio.create_task(run(executor, "count", {"to": 1}))
    done, _ = await asyncio.wait([second], timeout=1.0)
    assert not done
    assert len(executor.worker_pids) == 1
    (tmp_path / "go").touch()
    await asyncio.gather(first, second)
    await executor.stop()


async def test_scratch_of_dead_processes_is_swept_at_start(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    dead, alive = scratch / "999999999-1", scratch / f"{os.getpid()}-77"
    for folder in (dead, alive):
        folder.mkdir(parents=True)
    executor = ProcessExecutor(f"file://{tmp_path}", slots=1, warm=0, preload=(), scratch=scratch)
    await executor.start()
    assert sorted(os.listdir(scratch)) == [alive.name]
    await executor.stop()


async def test_executors_of_one_process_share_no_scratch_folder(tmp_path: Path) -> None:
    scratch, go = tmp_path / "scratch", tmp_path / "go"
    executors = [
        ProcessExecutor(f"file://{tmp_path}", slots=1, warm=0, preload=(), scratch=scratch) for _ in range(2)
    ]
    first = asyncio.create_task(run(executors[0], "work_until_file", {"file": str(go)}))
    second = asyncio.create_task(run(executors[1], "work_until_file", {"file": str(go)}))
    async with asyncio.timeout(60):
        while len(os.listdir(scratch) if os.path.isdir(scratch) else ()) < 2:  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.02)
    go.touch()
    await asyncio.gather(first, second)
    assert os.listdir(scratch) == []
    for executor in executors:
        await executor.stop()
